"""Shape what a key may ask about itself: what it may spend yet, what a plan would cost, its runs."""

from typing import Annotated, Final

import msgspec

from bursar.api.shapes.holders import Text

_TOKENS_MAX: Final = 1_000_000_000
TEXT_CHARS_MAX: Final = 60_000
MODELS_MAX: Final = 50

Tokens = Annotated[int, msgspec.Meta(ge=0, le=_TOKENS_MAX)]


class OwnLimitView(msgspec.Struct, frozen=True):
    """Be one limit that calls of the key count against, its own first, then those above it.

    Amounts are in its unit, as strings; null where nothing is limited. `resets_at` is null where no window ends.
    """

    name: str
    unit: str
    window: str
    limit: str
    spent_amount: str
    held_amount: str
    left_amount: str | None
    resets_at: str | None


class OwnBudgetView(msgspec.Struct, frozen=True):
    """Say what calls of a key may spend yet. `frozen_by` names what is frozen: then nothing may be.

    `left_usd` is the least that any limit in USD leaves; null where none does.
    """

    key: str
    frozen_by: str | None
    left_usd: str | None
    limits: list[OwnLimitView]


class PlanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describe work that is not done yet: so many calls, each of a prompt and an answer.

    A prompt is given by its tokens or as a text to be counted. Its first `shared_tokens` are the same in every call.
    Without `models` all that are configured here and the key may use are priced.
    """

    input_tokens: Tokens | None = None
    text: Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)] | None = None
    output_tokens: Tokens = 0
    shared_tokens: Tokens = 0
    calls: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    models: Annotated[list[Text], msgspec.Meta(max_length=MODELS_MAX)] = []


class PlanPriceView(msgspec.Struct, frozen=True):
    """Be what a plan costs on one model at list prices, without and with the shared part read from a cache.

    `target` is where its calls go first. `error_pct` is kept by nine of ten counts of a text that are estimates.
    """

    model: str
    target: str
    input_tokens: int
    counted: str
    error_pct: float | None
    cost_usd: str
    cached_usd: str
    price_id: str
    source: str
    checked: str


class LeftOutView(msgspec.Struct, frozen=True):
    """Say why a model could not be priced."""

    model: str
    code: str
    why: str


class PlanView(msgspec.Struct, frozen=True):
    """Be a plan's prices, the cheapest first, and what could not be priced."""

    prices: list[PlanPriceView]
    left_out: list[LeftOutView]
