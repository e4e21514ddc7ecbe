"""Shape keys and budgets, what changes them, and the log of changes."""

from typing import Annotated, Any, Final, Literal

import msgspec

from bursar.budgets.tree import Exhausted, Holds
from bursar.wires.wire import OUTPUT_CAP_MAX

TEXT: Final = r"^[^\0]*$"
"""What the database can compare with."""

_LIMITS_MAX: Final = 20
_NUMBER_MAX: Final = 1_000_000

Kind = Literal["organisation", "team", "person", "agent", "run", "feature", "model", "other"]
Text = Annotated[str, msgspec.Meta(max_length=256, pattern=TEXT)]
Limits = Annotated[list[Text], msgspec.Meta(min_length=1, max_length=_LIMITS_MAX)]
Names = Annotated[list[Text], msgspec.Meta(max_length=100)]
OutputCap = Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_CAP_MAX)]


class KeyView(msgspec.Struct, frozen=True):
    """Describe a key, without its secret, which is stored nowhere."""

    id: str
    name: str
    budget: str
    models: list[str]
    routes: list[str]
    tags: dict[str, str]
    created_at: str
    expires_at: str | None
    revoked: bool
    addresses: list[str]
    former_secrets_end_at: list[str]
    parent: str | None
    output_cap: int | None
    frozen: bool
    status: str  # active, revoked or expired
    last_used_at: str | None = None  # of the last 30 days, where it was looked for


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describe a key to be made. Fields are those of `bursar keys create`; limits as in `5.00/day`."""

    name: Text
    limits: Limits | None = None
    parent: Text | None = None
    zone: Text = "UTC"
    models: Names = []
    routes: Names = []
    addresses: Names = []
    tags: dict[Text, Text] = {}
    output_cap: OutputCap | None = None
    expires: Text | None = None


class ScopeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say what a key is limited to from now on; what is not named stays. Empty lists allow all, null sets no bound."""

    models: Names | msgspec.UnsetType = msgspec.UNSET
    routes: Names | msgspec.UnsetType = msgspec.UNSET
    addresses: Names | msgspec.UnsetType = msgspec.UNSET
    tags: dict[Text, Text] | msgspec.UnsetType = msgspec.UNSET
    output_cap: OutputCap | msgspec.UnsetType | None = msgspec.UNSET
    expires: Text | msgspec.UnsetType | None = msgspec.UNSET


class RotateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how long the present secret stays good, such as `24h` or `0`."""

    overlap: Text = "24h"


class MadeKeyView(msgspec.Struct, frozen=True):
    """Hold a key and its secret, which is shown this once."""

    secret: str
    key: KeyView


class RevokedView(msgspec.Struct, frozen=True):
    """Say which key is revoked."""

    id: str
    revoked: bool


class LimitsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name all limits of a key or budget, in place of those it has."""

    limits: Limits
    zone: Text = "UTC"
    soft: bool = False
    grace: Text | None = None
    overdraft: Text | None = None


Alerts = Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=1_000)]], msgspec.Meta(max_length=20)]


class PolicyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how calls are treated, as `bursar budget policy` does; what is None stays."""

    when_exhausted: Exhausted | None = None
    holds: Holds | None = None
    depth: Annotated[int, msgspec.Meta(ge=1, le=_NUMBER_MAX)] | None = None
    repeats: Annotated[int, msgspec.Meta(ge=2, le=_NUMBER_MAX)] | None = None
    alerts: Alerts | None = None


class BudgetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describe a budget to be made. Fields are those of `bursar budget create`."""

    name: Text
    limits: Limits | None = None
    kind: Kind = "team"
    parent: Text | None = None
    match: dict[Text, Text] = {}
    each: Text = ""
    zone: Text = "UTC"
    soft: bool = False
    grace: Text | None = None
    overdraft: Text | None = None
    when_exhausted: Exhausted | None = None
    holds: Holds | None = None
    depth: Annotated[int, msgspec.Meta(ge=1, le=_NUMBER_MAX)] | None = None
    repeats: Annotated[int, msgspec.Meta(ge=2, le=_NUMBER_MAX)] | None = None
    alerts: Alerts | None = None


class MoveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how much money is to be moved, and to whose budget. The same `id` moves once."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=TEXT)]
    to: Text
    amount_usd: Text


class MovedView(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """Say what was moved; `again` tells that it had been before."""

    id: str
    source: str
    to: str
    amount_usd: str
    again: bool


class HolderView(msgspec.Struct, frozen=True):
    """Describe whose budgets these are, and their limits."""

    id: str
    name: str
    kind: str
    frozen: bool
    limits: list[str]


class AuditView(msgspec.Struct, frozen=True):
    """Be a line of the audit log."""

    id: int
    at: str
    actor: str
    origin: str
    action: str
    subject: str
    details: dict[str, Any]
