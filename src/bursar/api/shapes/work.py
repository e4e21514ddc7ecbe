"""Shape what is told of work: charges for what is no model call, outcomes of what is."""

from typing import Annotated

import msgspec

from bursar.core.kinds import ChargeKind, OutcomeKind


class ChargeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describe work that is no model call. The same id is charged once; `call` or `run` say what it was for.

    Texts are on one line. `id`, `supplier` and `quantity` have up to 128 characters, `description` up to 1000.
    """

    id: str
    kind: ChargeKind
    amount_usd: str
    run: str = ""
    call: str = ""
    supplier: str = ""
    description: str = ""
    quantity: str = ""
    tags: dict[str, str] = {}


class ChargeView(msgspec.Struct, frozen=True):
    """Say what was charged. Overage is what the budgets could not pay; `again` tells that it was charged before."""

    id: str
    cost_usd: str
    overage_usd: str
    budgets: list[str]
    again: bool


class OutcomeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how good an answer was: of a call, or of a run as a whole. The same id counts once."""

    id: str
    kind: OutcomeKind
    value: bool | Annotated[float, msgspec.Meta(ge=0, le=1)]
    call: str = ""
    run: str = ""
    source: str = ""


class OutcomeView(msgspec.Struct, frozen=True):
    """Say what was written down; `again` tells that it had been before."""

    id: str
    value: float
    again: bool
