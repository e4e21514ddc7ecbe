"""`bursar budget`: show where the money of each budget is, build the tree, set limits, freeze, move."""

import secrets
from typing import Annotated, Any, Final, Literal, TypeAlias

from cyclopts import App, Parameter, validators

from bursar.budgets.budget import UNIT_WORDS, Budget, amount_text, limit_text
from bursar.budgets.terms import read_terms, read_usd
from bursar.budgets.tree import Exhausted, Holder, Holds, Tree
from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError, Refusal
from bursar.core.money import nano_to_usd
from bursar.gateway.headers import read_tags
from bursar.ledger.chart import Unit
from bursar.store.database import Connection
from bursar.store.holders import (
    TENANT,
    BudgetState,
    Place,
    Policies,
    budget_states,
    create_holder,
    find_in_tree,
    latest_instances,
    move_money,
    read_tree,
    set_budgets,
    set_frozen,
    set_policies,
)

Kind = Literal["organisation", "team", "person", "agent", "run", "feature", "model", "other"]

LIMIT_HELP: Final = (
    'USD, alone or per window, such as 5.00/day or "5.00/day rolling"; "600 requests/minute",'
    ' "100000 tokens/minute", "20 concurrent"; or "unlimited"'
)
Zone: TypeAlias = Annotated[str, Parameter(help="Time zone of the limits' calendar.")]
Soft: TypeAlias = Annotated[bool, Parameter(negative="", help="Refuse nothing beyond the limits; alerts tell.")]
Grace: TypeAlias = Annotated[str | None, Parameter(help="USD beyond the limits before calls are refused.")]
Overdraft: TypeAlias = Annotated[
    str | None, Parameter(help="USD for calls that cost more than was held by expectation.")
]
WhenExhausted: TypeAlias = Annotated[Exhausted | None, Parameter(help="What becomes of a call that does not fit.")]
HoldsBy: TypeAlias = Annotated[Holds | None, Parameter(help="How much of an answer is held before it is made.")]
Depth: TypeAlias = Annotated[
    int | None, Parameter(validator=validators.Number(gte=1), help="Calls below one another in a run.")
]
Repeats: TypeAlias = Annotated[
    int | None, Parameter(validator=validators.Number(gte=2), help="The same turn in a run, until it is stopped.")
]
Alerts: TypeAlias = Annotated[str | None, Parameter(help="Percentages of the limits to alert at, such as 50,80,100.")]

app = App(name="budget", help="Show budgets and the tree they form, and set them.")


@app.command
def show(
    name: Annotated[str | None, Parameter(help="Whose budgets: a name or id; all without.")] = None,
    /,
    *,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what each budget has spent, held and left in its current window, as a tree."""

    async def work() -> tuple[Tree, list[tuple[Holder, BudgetState]]]:
        async with open_books(data) as connection:
            if name is None:
                tree = await read_tree(connection, TENANT)
                shown = tree.in_order()
            else:
                tree, top = await find_in_tree(connection, name)
                shown = tree.below(top.holder_id)
            found = [(holder, budget) for holder in shown for budget in holder.budgets]
            if name is not None:
                found = [each for pair in found for each in (pair, *await _instances(connection, tree, *pair))]
            states = await budget_states(connection, [budget for _, budget in found], now_us())
            return tree, [(holder, state) for (holder, _), state in zip(found, states, strict=True)]

    tree, found = run(work())
    if json:
        print_json([state_json(holder, tree, state) for holder, state in found])
        return
    rows, before = [], None
    for holder, state in found:
        part = "/" in state.budget.budget_id
        indent, who = "  " * (len(tree.line(holder.holder_id)) - 1 + part), shown_name(holder)
        amounts = [state.spent_nano, state.held_nano]
        unit, left = state.budget.terms.unit, state.left_nano
        rows.append(
            [
                indent + state.budget.holder if part else indent + who if holder is not before else "",
                state.period,
                limit_text(state.budget.terms),
                *(amount_text(amount, unit) for amount in amounts),
                "unlimited" if left is None else amount_text(left, unit),
                amount_text(state.indeterminate_nano, unit) if state.indeterminate_nano else "",
            ]
        )
        before = holder
    print_table(["budget", "window", "limit USD", "spent", "held", "left", "undecided"], rows, right=(2, 3, 4, 5, 6))


@app.command
def create(
    name: Annotated[str, Parameter(help="A name, unique among budgets and keys.")],
    limits: Annotated[list[str] | None, Parameter(help=LIMIT_HELP + "; metered only without.")] = None,
    /,
    *,
    kind: Annotated[Kind, Parameter(help="What it is of.")] = "team",
    parent: Annotated[str | None, Parameter(help="Whose part it is: another budget, or a key.")] = None,
    tags: Annotated[
        str | None, Parameter(help="Only calls with these tags, such as feature=search.", name="--match")
    ] = None,
    model: Annotated[str | None, Parameter(help="Only calls of this model.")] = None,
    each: Annotated[str | None, Parameter(help='A budget for every "run", or for every value of a tag.')] = None,
    zone: Zone = "UTC",
    soft: Soft = False,
    grace: Grace = None,
    overdraft: Overdraft = None,
    when_exhausted: WhenExhausted = None,
    holds: HoldsBy = None,
    depth: Depth = None,
    repeats: Repeats = None,
    alerts: Alerts = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Create a budget for a team, a person, every run, a feature's tag: calls count against all they belong to."""
    match = _tags(tags) | ({"model": model} if model else {})
    terms = read_terms(limits or ["unlimited"], zone, soft=soft, grace=grace, overdraft=overdraft)
    policies = Policies(when_exhausted, holds, depth, repeats, percentages(alerts))
    place = Place(kind, parent, match, each or "", policies)

    async def work() -> Holder:
        async with open_books(data) as connection, connection.transaction():
            return await create_holder(connection, name, place, terms, now_us())

    _print_holder(run(work()), json=json)


@app.command(name="set")
def set_(
    name: Annotated[str, Parameter(help="Whose budgets: a name or id.")],
    limits: Annotated[list[str], Parameter(help=LIMIT_HELP + ".")],
    /,
    *,
    zone: Zone = "UTC",
    soft: Soft = False,
    grace: Grace = None,
    overdraft: Overdraft = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Set all limits of a key or budget in place of those it has. What was spent in their windows stays spent."""
    terms = read_terms(limits, zone, soft=soft, grace=grace, overdraft=overdraft)

    async def work() -> Holder:
        async with open_books(data) as connection:
            return await set_budgets(connection, name, terms, now_us())

    _print_holder(run(work()), json=json)


@app.command
def policy(
    name: Annotated[str, Parameter(help="Whose calls: a name or id.")],
    /,
    *,
    when_exhausted: WhenExhausted = None,
    holds: HoldsBy = None,
    depth: Depth = None,
    repeats: Repeats = None,
    alerts: Alerts = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Say how the calls of a key or budget, and of all below it, are treated. What is not named stays."""
    policies = Policies(when_exhausted, holds, depth, repeats, percentages(alerts))

    async def work() -> Holder:
        async with open_books(data) as connection:
            return await set_policies(connection, name, policies)

    _print_holder(run(work()), json=json)


@app.command
def freeze(name: Annotated[str, Parameter(help="A name or id.")], /, *, data: Data = None, json: Json = False) -> None:
    """Refuse all calls of a key or budget, and of all below it, until it is thawed. Gateways hear of it at once."""
    _set_frozen(name, data, frozen=True, json=json)


@app.command
def thaw(name: Annotated[str, Parameter(help="A name or id.")], /, *, data: Data = None, json: Json = False) -> None:
    """Let calls of a frozen key or budget be made again."""
    _set_frozen(name, data, frozen=False, json=json)


@app.command
def move(
    source: Annotated[str, Parameter(help="Who gives: a name or id.")],
    target: Annotated[str, Parameter(help="Who gets it: a name or id.")],
    amount: Annotated[str, Parameter(help="USD.")],
    /,
    *,
    data: Data = None,
    json: Json = False,
) -> None:
    """Move money from one budget's current window to another's. Their limits stay as they are."""
    amount_nano = read_usd(amount, "amount")

    async def work() -> None:
        async with open_books(data) as connection:
            await move_money(connection, (source, target), amount_nano, secrets.token_bytes(16), now_us())

    run(work())
    if json:
        print_json({"from": source, "to": target, "amount_usd": nano_to_usd(amount_nano)})
    else:
        print(f"{nano_to_usd(amount_nano)} USD moved from {source} to {target}")


def percentages(text: str | None) -> list[int] | None:
    """Read percentages such as 50,80,100. Raises `OperatorError`."""
    if text is None:
        return None
    parts = [part.strip().removesuffix("%") for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and 1 <= int(part) <= 1_000 for part in parts):
        raise OperatorError(f"--alerts: expected percentages from 1 to 1000, such as 50,80,100; got {text!r}")
    return sorted({int(part) for part in parts})


async def _instances(connection: Connection, tree: Tree, holder: Holder, budget: Budget) -> list[tuple[Holder, Budget]]:
    """Return the budgets of the latest runs or values a budget stands for; none for one of its own."""
    if not any(above.each for above in tree.line(holder.holder_id)):
        return []
    return [(holder, each) for each in await latest_instances(connection, budget, now_us(), _INSTANCES_MAX)]


_INSTANCES_MAX: Final = 20
"""Runs or values shown of a budget of each; `bursar runs show` has any of them."""


def shown_name(holder: Holder) -> str:
    """Write who a holder is, and of what part it is."""
    parts = [f"{name}={value}" for name, value in holder.match.items()]
    parts += [f"each {holder.each}"] if holder.each else []
    parts += ["frozen"] if holder.frozen else []
    return f"{holder.name} ({', '.join(parts)})" if parts else holder.name


def state_json(holder: Holder, tree: Tree, state: BudgetState) -> dict[str, Any]:
    """Write a budget's state: amounts as strings in its unit, money also as decimals of USD."""
    terms = state.budget.terms
    amounts = {
        "limit": terms.limit_nano,
        "spent": state.spent_nano,
        "held": state.held_nano,
        "left": state.left_nano,
        "overage": state.overage_nano,
        "undecided": state.indeterminate_nano,
    }
    parent = tree.holders.get(holder.parent_id or "")
    texts = {name: None if amount is None else amount_text(amount, terms.unit) for name, amount in amounts.items()}
    described = {
        "budget": holder.name,
        "of": state.budget.holder if "/" in state.budget.budget_id else None,
        "match": holder.match,
        "each": holder.each or None,
        "kind": holder.kind,
        "parent": parent.name if parent is not None else None,
        "unit": UNIT_WORDS[terms.unit],
        "window": state.period,
        "limit": limit_text(terms),
        "frozen": holder.frozen,
    }
    if terms.unit is Unit.usd:
        return described | {f"{name}_usd": text for name, text in texts.items()}
    return described | {f"{name}_count": text for name, text in texts.items()}


def _set_frozen(name: str, data: Data, *, frozen: bool, json: bool) -> None:
    async def work() -> Holder:
        async with open_books(data) as connection:
            return await set_frozen(connection, name, now_us(), frozen=frozen)

    holder = run(work())
    if json:
        print_json({"budget": holder.name, "frozen": holder.frozen})
    else:
        print(f"{holder.name} is {'frozen' if holder.frozen else 'thawed'}")


def _tags(text: str | None) -> dict[str, str]:
    try:
        return read_tags(text, "--match") if text else {}
    except Refusal as error:
        raise OperatorError(str(error)) from None


def _print_holder(holder: Holder, *, json: bool) -> None:
    limits = [limit_text(budget.terms) for budget in holder.budgets]
    if json:
        print_json({"budget": holder.name, "id": holder.holder_id, "kind": holder.kind, "limits": limits})
    else:
        print(f"{holder.name}: {', '.join(limits)}")
