"""Keep the price book: every provider's dated prices, found by the name a call uses."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from bursar.core.errors import UnknownModel
from bursar.prices.near import near_names
from bursar.prices.price import Match, Price

_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def matches(rule: Match, text: str) -> bool:
    """Tell whether a rule means a name; case does not count."""
    lowered, wanted = text.lower(), rule.text.lower()
    match rule.kind:
        case "equals":
            return lowered == wanted
        case "starts_with":
            return lowered.startswith(wanted)
        case "ends_with":
            return lowered.endswith(wanted)
        case "contains":
            return wanted in lowered
        case "regex":
            return re.search(rule.text, text) is not None
        case "or":
            return any(matches(part, text) for part in rule.parts)
        case "and":
            return all(matches(part, text) for part in rule.parts)
        case _:
            raise ValueError(f"unknown kind of match {rule.kind!r}")


class Provider(msgspec.Struct, frozen=True):
    """Hold one provider's prices, in the order in which names are matched.

    `url_pattern` recognises its API's address, `model_match` names that are its own. `lends_from` are providers whose
    models it resells at their price.
    """

    name: str
    prices: tuple[Price, ...]
    url_pattern: str = ""
    model_match: Match | None = None
    lends_from: tuple[str, ...] = ()

    def find(self, model: str) -> Price | None:
        """Return the first price whose rule means this name."""
        lowered = model.lower()
        return next((price for price in self.prices if matches(price.match, lowered)), None)


class Book(msgspec.Struct, frozen=True):
    """Hold all providers. `release` names the catalogue it was compiled from, `checked` its newest check (ISO date)."""

    providers: dict[str, Provider]
    release: str = ""
    checked: str = ""

    def find(self, provider: str, model: str) -> Price:
        """Return a provider's price for a model. Raises `UnknownModel` with near names."""
        holder = self.providers.get(provider)
        price = self._find_in(holder, model) if holder else None
        if price is None:
            names = [entry.model for entry in holder.prices] if holder else self.providers
            raise UnknownModel(f"{provider}/{model}", near_names(model if holder else provider, names))
        return price

    def find_any(self, model: str) -> Price:
        """Return the price for `provider/model`, or for a bare name at the provider who makes it."""
        provider, slash, rest = model.partition("/")
        if slash and provider in self.providers:
            return self.find(provider, rest)
        for holder in self.providers.values():
            if holder.model_match is not None and matches(holder.model_match, model.lower()):
                price = self._find_in(holder, model)
                if price is not None:
                    return price
        # Makers are those whose names are known by their form; what they call otherwise, as embeddings, only one has.
        makers = (holder for holder in self.providers.values() if holder.model_match is not None)
        found = [price for holder in makers if (price := holder.find(model)) is not None]
        if len(found) == 1:
            return found[0]
        raise UnknownModel(model, near_names(model, self._names()))

    def provider_of_url(self, url: str) -> str | None:
        """Name the provider whose API lives at an address; None when it is nobody's we know."""
        for holder in self.providers.values():
            if holder.url_pattern and re.match(holder.url_pattern, url):
                return holder.name
        return None

    def __iter__(self) -> Iterator[Price]:
        for holder in self.providers.values():
            yield from holder.prices

    def _names(self) -> Iterator[str]:
        for price in self:
            yield price.model
            yield f"{price.provider}/{price.model}"

    def _find_in(self, holder: Provider, model: str) -> Price | None:
        """Look a name up as it is, then with a compact date (-20251211) written out, as resellers write them."""
        for name in dict.fromkeys((model, _COMPACT_DATE.sub(r"-\1-\2-\3", model))):
            price = holder.find(name)
            for lender in holder.lends_from if price is None else ():
                if lender in self.providers and (price := self.providers[lender].find(name)) is not None:
                    # A lender's variants are its own offer, not the reseller's.
                    return msgspec.structs.replace(price, provider=holder.name, variants=())
            if price is not None:
                return price
        return None


def with_prices(book: Book, prices: list[Price]) -> Book:
    """Return the book with an operator's own prices, which come before the catalogue's."""
    providers = dict(book.providers)
    for price in prices:
        holder = providers.get(price.provider) or Provider(price.provider, ())
        providers[price.provider] = msgspec.structs.replace(holder, prices=(price, *holder.prices))
    return Book(providers, book.release, book.checked)
