"""Say what a router looks at, what it may choose from, what is wanted of it, and what it has chosen."""

from enum import StrEnum
from typing import Final

import msgspec

from bursar.core.money import Money, div_ceil

TOKENS_PER_RATE: Final = 1_000_000


class Asked(msgspec.Struct, frozen=True):
    """Hold what a router may know of a call. Sizes in tokens, estimated."""

    text: str  # the last turn of the user
    prompt_tokens: int  # of all that is sent
    system: str = ""
    turns: int = 1
    tools: bool = False
    images: bool = False
    tags: dict[str, str] = {}
    output_cap: int | None = None
    wants_json: bool = False  # the answer is to be JSON


class Option(msgspec.Struct, frozen=True):
    """Be a model that may be chosen: what it can do and what it costs.

    Rates are in nano-USD per million tokens; a model whose price is not known has none and is never chosen.
    `output_tokens` is how long its answers are on average: who answers at length costs more than their price says.
    """

    model: str
    input_rate_nano: Money | None
    output_rate_nano: Money | None
    output_tokens: int
    context_tokens: int | None = None  # None: not known
    takes_tools: bool = True
    takes_images: bool = True
    local: bool = False
    seconds: float | None = None  # until its answer is whole, on average; None: not known

    @property
    def priced(self) -> bool:
        """Tell whether both rates are known."""
        return self.input_rate_nano is not None and self.output_rate_nano is not None

    def cost_nano(self, prompt_tokens: int, output_cap: int | None = None) -> Money:
        """Return what an answer is expected to cost, rounded up; only of a model whose price is known."""
        assert self.input_rate_nano is not None
        assert self.output_rate_nano is not None
        output = self.output_tokens if output_cap is None else min(self.output_tokens, output_cap)
        return div_ceil(prompt_tokens * self.input_rate_nano + output * self.output_rate_nano, TOKENS_PER_RATE)

    def expected_nano(self, asked: Asked) -> Money:
        """Return what its answer to a call is expected to cost."""
        return self.cost_nano(asked.prompt_tokens, asked.output_cap)


class Target(msgspec.Struct, frozen=True):
    """Say what is wanted of a route. What is None is not asked for.

    `quality_percent` is of the quality of the best model for the calls at hand; `cost_max_nano` and `seconds_max` are
    for a call. Of what satisfies all, the cheapest is taken; where `cost_max_nano` stands without a quality, the best.
    A learned route where none of them stands aims at `QUALITY_PERCENT`.
    """

    quality_percent: float | None = None
    cost_max_nano: Money | None = None
    seconds_max: float | None = None


class How(StrEnum):
    """Say by what a choice was made."""

    rule = "rule"
    learned = "learned"
    judged = "judged"
    cascaded = "cascaded"
    explored = "explored"  # another than the best guess, to learn how good it is
    only = "only"  # no other was able, allowed or affordable


class Choice(msgspec.Struct, frozen=True):
    """Hold what a router has chosen, what it expects of it, and why in a sentence.

    `quality` is the expected share of answers that are good enough, None where nobody can say; `promised` tells whether
    the target is kept with the confidence the router was calibrated for. `others` are the able ones that were not
    taken, nearest first: where a budget or a provider cannot serve the choice.
    """

    model: str
    how: How
    why: str
    quality: float | None = None
    cost_nano: Money | None = None
    promised: bool = False
    others: tuple[str, ...] = ()
    chance: float | None = None  # as the router alone expects it, before outcomes have corrected it: `quality`
    answered: bool = False  # a cascade has its answer already: that of the last attempt at it


class Nobody(msgspec.Struct, frozen=True):
    """Say that no model may be chosen for a call, and of each why."""

    reasons: tuple[tuple[str, str], ...]  # (model, reason)

    @property
    def why(self) -> str:
        """Return all reasons in a sentence."""
        return "no model can serve this call: " + "; ".join(f"{model} {reason}" for model, reason in self.reasons)
