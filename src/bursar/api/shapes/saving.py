"""Shape what levers have saved and routes have chosen."""

import msgspec


class ArmView(msgspec.Struct, frozen=True):
    """Be one arm: its units (runs and conversations), their calls, and what these cost.

    `estimated_saved_usd` is what the calls are estimated to have saved, one by one; the claim is the difference.
    """

    units: int
    calls: int
    cost_usd: str
    estimated_saved_usd: str
    removed_bytes: int


class ShareView(msgspec.Struct, frozen=True):
    """Be an estimate between two bounds."""

    value: float
    low: float
    high: float


class UsdView(msgspec.Struct, frozen=True):
    """Be an estimate between two bounds, in USD."""

    value: str
    low: str
    high: str


class TooFewView(msgspec.Struct, frozen=True):
    """Say how many units there are and about how many are needed before anything can be told."""

    treatment_units: int
    holdout_units: int
    treatment_needed: int
    holdout_needed: int


class CostView(msgspec.Struct, frozen=True):
    """Say how much less a unit in treatment costs; `too_few` where that cannot be told yet."""

    usd_less: UsdView | None
    share_less: ShareView | None
    too_few: TooFewView | None


class MeasureView(msgspec.Struct, frozen=True):
    """Say how much less of a unit's calls in treatment something happened to; above 0 is better."""

    less: ShareView | None
    too_few: TooFewView | None


class SavingsView(msgspec.Struct, frozen=True):
    """Be what is known of one lever in one experiment, which holds out `share_ppm` units in a million.

    `left_out_units` were in both arms, explored, or sent to a cheaper model by a budget, and count in neither.
    `verdict` says in words what the differences come to.
    """

    lever: str
    experiment: str
    share_ppm: int
    treatment: ArmView
    holdout: ArmView
    left_out_units: int
    cost: CostView
    quality: dict[str, MeasureView]
    verdict: str


class ChoiceView(msgspec.Struct, frozen=True):
    """Be what a route has chosen a model for, by one way of choosing.

    `told_calls` of its calls have outcomes, whose mean is `good`, 0 to 1; null where nobody has said anything.
    """

    model: str
    how: str
    calls: int
    share: float
    cost_usd: str
    estimated_saved_usd: str
    failed_calls: int
    told_calls: int
    good: float | None


class RouteView(msgspec.Struct, frozen=True):
    """Be a route: its calls, and what it has chosen for them."""

    name: str
    calls: int
    cost_usd: str
    estimated_saved_usd: str
    choices: list[ChoiceView]


class DriftView(msgspec.Struct, frozen=True):
    """Say that a route's model answers otherwise than expected."""

    at: str
    text: str


class RoutesView(msgspec.Struct, frozen=True):
    """Be all routes that were asked for, and what was noticed of their models."""

    routes: list[RouteView]
    drifts: list[DriftView]
