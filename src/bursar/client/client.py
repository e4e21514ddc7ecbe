"""Offer the API as methods, each with the types the API itself is made of."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import quote

from bursar.api.shapes.holders import (
    AuditView,
    BudgetRequest,
    HolderView,
    KeyRequest,
    KeyView,
    LimitsRequest,
    MadeKeyView,
    MovedView,
    MoveRequest,
    RevokedView,
    RotateRequest,
    ScopeRequest,
)
from bursar.api.shapes.own import OwnBudgetView, PlanRequest, PlanView
from bursar.api.shapes.saving import RoutesView, SavingsView
from bursar.api.shapes.spending import BudgetView, StatementView
from bursar.api.shapes.work import ChargeRequest, ChargeView, OutcomeRequest, OutcomeView
from bursar.client.asking import Asking, Request
from bursar.core.errors import ConfigError
from bursar.core.kinds import By, ChargeKind, OutcomeKind

T = TypeVar("T")
R = TypeVar("R", bound=StrEnum)

TIMEOUT_S: Final = 30.0

Fields = dict[str, Any]


class Client:
    """Ask one Bursar. `key` is a calling key (`bk_...`), `admin_key` one that may change things (`ba_...`).

    Reading needs the admin key from another machine, nothing on the same one. What can be asked twice without doing
    more than once is asked again where no answer comes: all that is read, charges, outcomes and moves by ids, limits.
    Raises the errors of `bursar.core.errors`: `Refusal` with `code` and `param`, `Unavailable` where nobody answers.
    """

    def __init__(self, url: str, *, key: str = "", admin_key: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._asking = Asking(url, timeout_s)
        self._key = key
        self._admin_key = admin_key

    def keys(self) -> list[KeyView]:
        """List keys, without their secrets."""
        return self._read("/api/keys", list[KeyView])

    def create_key(self, name: str, **fields: Any) -> MadeKeyView:
        """Create a key; `fields` are those of `KeyRequest`. Its secret is in this answer alone."""
        return self._change("/api/keys", KeyRequest(name, **fields), MadeKeyView)

    def limit_key(self, name: str, **fields: Any) -> KeyView:
        """Limit a key, by name or id, otherwise; `fields` are those of `ScopeRequest`, and what is not named stays."""
        return self._change(f"/api/keys/{_part(name)}", ScopeRequest(**fields), KeyView, again=True, method="PATCH")

    def rotate_key(self, name: str, *, overlap: str = "24h") -> MadeKeyView:
        """Give a key, by name or id, a new secret; the present one stays good for `overlap`."""
        return self._change(f"/api/keys/{_part(name)}/rotate", RotateRequest(overlap), MadeKeyView)

    def revoke_key(self, name: str) -> RevokedView:
        """Revoke a key by name or id."""
        return self._change(f"/api/keys/{_part(name)}/revoke", None, RevokedView, again=True)

    def budgets(self) -> list[BudgetView]:
        """List every budget with what it has spent, held and left."""
        return self._read("/api/budgets", list[BudgetView])

    def create_budget(self, name: str, **fields: Any) -> HolderView:
        """Create a budget; `fields` are those of `BudgetRequest`."""
        return self._change("/api/budgets", BudgetRequest(name, **fields), HolderView)

    def set_limits(self, name: str, limits: Sequence[str], **fields: Any) -> HolderView:
        """Set all limits of a key or budget, such as `5.00/day`; `fields` are those of `LimitsRequest`."""
        request = LimitsRequest(list(limits), **fields)
        return self._change(f"/api/budgets/{_part(name)}/limits", request, HolderView, again=True)

    def move(self, move_id: str, source: str, to: str, amount_usd: str) -> MovedView:
        """Move money from one budget to another, within their present windows; the same id moves once."""
        request = MoveRequest(move_id, to, amount_usd)
        return self._change(f"/api/budgets/{_part(source)}/move", request, MovedView, again=True)

    def freeze(self, name: str) -> HolderView:
        """Refuse all calls of a key or budget and of all below it."""
        return self._change(f"/api/budgets/{_part(name)}/freeze", None, HolderView, again=True)

    def thaw(self, name: str) -> HolderView:
        """Let calls of a frozen key or budget be made again."""
        return self._change(f"/api/budgets/{_part(name)}/thaw", None, HolderView, again=True)

    def charge(self, charge_id: str, kind: ChargeKind | str, amount_usd: str, **fields: Any) -> ChargeView:
        """Charge work that is no model call to the key; the same id is charged once.

        `fields` are those of `ChargeRequest`: `run`, `call`, `supplier`, `description`, `quantity`, `tags`.
        """
        request = ChargeRequest(charge_id, _word(ChargeKind, kind, "kind"), amount_usd, **fields)
        return self._own(Request("POST", "/api/charges", "", {}, request, again=True), ChargeView)

    def tell_outcome(self, outcome_id: str, kind: OutcomeKind | str, value: bool | float, **fields: Any) -> OutcomeView:
        """Say how good an answer was; the same id counts once. `fields` are `call`, `run` and `source`."""
        request = OutcomeRequest(outcome_id, _word(OutcomeKind, kind, "kind"), value, **fields)
        return self._own(Request("POST", "/api/outcomes", "", {}, request, again=True), OutcomeView)

    def own_budget(self, *, run: str = "", model: str = "") -> OwnBudgetView:
        """Say what the key may spend yet, by each limit its calls count against."""
        query = {"run": run or None, "model": model or None}
        return self._own(Request("GET", "/api/own/budget", "", query, again=True), OwnBudgetView)

    def own_run(self, run: str) -> Fields:
        """Show a run as far as it is the key's: its calls as a tree, its charges."""
        return self._own(Request("GET", f"/api/own/runs/{_path(run)}", "", again=True), Fields)

    def price_plan(
        self,
        *,
        input_tokens: int | None = None,
        text: str | None = None,
        output_tokens: int = 0,
        shared_tokens: int = 0,
        calls: int = 1,
        models: Sequence[str] = (),
    ) -> PlanView:
        """Price work that is not done yet: its prompt by tokens or as a text, on all models the key may use or some."""
        plan = PlanRequest(input_tokens, text, output_tokens, shared_tokens, calls, list(models))
        return self._own(Request("POST", "/api/own/plan", "", {}, plan, again=True), PlanView)

    def statement(
        self, by: By | str = By.model, *, since: str | None = None, until: str | None = None
    ) -> StatementView:
        """Read what was spent, grouped; from the first of this month until now without dates."""
        return self._read(
            "/api/statement", StatementView, {"by": _word(By, by, "by").value, "since": since, "until": until}
        )

    def savings(self, *, days: int = 30, confidence: float = 0.95) -> list[SavingsView]:
        """Read what each lever has saved, by treatment and hold-out."""
        return self._read("/api/savings", list[SavingsView], {"days": days, "confidence": confidence})

    def routes(self, *, days: int = 30) -> RoutesView:
        """Read what routes have chosen."""
        return self._read("/api/routes", RoutesView, {"days": days})

    def calls(
        self, *, key: str | None = None, run: str | None = None, after: str | None = None, limit: int = 50
    ) -> list[Fields]:
        """List the latest calls, newest first."""
        return self._read("/api/calls", list[Fields], {"key": key, "run": run, "after": after, "limit": limit})

    def call(self, call_id: str) -> Fields:
        """Show one call: usage, attempts, priced lines."""
        return self._read(f"/api/calls/{_part(call_id)}", Fields)

    def runs(self, *, days: int = 7, limit: int = 50) -> list[Fields]:
        """List the latest agent runs and what they cost."""
        return self._read("/api/runs", list[Fields], {"days": days, "limit": limit})

    def run(self, run: str) -> Fields:
        """Show one run: its calls as a tree, charges, budgets."""
        return self._read(f"/api/runs/{_path(run)}", Fields)

    def audit(self, *, before: int | None = None, subject: str | None = None, limit: int = 50) -> list[AuditView]:
        """Read who changed what, newest first."""
        return self._read("/api/audit", list[AuditView], {"before": before, "subject": subject, "limit": limit})

    def _read(self, path: str, kind: type[T], query: Mapping[str, Any] | None = None) -> T:
        return self._asking.ask(Request("GET", path, self._admin_key, query or {}, again=True), kind)

    def _change(self, path: str, body: Any, kind: type[T], *, again: bool = False, method: str = "POST") -> T:
        if not self._admin_key:
            raise ConfigError("admin_key: this needs one, see `bursar admin create`")
        return self._asking.ask(Request(method, path, self._admin_key, {}, body, again), kind)

    def _own(self, request: Request, kind: type[T]) -> T:
        if not self._key:
            raise ConfigError("key: this needs one, see `bursar keys create`")
        return self._asking.ask(request._replace(secret=self._key), kind)


def _word(kind: type[R], value: str, field: str) -> R:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{field}: expected {', '.join(kind)}; got {value!r}") from None


def _part(name: str) -> str:
    return quote(name, safe="")


def _path(run: str) -> str:
    return quote(run, safe="/")
