"""Show the budget tree, and make budgets, set their limits and policies, move money, freeze and thaw them."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, get_args

from litestar import MediaType, Response, get

from bursar.api.acts import changing, limits_of, make_budget, move, put_limits, put_policy, read_amount
from bursar.api.answers import now_us
from bursar.api.changes import Name
from bursar.api.sessions import Session
from bursar.api.shapes.holders import BudgetRequest, Kind, LimitsRequest, MoveRequest, PolicyRequest
from bursar.api.shapes.spending import BranchView
from bursar.api.views import read_branches
from bursar.budgets.budget import Terms, limit_text
from bursar.budgets.tree import Holder
from bursar.core.errors import NotThere, OperatorError
from bursar.core.money import Money, nano_to_usd
from bursar.ledger.chart import Unit
from bursar.store.database import Connection, Pool, borrow
from bursar.store.holders import budget_states, find_holder, set_frozen
from bursar.web.administration import AnyRequest, Change, Fields, Unsure, done, form, is_sure, show
from bursar.web.forms import Problem, budget_request, limits_request, move_request, policy_request
from bursar.web.pages import Page, Pages

_PAGE: Final = Page("budgets.html", "Budgets · Bursar", "/api/budgets/tree", script="admin")
_DONE: Final = {
    "limits": "The limits are set.",
    "policy": "The policy is set.",
    "move": "The money is moved.",
    "freeze": "The budget is frozen: all calls below it are refused.",
    "thaw": "The budget is thawed.",
}

Deed = Literal["limits", "policy", "move", "freeze", "thaw"]


def nested(tree: Sequence[BranchView]) -> list[dict[str, Any]]:
    """Return a tree that is listed in order as branches within branches."""
    top: list[dict[str, Any]] = []
    line = [top]
    for branch in tree:
        del line[branch.depth + 1 :]
        node: dict[str, Any] = {"branch": branch, "below": []}
        line[-1].append(node)
        line.append(node["below"])
    return top


async def _show(request: AnyRequest, pages: Pages, pool: Pool, problem: Problem | None = None) -> Response[str]:
    async with borrow(pool) as connection:
        tree = await read_branches(connection, now_us())
    return await show(
        request,
        pages,
        _PAGE,
        problem,
        branches=nested(tree),
        parents=tree,
        kinds=get_args(Kind),
        move_id=secrets.token_hex(8),
    )


@get("/budgets", include_in_schema=False, media_type=MediaType.HTML)
async def budgets_page(request: AnyRequest, pool: Pool, pages: Pages) -> Response[str]:
    """Show the budget tree, and to who is signed in the forms that change it."""
    return await _show(request, pages, pool)


@form("/budgets")
async def create_form(request: AnyRequest, pool: Pool, pages: Pages) -> Response[str]:
    """Create a budget."""

    async def act(fields: Fields, session: Session) -> str:
        data = budget_request(fields)
        async with changing(pool, request, BudgetRequest.__struct_fields__) as connection:
            holder = await make_budget(connection, data)
        session.tell(f"Budget {holder.name} is made.", time.monotonic())
        return f"/budgets#{holder.holder_id}"

    return await done(request, pages, "create", act, lambda problem: _show(request, pages, pool, problem))


@form("/budgets/{holder_id:str}/{deed:str}")
async def change_form(request: AnyRequest, pool: Pool, pages: Pages, holder_id: Name, deed: Deed) -> Response[str]:
    """Set a budget's limits or policy, move money out of it, freeze or thaw it."""

    async def act(fields: Fields, session: Session) -> str | Unsure:
        names = (*LimitsRequest.__struct_fields__, *PolicyRequest.__struct_fields__, *MoveRequest.__struct_fields__)
        data = _READ[deed](fields) if deed in _READ else None
        async with changing(pool, request, names) as connection:
            if isinstance(data, LimitsRequest | MoveRequest) and not is_sure(fields):
                return await _asked(connection, holder_id, data)
            if isinstance(data, LimitsRequest):
                await put_limits(connection, holder_id, data)
            elif isinstance(data, PolicyRequest):
                await put_policy(connection, holder_id, data)
            elif isinstance(data, MoveRequest):
                await move(connection, holder_id, data)
            else:
                await set_frozen(connection, holder_id, now_us(), frozen=deed == "freeze")
        session.tell(_DONE[deed], time.monotonic())
        return f"/budgets#{holder_id}"

    return await done(request, pages, f"{holder_id} {deed}", act, lambda problem: _show(request, pages, pool, problem))


async def _asked(connection: Connection, name: str, data: LimitsRequest | MoveRequest) -> Unsure:
    """Say what limits or a move would change. Raises `OperatorError` naming the field that cannot be."""
    holder = await find_holder(connection, name)
    back = f"/budgets#{holder.holder_id}"
    if isinstance(data, LimitsRequest):
        before, after = [each.terms for each in holder.budgets], limits_of(data)
        return Unsure(f"Set the limits of {holder.name}?", limit_words(before, after), "Set them", back)
    amount_nano = read_amount(data.amount_usd)
    try:
        target = await find_holder(connection, data.to)
    except NotThere as error:
        raise NotThere(f"to: {error}") from None
    moved = [(holder, -amount_nano), (target, amount_nano)]
    changes = [Change(f"left to {each.name}", *await _left(connection, each, gain)) for each, gain in moved]
    title = f"Move {nano_to_usd(amount_nano)} USD from {holder.name} to {target.name}?"
    return Unsure(title, changes, "Move it", back, "Their limits stay: it lasts as long as their present windows do.")


async def _left(connection: Connection, holder: Holder, gain_nano: Money) -> tuple[str, str]:
    """Return what is left to the budget money would be moved from or to, in USD, now and then."""
    budget = next((each for each in holder.budgets if each.terms.unit is Unit.usd), None)
    left = None if budget is None else (await budget_states(connection, [budget], now_us()))[0].left_nano
    if left is None:
        raise OperatorError(f"{holder.name!r} has no limited budget in USD: nothing can be moved")
    if left + gain_nano < 0:
        raise OperatorError(f"amount_usd: {holder.name!r} cannot give so much: {nano_to_usd(left)} USD are left to it")
    return f"{nano_to_usd(left)} USD", f"{nano_to_usd(left + gain_nano)} USD"


def limit_words(before: Sequence[Terms], after: Sequence[Terms]) -> list[Change]:
    """Say what of a holder's limits would change."""
    return [Change(what, told(before), told(after)) for what, told in _TERMS.items() if told(before) != told(after)]


def _of_terms(told: Callable[[Terms], str], none: str) -> Callable[[Sequence[Terms]], str]:
    """Return what says something of terms, what they have in common once."""
    return lambda terms: ", ".join(dict.fromkeys(filter(None, map(told, terms)))) or none


_TERMS: Final[dict[str, Callable[[Sequence[Terms]], str]]] = {
    "limits": _of_terms(lambda terms: limit_text(terms) if terms.limit_nano is not None else "", "unlimited"),
    "time zone": _of_terms(lambda terms: terms.zone if terms.limit_nano is not None else "", "UTC"),
    "beyond the limits": _of_terms(lambda terms: terms.enforcement.value if terms.limit_nano is not None else "", "-"),
    "grace, USD": _of_terms(lambda terms: nano_to_usd(terms.grace_nano) if terms.grace_nano else "", "none"),
    "overdraft, USD": _of_terms(
        lambda terms: nano_to_usd(terms.overdraft_nano) if terms.overdraft_nano else "", "none"
    ),
}
_READ: Final[dict[str, Callable[[Fields], LimitsRequest | PolicyRequest | MoveRequest]]] = {
    "limits": limits_request,
    "policy": policy_request,
    "move": move_request,
}

BUDGETS: Final = (budgets_page, create_form, change_form)
