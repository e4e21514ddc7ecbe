"""`bursar runs`: agent runs, what they cost, and the tree of their calls."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from cyclopts import App, Parameter, validators

from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.core.times import DAY_US
from bursar.store.runs import one_run, recent_runs

app = App(name="runs", help="Show agent runs.")

_INDENTED_MAX: Final = 20
"""What lies deeper is not moved further to the right."""


@app.command(name="list")
def list_(
    *,
    days: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=3_660), help="Of so many days.")] = 7,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10_000), help="How many.")] = 20,
    data: Data = None,
    json: Json = False,
) -> None:
    """List the latest runs, newest first, with what they cost."""

    async def work() -> list[dict[str, Any]]:
        async with open_books(data) as connection:
            return await recent_runs(connection, now_us() - days * DAY_US, limit)

    found = run(work())
    if json:
        print_json(found)
        return
    rows = [
        [each["run"], each["key"], f"{each['calls']:,}", f"{each['charges']:,}", each["cost_usd"], each["last_at"][:19]]
        for each in found
    ]
    print_table(["run", "key", "calls", "charges", "USD", "last"], rows, right=(2, 3, 4))


@app.command
def show(
    name: Annotated[str, Parameter(help="The run, as in the x-bursar-run header.")],
    /,
    *,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show a run: the tree of its calls, what else was charged to it, and what it has left to spend."""

    async def work() -> dict[str, Any] | None:
        async with open_books(data) as connection:
            return await one_run(connection, name, now_us())

    found = run(work())
    if found is None:
        raise OperatorError(f"no run {name!r} in the books: see `bursar runs list`")
    if json:
        print_json(found)
        return
    print("\n".join(_lines(name, found)))


def _lines(name: str, found: dict[str, Any]) -> Iterator[str]:
    """Write a run down, one line a call, charge and budget."""
    yield f"{name}  {found['calls']:,} calls  {found['cost_usd']} USD"
    for node in found["tree"]:
        depth = node["depth"]
        indent = "  " * min(depth, _INDENTED_MAX) + (f"({depth}) " if depth > _INDENTED_MAX else "")
        yield f"{indent}{node['at'][11:19]} {node['model']}  {node['status']}  {node['cost_usd']} USD  {node['id']}"
        for charge in node["charges"]:
            yield "  " * min(depth + 1, _INDENTED_MAX) + _charge_text(charge)
    for charge in found["charges"]:
        yield "  " + _charge_text(charge)
    if not found["whole"]:
        yield "  ... and more"
    for budget in found["budgets"]:
        unit, left = budget["unit"], budget["left"] or "unlimited"
        yield f"{budget['budget']}: {budget['spent']} of {budget['limit']} spent, {left} {unit} left"


def _charge_text(charge: dict[str, Any]) -> str:
    what = charge["description"] or charge["supplier"] or charge["id"]
    quantity = f" ({charge['quantity']})" if charge["quantity"] else ""
    return f"{charge['kind']}: {what}{quantity}  {charge['cost_usd']} USD"
