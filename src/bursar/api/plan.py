"""Price work that is not done yet: by the configuration workers go by, at list prices, with and without a cache."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bursar.api.shapes.own import LeftOutView, PlanPriceView, PlanRequest, PlanView
from bursar.core.errors import BadRequest, Refusal, UnknownModel, UnpricedUsage
from bursar.core.money import Money, nano_to_usd
from bursar.core.usage import Usage
from bursar.gateway.config import read_config
from bursar.gateway.price_list import PriceList, Target
from bursar.gateway.reload import read_book
from bursar.prices.charge import cost
from bursar.prices.price import RateCard
from bursar.store.database import Pool, borrow
from bursar.store.keys import Key
from bursar.store.token_samples import samples_of
from bursar.tokens.calibrate import Sample, learn
from bursar.tokens.measure import Measure
from bursar.tokens.media import Media, MediaKind


class Counted(msgspec.Struct, frozen=True):
    """Hold how many tokens a prompt has, how that is known, and the error nine of ten such counts keep."""

    tokens: int
    how: str
    error_pct: float | None = None


class Planner:
    """Price plans, and know what is charged here.

    The price list is read when it is first needed, and again when the configuration has changed.
    """

    def __init__(self, config: Path | None, prices: Path) -> None:
        self._config = config
        self._prices = prices
        self._read: bytes | None = None
        self._list: PriceList | None = None
        self._measure = Measure()
        self._turn = asyncio.Lock()  # one at a time: to count takes a core, and vocabularies are loaded once

    async def prices(self) -> PriceList:
        """Return the prices this gateway charges by."""
        async with self._turn:
            return await asyncio.to_thread(self._now)

    async def price(self, pool: Pool, key: Key, plan: PlanRequest, now_us: int) -> PlanView:
        """Price a plan on the models it names, or on all that are configured and the key may use.

        Raises `BadRequest` naming the field that cannot be.
        """
        _check(plan)
        async with self._turn:
            prices = await asyncio.to_thread(self._now)
            names = dict.fromkeys(plan.models or filter(key.may_use, prices.names()))
            targets, left_out = _targets(prices, key, list(names))
            samples: dict[str, list[Sample]] = {}
            if plan.text is not None:
                async with borrow(pool) as connection:
                    samples = {each.name: await samples_of(connection, each.name) for each in targets.values()}
            found, unpriced = await asyncio.to_thread(self._price, plan, targets, samples, now_us)
        return PlanView(found, left_out + unpriced)

    def _now(self) -> PriceList:
        read = self._config.read_bytes() if self._config is not None else b""
        if self._list is None or read != self._read:
            config = read_config(self._config)
            self._list, self._read = PriceList(config, read_book(self._prices, config.prices)), read
        return self._list

    def _price(
        self, plan: PlanRequest, targets: Mapping[str, Target], samples: Mapping[str, Sequence[Sample]], now_us: int
    ) -> tuple[list[PlanPriceView], list[LeftOutView]]:
        priced: list[tuple[Money, PlanPriceView]] = []
        left_out: list[LeftOutView] = []
        for name, target in targets.items():
            try:
                card = msgspec.structs.replace(target.price.at(now_us), volume=None)
                counted = self._count(plan, target, samples.get(target.name, ()))
                whole, cached = plan_cost(plan, counted.tokens, card)
            except UnpricedUsage as error:
                left_out.append(LeftOutView(name, "unpriced", str(error)))
                continue
            amounts = nano_to_usd(whole), nano_to_usd(cached)
            source = card.price_id, card.source.url, card.source.checked
            view = PlanPriceView(name, target.name, counted.tokens, counted.how, counted.error_pct, *amounts, *source)
            priced.append((min(whole, cached), view))
        return [view for _, view in sorted(priced, key=lambda each: (each[0], each[1].model))], left_out

    def _count(self, plan: PlanRequest, target: Target, samples: Sequence[Sample]) -> Counted:
        if plan.text is None:
            return Counted(plan.input_tokens or 0, "as given")
        media = Media(MediaKind.text, text=plan.text)
        model = target.name.partition("/")[2]
        found = self._measure.of(media, model, meter=lambda: learn(samples))
        return Counted(found.tokens, found.how, found.error_pct)


def plan_cost(plan: PlanRequest, input_tokens: int, card: RateCard) -> tuple[Money, Money]:
    """Return what a plan costs with every prompt read afresh, and with its shared part read from a cache.

    Of the latter the first call writes the shared part, the others read it. Raises `UnpricedUsage`.
    """
    shared, calls = min(plan.shared_tokens, input_tokens), plan.calls
    fresh = cost(Usage(input_tokens=input_tokens, output_tokens=plan.output_tokens), card)
    own = input_tokens - shared
    first = cost(Usage(own, cache_write_5m_tokens=shared, output_tokens=plan.output_tokens), card)
    later = cost(Usage(own, cache_read_tokens=shared, output_tokens=plan.output_tokens), card)
    return fresh * calls, first + later * (calls - 1)


def _check(plan: PlanRequest) -> None:
    if (plan.text is None) == (plan.input_tokens is None):
        raise BadRequest("input_tokens: expected these, or the prompt as `text`, and not both", param="input_tokens")
    if plan.input_tokens is not None and plan.shared_tokens > plan.input_tokens:
        raise BadRequest("shared_tokens: expected no more than input_tokens", param="shared_tokens")


def _targets(prices: PriceList, key: Key, names: Sequence[str]) -> tuple[dict[str, Target], list[LeftOutView]]:
    """Find what is priced, and say why the rest is not."""
    targets: dict[str, Target] = {}
    left_out: list[LeftOutView] = []
    for name in names:
        if not key.may_use(name):
            left_out.append(LeftOutView(name, "out_of_scope", f"key {key.name!r} may not use {name}"))
            continue
        try:
            targets[name] = prices.first(name)
        except Refusal as refusal:
            left_out.append(LeftOutView(name, refusal.code, refusal.message))
        except UnknownModel as error:
            left_out.append(LeftOutView(name, "unpriced", str(error)))
    return targets, left_out
