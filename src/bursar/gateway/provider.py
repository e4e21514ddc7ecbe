"""Read the `[providers.NAME]` tables of bursar.toml: where a provider is, how it is reached, what it speaks."""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from bursar.core.errors import ConfigError
from bursar.gateway.presets import with_preset
from bursar.gateway.tables import convert, is_here, near_text, read_secret
from bursar.wires.protocols import WIRES

Kind = Literal["openai", "anthropic", "gemini", "sandbox"]
Auth = Literal["key", "aws", "google"]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]

_HEADER: Final = re.compile(r"[A-Za-z0-9-]+")
_PROTOCOLS: Final = tuple(protocol.name for protocol in WIRES)


class ByLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold one `[providers.NAME.by_load]` table: how prices move with the load of servers of one's own."""

    metrics: Literal["vllm", "sglang", "llamacpp"]  # whose names they have
    places: Count  # requests served at once
    path: str = "/metrics"  # of the server's metrics, from the root of its address
    reference_percent: Annotated[int, msgspec.Meta(ge=1, le=99)] = 60  # utilisation at which the price is the set one
    least_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50  # of that price, on an idle server
    most_percent: Annotated[int, msgspec.Meta(ge=100, le=10_000)] = 200  # of that price, on a full one
    every_s: Seconds = 5.0
    stale_s: Seconds = 20.0  # an older reading moves nothing


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold one `[providers.NAME]` table, with what its preset says where it says nothing."""

    kind: Kind
    preset: str = ""
    base_url: str = ""
    api_key: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    prices: str = ""  # whose prices apply, where the address does not tell
    protocols: tuple[str, ...] = ()  # those it speaks, where they are not the kind's usual ones
    cap_field: str = ""  # the field an output cap is written to, where it is not the kind's usual one
    drop_fields: tuple[str, ...] = ()  # of a body, that it refuses
    set_fields: dict[str, Any] = {}  # of a body, that it demands
    paths: dict[str, str] = {}  # by protocol, where they are not the protocol's own; with {model}
    stream_paths: dict[str, str] = {}  # the same for streams, where those go elsewhere
    auth: Auth = "key"  # what its requests are signed by
    key_header: str = ""  # the header its key stands in, where it is not the protocol's usual one
    region: str = ""  # of AWS, which requests are signed for
    service: str = ""  # of AWS, likewise
    by_load: ByLoad | None = None  # None: prices stay as they are set
    connections_max: Count = 1_000
    connect_s: Seconds = 10.0
    first_byte_s: Seconds = 600.0
    idle_s: Seconds = 120.0

    def secret(self, name: str) -> str:
        """Read the provider's key; empty where none is sent. Raises `ConfigError` when its place is empty."""
        if self.auth != "key":
            return ""
        return read_secret(f"providers.{name}.api_key", self.api_key_env, self.api_key_file) or self.api_key

    def keyless(self) -> "Provider":
        """Return it without its key, for who asks nothing of it."""
        return msgspec.structs.replace(self, api_key="", api_key_env="", api_key_file="")

    def __repr__(self) -> str:
        return f"Provider(kind={self.kind!r}, base_url={self.base_url!r})"


def read_provider(name: str, value: Any) -> Provider:
    """Read one table. Raises `ConfigError` naming the setting."""
    where = f"providers.{name}"
    table = with_preset(value, where) if isinstance(value, dict) else value
    if isinstance(table, dict) and "by_load" in table:
        table = {**table, "by_load": convert(table["by_load"], ByLoad, f"{where}.by_load")}
    provider: Provider = convert(table, Provider, where)
    if not provider.base_url and provider.kind != "sandbox":
        raise ConfigError(f'{where}.base_url: expected an address such as "https://api.openai.com/v1"')
    if provider.api_key and not is_here(provider.base_url):
        raise ConfigError(
            f"{where}.api_key: a key in this file is for tests with a provider on this machine: name an "
            "environment variable in api_key_env, or a file in api_key_file"
        )
    for setting in ("protocols", "paths", "stream_paths"):
        for protocol in getattr(provider, setting):
            if protocol not in _PROTOCOLS:
                raise ConfigError(f"{where}.{setting}: no protocol {protocol!r}{near_text(protocol, _PROTOCOLS)}")
    _check_auth(provider, where)
    if provider.by_load is not None:
        _check_by_load(provider.by_load, f"{where}.by_load")
    return provider


def _check_auth(provider: Provider, where: str) -> None:
    """Check that what requests are signed by is whole. Raises `ConfigError`."""
    if provider.auth == "aws":
        for setting in ("region", "service"):
            if not getattr(provider, setting):
                example = {"region": "us-east-1", "service": "bedrock"}[setting]
                raise ConfigError(f'{where}.{setting}: expected one of AWS, such as "{example}", for auth = "aws"')
    if provider.auth != "key" and (provider.api_key or provider.api_key_env or provider.key_header):
        raise ConfigError(
            f'{where}.auth: no key is sent where requests are signed by {provider.auth}: auth = "key" sends one'
        )
    if provider.key_header and not _HEADER.fullmatch(provider.key_header):
        raise ConfigError(f'{where}.key_header: expected the name of a header, such as "api-key"')


def _check_by_load(by_load: ByLoad, where: str) -> None:
    path = by_load.path
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ConfigError(f'{where}.path: expected a path such as "/metrics"')
    if by_load.stale_s < by_load.every_s:
        raise ConfigError(f"{where}.stale_s: expected no less than every_s, which is {by_load.every_s:g}")
