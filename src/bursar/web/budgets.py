"""Show the budget tree, and make budgets, set their limits and policies, freeze and thaw them."""

import time
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

from litestar import MediaType, Response, get

from bursar.api.acts import changing, make_budget, put_limits, put_policy
from bursar.api.answers import now_us
from bursar.api.changes import Name
from bursar.api.sessions import Session
from bursar.api.shapes.holders import BudgetRequest, Kind, LimitsRequest, PolicyRequest
from bursar.api.shapes.spending import BranchView
from bursar.api.views import read_branches
from bursar.store.database import Pool, borrow
from bursar.store.holders import set_frozen
from bursar.web.administration import AnyRequest, Fields, done, form, show
from bursar.web.forms import Problem, budget_request, limits_request, policy_request
from bursar.web.pages import Page, Pages

_PAGE: Final = Page("budgets.html", "Budgets · Bursar", "/api/budgets/tree", script="admin")
_DONE: Final = {
    "limits": "The limits are set.",
    "policy": "The policy is set.",
    "freeze": "The budget is frozen: all calls below it are refused.",
    "thaw": "The budget is thawed.",
}

Deed = Literal["limits", "policy", "freeze", "thaw"]


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
    return await show(request, pages, _PAGE, problem, branches=nested(tree), parents=tree, kinds=get_args(Kind))


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

    return await done(request, "create", act, lambda problem: _show(request, pages, pool, problem))


@form("/budgets/{holder_id:str}/{deed:str}")
async def change_form(request: AnyRequest, pool: Pool, pages: Pages, holder_id: Name, deed: Deed) -> Response[str]:
    """Set a budget's limits or policy, freeze or thaw it."""

    async def act(fields: Fields, session: Session) -> str:
        limits = limits_request(fields) if deed == "limits" else None
        policy = policy_request(fields) if deed == "policy" else None
        names = (*LimitsRequest.__struct_fields__, *PolicyRequest.__struct_fields__)
        async with changing(pool, request, names) as connection:
            if limits is not None:
                await put_limits(connection, holder_id, limits)
            elif policy is not None:
                await put_policy(connection, holder_id, policy)
            else:
                await set_frozen(connection, holder_id, now_us(), frozen=deed == "freeze")
        session.tell(_DONE[deed], time.monotonic())
        return f"/budgets#{holder_id}"

    return await done(request, f"{holder_id} {deed}", act, lambda problem: _show(request, pages, pool, problem))


BUDGETS: Final = (budgets_page, create_form, change_form)
