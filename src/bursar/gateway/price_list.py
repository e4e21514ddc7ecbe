"""Find the prices that apply here: the operator's own first, then those of who sells what a provider gives."""

import contextlib
from collections.abc import Iterator

import msgspec

from bursar.core.errors import NotFound, UnknownModel, Unmetered
from bursar.gateway.config import Config
from bursar.gateway.provider import ByLoad
from bursar.prices.book import Book, with_prices
from bursar.prices.near import near_names
from bursar.prices.price import Price


class Target(msgspec.Struct, frozen=True):
    """Be where calls of a model go first, and what is charged for them."""

    name: str  # provider/model
    price: Price


class Served(msgspec.Struct, frozen=True):
    """Be one target of a model that clients may ask for, and whose prices move with its servers' load, if any do."""

    name: str
    target: Target
    by_load: ByLoad | None


class PriceList:
    """Know the price of every target a configuration names, and of `provider/model` where it names none."""

    def __init__(self, config: Config, book: Book) -> None:
        self._config = config
        self._book = book

    def names(self) -> Iterator[str]:
        """Name the models clients may ask for; those of routes are among them."""
        yield from self._config.models

    def book(self) -> Book:
        """Return the price book with every price the operator has set, those of models before those of `[[prices]]`."""
        return with_prices(self._book, [each.price for each in self._config.models.values() if each.price is not None])

    def own(self) -> set[tuple[str, str]]:
        """Return the (provider, model) whose price the operator has set."""
        models = (each.price for each in self._config.models.values())
        return {(each.provider, each.model) for each in (*models, *self._config.prices) if each is not None}

    def served(self) -> Iterator[Served]:
        """Give every target of every model that has a price."""
        for name, model in self._config.models.items():
            for provider, own in model.targets:
                with contextlib.suppress(Unmetered):
                    price = self.of_target(name, (provider, own), model.price)
                    yield Served(name, Target(f"{provider}/{own}", price), self._config.providers[provider].by_load)

    def first(self, name: str) -> Target:
        """Return the first target of a model. Raises `NotFound` for an unknown name, `Unmetered` without a price."""
        model = self._config.models.get(name)
        if model is not None:
            provider, own = model.targets[0]
            return Target(f"{provider}/{own}", self.of_target(name, (provider, own), model.price))
        policy = self._config.routes.get(name)
        if policy is not None:
            models = ", ".join(policy.models)
            raise NotFound(
                f"{name} is a route, which chooses for each call: name its models, {models}", code="model_not_found"
            )
        provider, _, own = name.partition("/")
        if provider in self._config.providers and own:
            return Target(name, self.of_target(name, (provider, own), None))
        raise unknown_model(name, [*self._config.models, *self._config.routes])

    def of_target(self, name: str, target: tuple[str, str], price: Price | None) -> Price:
        """Return what a target of a model costs; `price` is the operator's own. Raises `Unmetered` without any."""
        try:
            return price or self._of(*target)
        except UnknownModel as error:
            raise Unmetered(
                f'{error}: give models."{name}".price in bursar.toml, or price = "free"', param="model"
            ) from None

    def _of(self, provider: str, model: str) -> Price:
        settings = self._config.providers[provider]
        seller = settings.prices or self._book.provider_of_url(settings.base_url)
        if seller is not None and seller in self._book.providers:
            return self._book.find(seller, model)
        if provider in self._book.providers and settings.kind != "sandbox":
            return self._book.find(provider, model)
        if settings.kind == "sandbox":
            return self._book.find_any(model)
        raise UnknownModel(f"{provider}/{model}")


def unknown_model(name: str, known: list[str]) -> NotFound:
    """Return the refusal of a model nobody here knows, with near names."""
    near = near_names(name, known)
    hint = f"; near: {', '.join(near)}" if near else "; see GET /v1/models"
    return NotFound(f"no model {name!r} here{hint}", code="model_not_found", param="model")
