"""`bursar budget`: show where the money of each budget is, and set limits."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from bursar.budgets.budget import Budget, Window, limit_text, read_limit
from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.core.money import nano_to_usd
from bursar.store.keys import BudgetState, Key, all_keys, budget_states, set_budget

app = App(name="budget", help="Show budgets, and set them.")


@app.command
def show(
    name: Annotated[str | None, Parameter(help="A key's name or id; all without.")] = None,
    /,
    *,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what each key's budget has spent, held and left in its current window."""

    async def work() -> list[tuple[Key, BudgetState]]:
        async with open_books(data) as connection:
            keys = [key for key in await all_keys(connection) if name in (None, key.name, key.key_id)]
            states = await budget_states(connection, [key.budget for key in keys], now_us())
            return list(zip(keys, states, strict=True))

    found = run(work())
    if name is not None and not found:
        raise OperatorError(f"no key named {name!r}: see `bursar keys list`")
    if json:
        print_json([{"key": key.name} | state_json(state) for key, state in found])
        return
    rows = [
        [
            key.name,
            state.period,
            limit_text(state.limit_nano, state.window),
            nano_to_usd(state.spent_nano),
            nano_to_usd(state.held_nano),
            "unlimited" if state.left_nano is None else nano_to_usd(state.left_nano),
            nano_to_usd(state.indeterminate_nano) if state.indeterminate_nano else "",
        ]
        for key, state in found
    ]
    columns = ["key", "window", "limit USD", "spent", "held", "left", "undecided"]
    print_table(columns, rows, right=(2, 3, 4, 5, 6))


@app.command(name="set")
def set_(
    name: Annotated[str, Parameter(help="The key's name or id.")],
    limit: Annotated[str, Parameter(help='USD, alone or per window, such as 5.00/day; or "unlimited".')],
    /,
    *,
    data: Data = None,
    json: Json = False,
) -> None:
    """Set the budget of a key. What was spent in the current window stays spent."""
    try:
        wanted = (None, Window.total) if limit == "unlimited" else read_limit(limit)
    except ValueError as error:
        raise OperatorError(str(error)) from None

    async def work() -> Budget:
        async with open_books(data) as connection:
            return await set_budget(connection, name, wanted, now_us())

    budget = run(work())
    text = limit_text(budget.limit_nano, budget.window)
    if json:
        print_json({"key": name, "budget": text})
    else:
        print(f"{name}: {text}")


def state_json(state: BudgetState) -> dict[str, Any]:
    """Write a budget's state with money as decimal strings of USD."""
    return {
        "window": state.period,
        "limit": limit_text(state.limit_nano, state.window),
        "limit_usd": None if state.limit_nano is None else nano_to_usd(state.limit_nano),
        "spent_usd": nano_to_usd(state.spent_nano),
        "held_usd": nano_to_usd(state.held_nano),
        "left_usd": None if state.left_nano is None else nano_to_usd(state.left_nano),
        "overage_usd": nano_to_usd(state.overage_nano),
        "undecided_usd": nano_to_usd(state.indeterminate_nano),
    }
