"""Find where a model's calls go and what they cost: the configuration, compiled for the hot path."""

from collections.abc import Callable
from typing import Final

from bursar.core.errors import ConfigError, NotFound, Refusal, UnknownModel, Unmetered
from bursar.core.records import Protocol, Traits
from bursar.gateway.config import Config, Provider
from bursar.gateway.connection import Timeouts
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import Pool
from bursar.prices.book import Book
from bursar.prices.near import near_names
from bursar.prices.price import Price, RateCard
from bursar.prices.quote import Ceiling, ceiling, missing_rate

_PATHS: Final = {Protocol.openai_chat: "/chat/completions", Protocol.anthropic_messages: "/messages"}
_SPEAKS: Final = {
    "openai": (Protocol.openai_chat,),
    "anthropic": (Protocol.anthropic_messages,),
    "sandbox": (Protocol.openai_chat, Protocol.anthropic_messages),
}
_ROUTE_NAMES: Final = {
    Protocol.openai_chat: "POST /v1/chat/completions",
    Protocol.anthropic_messages: "POST /v1/messages",
}
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
        openai = provider.kind == "sandbox" or "api.openai.com" in base_url or ".azure.com" in base_url
        self.cap_field = provider.cap_field or ("max_completion_tokens" if openai else "max_tokens")
        secret = provider.secret(name)
        self._heads = {protocol: self._head(protocol, secret) for protocol in _SPEAKS[provider.kind]}

    def speaks(self, protocol: Protocol) -> bool:
        """Tell whether calls of a protocol pass unchanged."""
        return protocol in self._heads

    def head(self, protocol: Protocol, extra: bytes, body_len: int) -> bytes:
        """Return a request's head; `extra` are further header lines of the client's."""
        return b"%b%bcontent-length: %d\r\n\r\n" % (self._heads[protocol], extra, body_len)

    def _head(self, protocol: Protocol, secret: str) -> bytes:
        lines = [
            f"POST {self.pool.path}{_PATHS[protocol]} HTTP/1.1",
            f"host: {self.pool.host_header.decode()}",
            "content-type: application/json",
            "accept-encoding: identity",
            "user-agent: bursar",
        ]
        if secret:
            anthropic = protocol is Protocol.anthropic_messages
            lines.append(f"x-api-key: {secret}" if anthropic else f"authorization: Bearer {secret}")
        if any(character in line for line in lines for character in "\r\n\0"):
            raise ConfigError(f"providers.{self.name}: its key or address holds a line break")
        return "".join(f"{line}\r\n" for line in lines).encode()


class Candidate:
    """Be one target of a model: where it goes and by which rates it is charged."""

    def __init__(self, upstream: Upstream, model: str, price: Price) -> None:
        self.upstream = upstream
        self.model = model
        self.price = price
        self.header = (b"x-bursar-model", f"{upstream.name}/{model}".encode("latin-1", "replace"))
        self._cards: dict[tuple[str, str], RateCard] = {}
        self._ceilings: dict[tuple[str, Traits], Ceiling] = {}

    def card(self, now_us: int, service_tier: str = "", speed: str = "") -> RateCard:
        """Return the rates in force now for a service tier and speed; those of a tier without any are the standard."""
        key = (service_tier, speed)
        card = self._cards.get(key)
        if card is None or now_us >= card.valid_until_us:
            context = {name: value for name, value in (("service_tier", service_tier), ("speed", speed)) if value}
            self._cards[key] = card = self.price.at(now_us, context)
        return card

    def ceiling(self, card: RateCard, traits: Traits) -> Ceiling:
        """Return the dearest rates of a card for calls of these traits. Raises `Unmetered` without any."""
        key = (card.price_id, traits)
        found = self._ceilings.get(key)
        if found is None:
            if missing := missing_rate(card, traits):
                raise Unmetered(f"the price of {self.price.model} has no rate for {missing}", param="model")
            found = self._ceilings[key] = ceiling(card, traits)
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
        self.upstreams = {
            name: Upstream(
                name, provider, provider.base_url or base_url_of(name), outbox, config.gateway.call_timeout_s
            )
            for name, provider in config.providers.items()
        }
        self._found: dict[tuple[str, Protocol], tuple[Candidate, ...]] = {}
        for name in config.models:  # a model without a price is found out now, not at the first call
            try:
                self._candidates(name)
            except Unmetered as error:
                raise ConfigError(f"models.{name}: {error}") from None

    def names(self) -> list[tuple[str, str]]:
        """Return each configured model with the provider it goes to first."""
        return [(name, model.targets[0][0]) for name, model in self._config.models.items()]

    def find(self, name: str, protocol: Protocol) -> tuple[Candidate, ...]:
        """Return a model's candidates that speak a protocol, in order of preference.

        Raises `NotFound` for an unknown name, with near ones, or one of another protocol; `Unmetered` without price.
        """
        found = self._found.get((name, protocol))
        if found is None:
            candidates = self._candidates(name)
            found = tuple(candidate for candidate in candidates if candidate.upstream.speaks(protocol))
            if not found:
                other = next(each for each in Protocol if candidates[0].upstream.speaks(each))
                raise NotFound(
                    f"model {name!r} is served by {_ROUTE_NAMES[other]} only", code="wrong_protocol", param="model"
                )
            if len(self._found) < 10_000:  # a client may make up names without end
                self._found[name, protocol] = found
        return found

    def known(self, name: str, protocol: Protocol, provider: str) -> Candidate | None:
        """Return a model's candidate at one provider; None when the configuration has it no more."""
        try:
            return next((each for each in self.find(name, protocol) if each.upstream.name == provider), None)
        except Refusal:
            return None

    def _candidates(self, name: str) -> tuple[Candidate, ...]:
        model = self._config.models.get(name)
        if model is not None:
            own = [model.price] * len(model.targets) if model.price else [None] * len(model.targets)
            return tuple(
                self._candidate(name, *target, price) for target, price in zip(model.targets, own, strict=True)
            )
        provider, _, rest = name.partition("/")
        if provider in self.upstreams and rest:
            return (self._candidate(name, provider, rest, None),)
        near = near_names(name, [known for known, _ in self.names()])
        hint = f"; near: {', '.join(near)}" if near else "; see GET /v1/models"
        raise NotFound(f"no model {name!r} here{hint}", code="model_not_found", param="model")

    def _candidate(self, name: str, provider: str, model: str, price: Price | None) -> Candidate:
        upstream = self.upstreams[provider]
        try:
            found = price or self._price(upstream, model)
        except UnknownModel as error:
            raise Unmetered(
                f'{error}: give models."{name}".price in bursar.toml, or price = "free"', param="model"
            ) from None
        candidate = Candidate(upstream, model, found)
        candidate.ceiling(found.at(0), Traits())
        return candidate

    def _price(self, upstream: Upstream, model: str) -> Price:
        settings = self._config.providers[upstream.name]
        seller = settings.prices or self._book.provider_of_url(settings.base_url)
        if seller is not None and seller in self._book.providers:
            return self._book.find(seller, model)
        if upstream.name in self._book.providers and settings.kind != "sandbox":
            return self._book.find(upstream.name, model)
        if settings.kind == "sandbox":
            return self._book.find_any(model)
        raise UnknownModel(f"{upstream.name}/{model}")
