"""`bursar runs`: agent runs, what they cost, and the tree of their calls."""

from typing import Annotated, Any

from cyclopts import App, Parameter, validators
from rich.tree import Tree

from bursar.cli.common import Data, Json, console, now_us, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.core.times import DAY_US
from bursar.store.runs import one_run, recent_runs

app = App(name="runs", help="Show agent runs.")


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
    tree = Tree(f"[bold]{name}[/bold]  {found['calls']:,} calls  {found['cost_usd']} USD")
    for node in found["tree"]:
        _grow(tree, node)
    for charge in found["charges"]:
        tree.add(_charge_text(charge))
    console().print(tree)
    for budget in found["budgets"]:
        print(f"{budget['budget']}: {budget['spent']} of {budget['limit']} spent, {budget['left'] or 'unlimited'} left")


def _grow(tree: Tree, node: dict[str, Any]) -> None:
    branch = tree.add(
        f"{node['at'][11:19]} {node['model']}  {node['status']}  {node['cost_usd']} USD  [dim]{node['id']}[/dim]"
    )
    for charge in node["charges"]:
        branch.add(_charge_text(charge))
    for child in node["children"]:
        _grow(branch, child)


def _charge_text(charge: dict[str, Any]) -> str:
    what = charge["description"] or charge["supplier"] or charge["id"]
    return f"{charge['kind']}: {what}  {charge['cost_usd']} USD"
