"""Shape the price book and what work costs by it. Rates are decimal strings of USD per million units."""

import msgspec


class TierView(msgspec.Struct, frozen=True):
    """Be the rate of the whole call once its input exceeds so many tokens."""

    above_input_tokens: int
    usd_per_million: str


class PriceView(msgspec.Struct, frozen=True):
    """Be what a provider charges now for a model.

    Rates are by unit; one that is not named costs what its parent does. `blended_usd` is of three parts of input and
    one of output. `models` are those clients may ask for here that are charged by it; `is_own`: the operator set it.
    """

    provider: str
    model: str
    price_id: str
    usd_per_million: dict[str, str]
    tiers: dict[str, list[TierView]]
    blended_usd: str | None
    context_window: int | None
    is_own: bool
    models: list[str]
    source: str
    checked: str | None
    is_stale: bool


class PricesView(msgspec.Struct, frozen=True):
    """Be a stretch of the prices that were found, `total` in all, and which catalogue they are of."""

    release: str
    checked: str
    total: int
    offset: int
    prices: list[PriceView]


class StepView(msgspec.Struct, frozen=True):
    """Be a dated entry of a price: its rates from that day on, and the change of each in percent; null: ever before."""

    since: str | None
    usd_per_million: dict[str, str]
    tiers: dict[str, list[TierView]]
    change_percent: dict[str, str]


class ConditionView(msgspec.Struct, frozen=True):
    """Say when other rates hold than the usual, and which; none where the usual do."""

    when: str
    usd_per_million: dict[str, str]


class OfferView(msgspec.Struct, frozen=True):
    """Be what a model costs at one who offers it, blended, and how many times the least that is."""

    name: str
    blended_usd: str
    times_the_least: str
    models: list[str]


class SpreadView(msgspec.Struct, frozen=True):
    """Be what a model costs at all who call it the same, the cheapest first, in blended rates."""

    least_usd: str
    median_usd: str
    most_usd: str
    offers: list[OfferView]


class ExampleView(msgspec.Struct, frozen=True):
    """Be what so many calls cost; null where the price has no rate for them."""

    calls: int
    input_tokens: int
    output_tokens: int
    usd: str | None


class OnePriceView(msgspec.Struct, frozen=True):
    """Be a price with its history, what it depends on, and what others charge for the same model."""

    price: PriceView
    note: str
    history: list[StepView]
    conditions: list[ConditionView]
    spread: SpreadView | None
    example: ExampleView


class CostView(msgspec.Struct, frozen=True):
    """Be what the work costs on a model: its usage over all calls, and what was taken for granted.

    `model` is as it was asked for, `price` the `provider/model` of the book it is charged by.
    """

    model: str
    price: str
    price_id: str
    usage: dict[str, int]
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: str
    times_the_least: str
    assumed: list[str]
    source: str
    checked: str | None
    is_stale: bool


class ComparedView(msgspec.Struct, frozen=True):
    """Be what the same work costs on several models, the cheapest first."""

    calls: int
    costs: list[CostView]
