"""Hold what was decided about the model of one call, and estimate what that has saved."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from bursar.core.errors import UnpricedUsage
from bursar.core.money import Money
from bursar.core.records import Assignment, Attempt, AttemptStatus, Route
from bursar.core.usage import Usage
from bursar.prices.charge import cost
from bursar.savings.route.choice import Asked, Choice
from bursar.savings.route.choose import Route as Prepared
from bursar.savings.route.flow import Flow, Wish

if TYPE_CHECKING:
    from bursar.gateway.routes import Candidate

LEVER: Final = "route"

ANSWER_TOKENS: Final = 400
"""How long answers are taken to be where none of a route's models has been seen to answer: prices alone tell then."""

PPM_PER_PERCENT: Final = 10_000
_MILLION: Final = 1_000_000
_ANSWERED: Final = (AttemptStatus.ok, AttemptStatus.cut)


class Manner(msgspec.Struct, frozen=True):
    """Say how a target answers, on average: so many tokens, in so many seconds."""

    output_tokens: int
    seconds: float | None = None


Manners = Mapping[str, Manner]
"""How targets answer, by `provider/model`."""

NO_MANNERS: Final[Manners] = {}
_UNSEEN: Final = Manner(ANSWER_TOKENS)


class Routed:
    """Hold a call's choice of model, what it was made from, and the model a saving is told against."""

    __slots__ = (
        *("arm", "asked", "choice", "flow", "how", "manners", "unverified"),
        *("name", "prepared", "reference", "reference_name", "wish"),
    )

    def __init__(self, name: str, reference: "tuple[str, Candidate]", manners: Manners) -> None:
        self.name = name  # of the route, or of the model whose place was taken
        self.reference_name, self.reference = reference
        self.manners = manners
        self.arm = self.how = ""
        self.unverified = False  # the answer stands though it was not found good
        self.asked: Asked | None = None
        self.prepared: Prepared | None = None
        self.choice: Choice
        # Of a route that asks before it chooses: what it wishes for. Its choice is what the call is held for till then.
        self.flow: Flow | None = None
        self.wish: Wish | None = None

    def recorded(self) -> Route:
        """Return what the record keeps of the choice."""
        choice = self.choice
        return Route(
            self.name,
            choice.model,
            self.how or str(choice.how),
            choice.why,
            _ppm(choice.quality),
            -1 if choice.cost_nano is None else choice.cost_nano,
            _ppm(choice.chance),
            choice.promised,
            self.reference_name,
            self.unverified,
        )

    def assignment(self) -> Assignment:
        """Return the call's arm, with the experiment that divides: a route, at its hold-out."""
        assert self.prepared is not None
        policy = self.prepared.policy
        return Assignment(LEVER, self.arm, policy.name, round(policy.holdout_percent * PPM_PER_PERCENT))


def _ppm(share: float | None) -> int:
    return -1 if share is None else round(share * _MILLION)


def manner_of(candidate: "Candidate", manners: Manners) -> Manner:
    """Return how a target answers, or how one is taken to that nobody has seen."""
    return manners.get(_name(candidate), _UNSEEN)


def _name(candidate: "Candidate") -> str:
    return f"{candidate.upstream.name}/{candidate.model}"


def saved_by(routed: Routed, attempts: list[Attempt], now_us: int, output_cap: int) -> Money:
    """Estimate what a call would have cost more at the reference model: the same prompt, an answer of its length.

    Longer or shorter as its answers are where both models' are known, but never beyond the call's own cap. What the way
    to the answer has cost besides, a judge or an answer that was not kept, is taken off. A call that has no answer has
    saved nothing, nor has one whose answer was not found good.
    """
    last, reference, manners = attempts[-1], routed.reference, routed.manners
    if last.status not in _ANSWERED or not last.usage.output_total or routed.unverified:
        return 0
    here, there = manners.get(f"{last.provider}/{last.model}"), manners.get(_name(reference))
    usage, output = last.usage, last.usage.output_total
    if here is not None and there is not None:  # else nobody knows that their answers differ in length
        output = min(output * there.output_tokens // max(1, here.output_tokens), max(output, output_cap))
    card = reference.card(now_us)
    try:
        dearer = cost(_with_output(usage, output), card)
    except UnpricedUsage:  # of what this model knows and that one does not
        dearer = cost(Usage(input_tokens=usage.input_total, output_tokens=output), card)
    return dearer - sum(attempt.cost_nano for attempt in attempts)


def _with_output(usage: Usage, output_tokens: int) -> Usage:
    return msgspec.structs.replace(usage, output_tokens=output_tokens, reasoning_tokens=0, unknown={})


def header_of(route: Route) -> bytes:
    """Write how a call's model was chosen: `learned; small; 0.94`."""
    words = [route.how, route.model]
    if route.quality_ppm >= 0:
        words.append(f"{route.quality_ppm / _MILLION:.2f}")
    if route.unverified:
        words.append("unverified")
    return "; ".join(words).encode("latin-1", "replace")
