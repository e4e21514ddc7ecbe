"""Find where a model's calls go and what they cost: the configuration, compiled for the hot path."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from bursar.core.errors import ConfigError, NotFound, Refusal, Unmetered
from bursar.core.records import Protocol, Traits
from bursar.gateway.config import Config, Model
from bursar.gateway.connection import Timeouts
from bursar.gateway.dialect import dialect_of
from bursar.gateway.health import Health
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import Pool
from bursar.gateway.price_list import PriceList, unknown_model
from bursar.gateway.provider import Provider
from bursar.gateway.rules import USUAL, Rules, rules_of
from bursar.gateway.signing import signer_of
from bursar.gateway.telemetry import PROVIDER_NAMES
from bursar.prices.book import Book
from bursar.prices.price import Price, RateCard
from bursar.prices.quote import Ceiling, ceiling, missing_rate
from bursar.prices.snapshots import is_another
from bursar.wires.protocols import TEXT_WIRES, WIRES
from bursar.wires.wire import Wire

_OPENAI_BESIDES: Final = tuple(each for each in WIRES if each.name.startswith("openai") and each not in TEXT_WIRES)
if TYPE_CHECKING:
    from bursar.gateway.load import Load

_GEMINIS: Final = (Protocol.gemini, Protocol.gemini_embed, Protocol.gemini_embed_batch)
_SPEAKS: Final = {
    "openai": (Protocol.openai_chat, *_OPENAI_BESIDES),
    "anthropic": (Protocol.anthropic_messages,),
    "gemini": _GEMINIS,
    "sandbox": tuple(WIRES),
}
_KEY_HEADERS: Final = {
    Protocol.anthropic_messages: "x-api-key: ",
    **dict.fromkeys(_GEMINIS, "x-goog-api-key: "),
}
_OPENAI: Final = "api.openai.com"
_HEALTHS_MAX: Final = 10_000  # a client may make up names without end
_OTHERS_MAX: Final = 100
# Tiers that are the standard price, whatever a provider calls it. Any other must be priced to be used.
_STANDARD_TIERS: Final = ("", "auto", "default", "standard", "standard_only", "on_demand")


class Upstream:
    """Be a provider as the gateway talks to it: its connections, the head of its requests, its dialect."""

    def __init__(
        self, name: str, provider: Provider, base_url: str, outbox: Outbox, call_timeout_s: float = 1_800.0
    ) -> None:
        self.name = name
        self.kind = provider.kind
        timeouts = Timeouts(provider.connect_s, provider.first_byte_s, provider.idle_s, call_timeout_s)
        self.pool = Pool(base_url, outbox, connections_max=provider.connections_max, timeouts=timeouts)
        openai = provider.kind == "sandbox" or _OPENAI in base_url or ".azure.com" in base_url
        self.healths: dict[str, Health] = {}
        self.cap_field = provider.cap_field or ("max_completion_tokens" if openai else "max_tokens")
        self.dialect = dialect_of(provider)
        self.signer = signer_of(name, provider)
        self.load = _load_of(provider)
        self._key_header = provider.key_header
        secret = provider.secret(name)
        self._headers = {protocol: self._header_lines(protocol, secret) for protocol in _spoken(provider, base_url)}

    def wire_for(self, protocol: Protocol) -> Wire | None:
        """Return what to speak for calls of a protocol; None where this provider cannot serve them.

        It is the protocol itself, or, where a model's turn is asked for, the one that the provider prefers.
        """
        if protocol in self._headers:
            return WIRES[protocol]
        preferred = next((each for each in self._headers if each in TEXT_WIRES), None)
        return WIRES[preferred] if preferred is not None and protocol in TEXT_WIRES else None

    def health_of(self, model: str) -> Health:
        """Return what is known of a model's health here, one for all names and protocols it is asked by."""
        found = self.healths.get(model)
        if found is None:
            found = Health()
            if len(self.healths) < _HEALTHS_MAX:
                self.healths[model] = found
        return found

    def head(self, wire: Wire, model: str, *, stream: bool) -> bytes:
        """Return the first lines of requests for a model. Raises `NotFound` for a name that no address can hold."""
        path = (
            wire.path(model, stream=stream) if self.dialect is None else self.dialect.path(wire, model, stream=stream)
        )
        return self.head_to(path, wire.protocol, model)

    def speaks(self, protocol: Protocol) -> bool:
        """Tell whether calls of a protocol are made to this provider as they come."""
        return protocol in self._headers

    def head_of(self, method: str, path: str, protocol: Protocol, content_type: str) -> bytes:
        """Return the first lines of a request that is no call, to a whole path that an address can hold."""
        lines = self._headers[protocol].replace(b"application/json", content_type.encode("latin-1"), 1)
        return b"%b %b HTTP/1.1\r\n%b" % (method.encode(), path.encode(), lines)

    def head_to(self, path: str, protocol: Protocol, model: str) -> bytes:
        """Return the first lines of requests to a path below this provider's address."""
        path = self.pool.path + path
        if not path.isascii() or not path.isprintable() or " " in path:
            raise NotFound(f"no address can hold the model name {model!r}", code="model_not_found", param="model")
        return b"POST %b HTTP/1.1\r\n%b" % (path.encode(), self._headers[protocol])

    def _header_lines(self, protocol: Protocol, secret: str) -> bytes:
        lines = [
            f"host: {self.pool.host_header.decode()}",
            "accept-encoding: identity",
            "user-agent: bursar",
        ]
        if not WIRES[protocol].multipart:  # how a form is parted is its own
            lines.append("content-type: application/json")
        if secret:
            usual = _KEY_HEADERS.get(protocol, "authorization: Bearer ")
            lines.append((f"{self._key_header}: " if self._key_header else usual) + secret)
        if any(character in line for line in lines for character in "\r\n\0"):
            raise ConfigError(f"providers.{self.name}: its key or address holds a line break")
        return "".join(f"{line}\r\n" for line in lines).encode()


def _spoken(provider: Provider, base_url: str) -> tuple[Protocol, ...]:
    """Return the protocols of a provider, the one it prefers first: of those compatible with OpenAI few know all.

    An operator who names those of turns alone says nothing of the others.
    """
    spoken = _SPEAKS[provider.kind]
    if provider.protocols:
        named = tuple(Protocol[name] for name in provider.protocols)
        besides = tuple(each for each in spoken if each not in TEXT_WIRES)
        return (*named, *besides) if all(each in TEXT_WIRES for each in named) else named
    return (*spoken, Protocol.openai_responses) if provider.kind == "openai" and _OPENAI in base_url else spoken


def _load_of(provider: Provider) -> "Load | None":
    """Return what moves a provider's prices; None where they stay."""
    if provider.by_load is None:
        return None
    # Only who prices by load loads the formulas, and the physics they are part of.
    from bursar.gateway.load import Load

    return Load(provider.by_load)


class Candidate:
    """Be one target of a model: where it goes and by which rates it is charged."""

    def __init__(self, upstream: Upstream, wire: Wire, model: str, price: Price, rules: Rules = USUAL) -> None:
        self.upstream = upstream
        self.health = upstream.health_of(model)
        self.weight = 1
        self.own_price = False  # the operator has given this target a price, whatever it calls its model
        self.rules = rules
        usual, own_s = upstream.pool.timeouts, rules.own_timeout_s
        self.timeouts = usual if own_s is None else usual.within(own_s)
        self.wire = wire
        self.model = model
        self.price = price
        self._heads = tuple(upstream.head(wire, model, stream=stream) for stream in (False, True))
        self.header = (b"x-bursar-model", f"{upstream.name}/{model}".encode("latin-1", "replace"))
        self._cards: dict[tuple[str, str], RateCard] = {}
        self._ceilings: dict[tuple[str, Traits], Ceiling] = {}
        self._others: dict[str, bool] = {}

    def head(self, *, stream: bool, extra: bytes, body_len: int) -> bytes:
        """Return a request's head; `extra` are further header lines of the client's."""
        return b"%b%bcontent-length: %d\r\n\r\n" % (self._heads[stream], extra, body_len)

    def card(self, now_us: int, service_tier: str = "", speed: str = "") -> RateCard:
        """Return the rates in force now for a service tier and speed; those of a tier without any are the standard."""
        key = (service_tier, speed)
        card = self._cards.get(key)
        if card is None or now_us >= card.valid_until_us:
            context = {name: value for name, value in (("service_tier", service_tier), ("speed", speed)) if value}
            self._cards[key] = card = self.price.at(now_us, context)
        return card if self.upstream.load is None else self.upstream.load.card(card, now_us)

    def dearest_card(self, now_us: int, service_tier: str = "", speed: str = "") -> RateCard:
        """Return the rates a call that begins now can be charged by at most, whatever the load is."""
        card = self.card(now_us, service_tier, speed)
        return card if self.upstream.load is None else self.upstream.load.dearest(self._cards[service_tier, speed])

    def ceiling(self, card: RateCard, traits: Traits) -> Ceiling:
        """Return the dearest rates of a card for calls of these traits. Raises `Unmetered` without any."""
        key = (card.price_id, traits)
        found = self._ceilings.get(key)
        if found is None:
            if missing := missing_rate(card, traits):
                raise Unmetered(f"the price of {self.price.model} has no rate for {missing}", param="model")
            found = self._ceilings[key] = ceiling(card, traits)
        return found

    def is_other(self, answered: str) -> bool:
        """Tell whether the model that has answered is another than the one charged for, by its name."""
        found = self._others.get(answered)
        if found is None:
            found = bool(answered) and not self.own_price and is_another(self.price, self.model, answered)
            if len(self._others) < _OTHERS_MAX:  # a provider may make up names without end
                self._others[answered] = found
        return found

    def priced_tier(self, service_tier: str) -> bool:
        """Tell whether a service tier has a price, be it the standard one."""
        return service_tier in _STANDARD_TIERS or self.price.free or self.price.knows("service_tier", service_tier)

    def priced_speed(self, speed: str) -> bool:
        """Tell whether a speed has a price, be it the standard one."""
        return speed in ("", "standard") or self.price.free or self.price.knows("speed", speed)


class Routes:
    """Resolve the names clients use. A name that is not configured is looked up as `provider/model`."""

    def __init__(self, config: Config, book: Book, base_url_of: Callable[[str], str], outbox: Outbox) -> None:
        self._book = book
        self._config = config
        self._prices = PriceList(config, book)
        self.upstreams = {
            name: Upstream(
                name, provider, provider.base_url or base_url_of(name), outbox, config.gateway.call_timeout_s
            )
            for name, provider in config.providers.items()
        }
        self.policies = config.routes
        self._found: dict[tuple[str, Protocol], tuple[Candidate, ...]] = {}
        for name, model in config.models.items():  # one without a price is found out now, not at the first call
            try:
                for target in model.targets:
                    self._prices.of_target(name, target, model.price)
            except Unmetered as error:
                raise ConfigError(f"models.{name}: {error}") from None

    def adopt(self, other: "Routes") -> None:
        """Go by another configuration from now on, for all who hold these routes."""
        self._book, self._config, self._prices = other._book, other._config, other._prices
        self.upstreams, self.policies, self._found = other.upstreams, other.policies, other._found

    @property
    def prices_checked(self) -> str:
        """Return the day of the price book's newest check, empty where it is not known."""
        return self._book.checked

    @property
    def provider_names(self) -> dict[str, str]:
        """Return each provider with the name telemetry has for whose it is, by the prices that apply to it."""
        sellers = {
            name: provider.prices or self._book.provider_of_url(provider.base_url) or name
            for name, provider in self._config.providers.items()
        }
        return {name: PROVIDER_NAMES.get(seller, seller) for name, seller in sellers.items()}

    def left_alone(self, now_us: int) -> list[str]:
        """Name the targets calls are kept from where there is another, each with its last failure."""
        return [
            f"{name}/{model}: {health.why}"
            for name, upstream in self.upstreams.items()
            for model, health in upstream.healths.items()
            if not health.ready(now_us)
        ]

    def names(self) -> list[tuple[str, str]]:
        """Return each configured model with the provider it goes to first, then the routes, which are Bursar's."""
        models = [(name, model.targets[0][0]) for name, model in self._config.models.items()]
        return models + [(name, "bursar") for name in self.policies]

    def cheaper(self, name: str) -> tuple[str, ...]:
        """Name the models that may answer in place of one a budget has no room for."""
        model = self._config.models.get(name)
        return model.cheaper if model is not None else ()

    def model(self, name: str) -> Model:
        """Return what is configured of a model."""
        return self._config.models[name]

    def find(self, name: str, protocol: Protocol) -> tuple[Candidate, ...]:
        """Return a model's candidates for calls of a protocol, in order of preference.

        Raises `NotFound` for an unknown name, with near ones, and `Unmetered` without price.
        """
        found = self._found.get((name, protocol))
        if found is None:
            found = self._candidates(name, protocol)
            if len(self._found) < 10_000:  # a client may make up names without end
                self._found[name, protocol] = found
        return found

    def known(self, name: str, protocol: Protocol, provider: str, model: str = "") -> Candidate | None:
        """Return a model's candidate at one provider; None when the configuration has it no more.

        Of a call whose model was chosen, `model` is the provider's own, under whatever name clients use.
        """
        if model:
            models = self._config.models.items()
            name = next((known for known, each in models if (provider, model) in each.targets), f"{provider}/{model}")
        try:
            found = self.find(name, protocol)
        except Refusal:
            return None
        return next((each for each in found if each.upstream.name == provider and model in ("", each.model)), None)

    def _candidates(self, name: str, protocol: Protocol) -> tuple[Candidate, ...]:
        model = self._config.models.get(name)
        if model is not None:
            made = [self._candidate(name, target, model.price, protocol) for target in model.targets]
            for candidate, weight in zip(made, model.weights, strict=False):
                if candidate is not None:
                    candidate.weight = weight
            return _serving(made, name, protocol)
        provider, _, rest = name.partition("/")
        if provider in self.upstreams and rest:
            return _serving([self._candidate(name, (provider, rest), None, protocol)], name, protocol)
        raise unknown_model(name, [known for known, _ in self.names()])

    def _candidate(
        self, name: str, target: tuple[str, str], price: Price | None, protocol: Protocol
    ) -> Candidate | None:
        """Return a target as it is called by a protocol; None where its provider does not serve that."""
        upstream, model = self.upstreams[target[0]], target[1]
        wire = upstream.wire_for(protocol)
        if wire is None:
            return None
        found = self._prices.of_target(name, target, price)
        if upstream.load is not None and found.volume is not None:
            raise ConfigError(
                f"providers.{upstream.name}.by_load: the price of {name} has a volume: it cannot move by load"
            )
        rules = rules_of(self._config.gateway, self._config.models.get(name))
        candidate = Candidate(upstream, wire, model, found, rules)
        candidate.own_price = price is not None
        candidate.ceiling(found.at(0), Traits(meters=wire.meters))
        return candidate


def _serving(made: Sequence[Candidate | None], name: str, protocol: Protocol) -> tuple[Candidate, ...]:
    """Return those that serve a protocol. Raises `NotFound` where none does."""
    found = tuple(candidate for candidate in made if candidate is not None)
    if not found:
        raise NotFound(
            f"no provider of {name!r} here serves {WIRES[protocol].route}; those whose `kind` is openai do, or name the"
            " protocol in providers.NAME.protocols",
            code="wrong_protocol",
            param="model",
        )
    return found
