"""Read bursar.toml, strictly: an unknown setting is an error that names the nearest known one.

Secrets are read from the environment or from files by the process that needs them, and never leave it.
"""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import unquote

import msgspec

from bursar.core.addresses import read_network
from bursar.core.errors import ConfigError
from bursar.gateway.provider import Count, Provider, Seconds, read_provider
from bursar.gateway.tables import convert, is_address, is_words, near_text, only_known, read_secret, table_of
from bursar.gateway.unmetered_routes import read_unmetered
from bursar.prices.file import read_model_price, read_prices
from bursar.prices.price import Price
from bursar.sandbox.app import MODELS as SANDBOX_MODELS
from bursar.savings.compress.setting import OFF, Setting, read_setting
from bursar.savings.route.policy import Policy, read_policy

Durability = Literal["fast", "strict"]
Indeterminate = Literal["hold", "estimate"]
OnDisconnect = Literal["drain", "cancel"]
PreviousResponses = Literal["own", "any"]
Balance = Literal["order", "least_loaded", "affinity"]
Vectors = Literal["words", "static"]
Retries: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=10)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold the `[gateway]` table. Sizes in bytes, times in seconds."""

    durability: Durability = "fast"
    output_cap: Count = 4_096  # for a call without one, in tokens
    indeterminate: Indeterminate = "hold"  # what a call is charged whose bill is not known
    body_bytes_max: Count = 32 * 1024 * 1024
    calls_max: Count = 10_000  # at once
    connections_max: Count = 20_000  # of clients to one worker, at once
    connections_per_address_max: Count = 1_000  # of these from one address that is not this machine's
    trusted_proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-For is believed
    metrics_from: tuple[str, ...] = ()  # networks that may read /metrics; none: all
    call_timeout_s: Count = 1_800
    retries: Retries = 1  # how often a target is asked again
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=50)] = 6  # of one call, over all targets and fallbacks
    retry_wait_max_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0  # a longer pause asked for is not waited for
    retry_lost: bool = False  # ask again although what was lost may be billed
    on_disconnect: OnDisconnect = "drain"  # what becomes of a stream whose client has left
    previous_responses: PreviousResponses = "own"  # whose answers, kept at a provider, a call may go on from
    drain_s: Annotated[int, msgspec.Meta(ge=0)] = 30  # how long calls under way may take to end at a stop
    idempotency_bytes_max: Count = 64 * 1024 * 1024
    dead_after_s: Count = 15  # how long nobody has seen a gateway before its leases are set aside
    expected_coverage_ppm: Annotated[int, msgspec.Meta(ge=500_000, le=999_999)] = 990_000  # of holds by expectation
    smaller_floor: Count = 256  # output tokens: a smaller answer has no fewer
    unmetered_routes: dict[str, str] = {}  # passed on without a price, each to a provider
    smaller_share_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50  # of what is left, for a smaller answer


class Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold the `[alerts]` table."""

    webhook: str = ""
    secret_env: str = ""
    secret_file: str = ""
    every_s: Seconds = 5.0
    divergence_percent: Annotated[int, msgspec.Meta(ge=0)] = 2  # between a provider's own costs and ours; 0: not told
    stale_days: Annotated[int, msgspec.Meta(ge=0)] = 60  # since the price book was checked; 0: not told
    other_models: bool = True  # tell of targets that answer by another model than the one asked

    def secret(self) -> bytes:
        """Read what webhooks are signed with. Raises `ConfigError` when its place is empty."""
        return read_secret("alerts.secret", self.secret_env, self.secret_file).encode()

    def __repr__(self) -> str:
        return f"Alerts(webhook={bool(self.webhook)}, every_s={self.every_s})"


class Otel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold the `[otel]` table: where finished calls are exported to."""

    endpoint: str = ""
    headers_env: str = ""
    service_name: str = "bursar"
    every_s: Seconds = 5.0
    propagate: bool = False  # tell providers which trace a call belongs to

    def headers(self) -> dict[str, str]:
        """Read what authenticates at the collector: `name=value,name=value` in a variable of the environment.

        Raises `ConfigError` where it is not there or cannot be read; its text is in no message.
        """
        text = read_secret("otel.headers", self.headers_env, "")
        pairs = [part.partition("=") for part in text.split(",")] if text else []
        if not all(name.strip() and equals and value.isprintable() for name, equals, value in pairs):
            raise ConfigError(f"otel.headers_env: {self.headers_env} is to hold name=value,name=value")
        return {name.strip(): unquote(value.strip()) for name, _, value in pairs}

    def __repr__(self) -> str:
        return f"Otel(endpoint={bool(self.endpoint)}, service_name={self.service_name!r})"


class Compress(msgspec.Struct, frozen=True):
    """Hold the `[compress]` table: how far prompts are compressed where their model says nothing."""

    default: Setting = OFF
    keys: dict[str, Setting] = {}  # by the name of the key
    routes: dict[str, Setting] = {}
    bytes_min: int = 8_000  # a smaller body is left as it is
    holdout_ppm: int = 100_000  # of runs and conversations, to measure the saving by
    experiment: str = "1"  # another name divides them anew
    embedder: Vectors = "words"


class CompressTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold the `[compress]` table as it is written."""

    default: Any = "off"
    keys: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    bytes_min: Count = 8_000
    holdout_percent: Annotated[float, msgspec.Meta(ge=0, le=90)] = 10.0
    experiment: str = "1"
    embedder: Vectors = "words"


class Model(msgspec.Struct, frozen=True):
    """Hold one `[models.NAME]` table: `targets` are (provider, model), in order of preference."""

    targets: tuple[tuple[str, str], ...]
    price: Price | None = None
    fallbacks: tuple[str, ...] = ()  # models, in order
    timeout_s: float | None = None
    retries: int | None = None
    on_disconnect: OnDisconnect | None = None
    balance: Balance = "order"
    weights: tuple[int, ...] = ()  # of the targets; none: all the same
    cheaper: tuple[str, ...] = ()  # models to take instead when a budget has no more for this one, in order
    tools: bool = True  # it takes them
    images: bool = True
    context_tokens: int | None = None  # where the price book does not say
    local: bool = False  # it runs on the operator's own machines
    compress: Setting | None = None  # None: as the `[compress]` table says


class _WeighedTarget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a target that stands with its weight."""

    target: str
    weight: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1


class _ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold those settings of a model that stand for themselves."""

    timeout_s: Seconds | None = None
    retries: Retries | None = None
    on_disconnect: OnDisconnect | None = None
    balance: Balance = "order"
    tools: bool = True
    images: bool = True
    context_tokens: Count | None = None
    local: bool = False


class Config(msgspec.Struct, frozen=True):
    """Hold the whole file."""

    gateway: Settings
    providers: dict[str, Provider]
    models: dict[str, Model]
    prices: list[Price]
    alerts: Alerts = Alerts()
    otel: Otel = Otel()
    routes: dict[str, Policy] = {}
    compress: Compress | None = None

    @property
    def compresses(self) -> bool:
        """Tell whether anything here has to do with compression."""
        return self.compress is not None or any(model.compress is not None for model in self.models.values())

    @property
    def needs_sandbox(self) -> bool:
        """Tell whether a simulated provider is to be started."""
        return any(provider.kind == "sandbox" and not provider.base_url for provider in self.providers.values())


_OTHERS: Final = ("fallbacks", "cheaper")
_TABLES: Final = ("gateway", "providers", "models", "routes", "prices", "alerts", "otel", "compress")


def read_config(path: Path | None) -> Config:
    """Read a configuration file; without one the sandbox serves a few well-known models.

    Raises `ConfigError` naming the setting, what was expected and what was found.
    """
    if path is None:
        models = {name: Model((("sandbox", name),)) for name in SANDBOX_MODELS}
        return Config(Settings(), {"sandbox": Provider(kind="sandbox")}, models, [])
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    try:
        return parse_config(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_config(tables: dict[str, Any]) -> Config:
    """Turn a file's tables into a configuration. Raises `ConfigError`."""
    only_known(tables, _TABLES, "")
    settings = _settings(tables.get("gateway", {}))
    providers = {name: read_provider(name, value) for name, value in table_of(tables, "providers").items()}
    read_unmetered(settings.unmetered_routes, providers)  # what cannot pass is found out now
    prices = tables.get("prices", [])
    if not isinstance(prices, list):
        raise ConfigError("prices: expected [[prices]], a list of tables")
    models = {name: _model(name, value, providers) for name, value in table_of(tables, "models").items()}
    _check_others(models)
    if not providers:
        raise ConfigError("providers: expected at least one [providers.NAME] table")
    alerts, otel = _alerts(tables.get("alerts", {})), _otel(tables.get("otel", {}))
    routes = {name: _policy(name, value, models, providers) for name, value in table_of(tables, "routes").items()}
    compress = _compress(tables["compress"], routes) if "compress" in tables else None
    return Config(settings, providers, models, read_prices(prices), alerts, otel, routes, compress)


def _policy(name: str, value: Any, models: dict[str, Model], providers: Collection[str]) -> Policy:
    if name in models:
        raise ConfigError(f"routes.{name}: there is a model of this name: give the route another")
    if (provider := name.partition("/")[0]) != name and provider in providers:
        raise ConfigError(f"routes.{name}: {provider}/ names a model of provider {provider!r}: leave it out")
    policy = read_policy(name, value, tuple(models))
    if len(policy.models) < 2:
        raise ConfigError(f'routes.{name}.models: expected at least two, such as ["small", "big"]')
    return policy


def _settings(value: Any) -> Settings:
    settings = convert(value, Settings, "gateway")
    found: dict[str, tuple[str, ...]] = {}
    for name in ("trusted_proxies", "metrics_from"):
        try:
            found[name] = tuple(read_network(text) for text in getattr(settings, name))
        except ValueError as error:
            raise ConfigError(f"gateway.{name}: {error}") from None
    return msgspec.structs.replace(settings, **found)


def _compress(value: Any, routes: dict[str, Policy]) -> Compress:
    read = convert(value, CompressTable, "compress")
    for name in read.routes:
        if name not in routes:
            raise ConfigError(f"compress.routes: no route {name!r}{near_text(name, routes)}")
    return Compress(
        _setting(read.default, "compress.default"),
        {name: _setting(each, f"compress.keys.{name}") for name, each in read.keys.items()},
        {name: _setting(each, f"compress.routes.{name}") for name, each in read.routes.items()},
        read.bytes_min,
        round(read.holdout_percent * 10_000),
        read.experiment,
        read.embedder,
    )


def _setting(value: Any, where: str) -> Setting:
    try:
        return read_setting(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _alerts(value: Any) -> Alerts:
    alerts = convert(value, Alerts, "alerts")
    has_secret = bool(alerts.secret_env or alerts.secret_file)
    if not alerts.webhook:
        if has_secret:
            raise ConfigError('alerts.webhook: expected an address such as "https://example.com/alerts"')
        return alerts
    if not is_address(alerts.webhook):
        raise ConfigError('alerts.webhook: expected an address such as "https://example.com/alerts"')
    if not has_secret:
        raise ConfigError("alerts.secret_env: expected the variable with the secret webhooks are signed with")
    return alerts


def _otel(value: Any) -> Otel:
    otel = convert(value, Otel, "otel")
    if not otel.endpoint and (otel.headers_env or otel.propagate):
        raise ConfigError('otel.endpoint: expected an address such as "http://127.0.0.1:4318"')
    if otel.endpoint and not is_address(otel.endpoint):
        raise ConfigError('otel.endpoint: expected an address such as "http://127.0.0.1:4318"')
    return otel


def _model(name: str, value: Any, providers: dict[str, Provider]) -> Model:
    where = f"models.{name}"
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table")
    own = _ModelSettings.__struct_fields__
    only_known(value, ("targets", "price", *_OTHERS, "compress", *own), where)
    targets = _weighed(value.get("targets"), f"{where}.targets")
    pairs = tuple(_target(each.target, providers, f"{where}.targets") for each in targets)
    others = {word: value.get(word, []) for word in _OTHERS}
    for word, named in others.items():
        if not is_words(named):
            raise ConfigError(f'{where}.{word}: expected a list of models such as ["gpt-4o"]')
    price = None
    if "price" in value:
        price = read_model_price(value["price"], *pairs[0], f"{where}.price")
    settings = convert({word: value[word] for word in own if word in value}, _ModelSettings, where)
    weights = tuple(each.weight for each in targets) if any(each.weight != 1 for each in targets) else ()
    if weights and settings.balance == "order":
        raise ConfigError(f'{where}.targets: weights count with balance = "least_loaded" or "affinity"')
    return Model(
        pairs,
        price,
        weights=weights,
        **{word: tuple(named) for word, named in others.items()},
        compress=_setting(value["compress"], f"{where}.compress") if "compress" in value else None,
        **msgspec.structs.asdict(settings),
    )


def _weighed(targets: Any, where: str) -> list[_WeighedTarget]:
    if not isinstance(targets, list) or not targets or not all(isinstance(each, str | dict) for each in targets):
        raise ConfigError(f'{where}: expected a list such as ["openai/gpt-4o-mini"]')
    return [
        _WeighedTarget(each) if isinstance(each, str) else convert(each, _WeighedTarget, f"{where}.{place}")
        for place, each in enumerate(targets)
    ]


def _target(target: str, providers: dict[str, Provider], where: str) -> tuple[str, str]:
    provider, slash, model = target.partition("/")
    if not slash or not model:
        raise ConfigError(f"{where}: expected provider/model, got {target!r}")
    if provider not in providers:
        raise ConfigError(f"{where}: no provider {provider!r}{near_text(provider, providers)}")
    return provider, model


def _check_others(models: dict[str, Model]) -> None:
    """Check that what is to take a model's place is another one that is configured."""
    for name, model in models.items():
        _check_named(name, model.fallbacks, models, f"models.{name}.fallbacks")
        _check_named(name, model.cheaper, models, f"models.{name}.cheaper")


def _check_named(name: str, others: tuple[str, ...], models: dict[str, Model], where: str) -> None:
    for other in others:
        if other == name or others.count(other) > 1:
            raise ConfigError(f"{where}: expected other models, each once, got {other!r}")
        if other not in models:
            raise ConfigError(f"{where}: no model {other!r}{near_text(other, models)}")
