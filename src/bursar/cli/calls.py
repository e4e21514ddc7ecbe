"""`bursar calls`: the latest calls, one call in full, or all as they come."""

import asyncio
import sys
from typing import Annotated, Any, Final

from cyclopts import App, Parameter, validators

from bursar.cli.common import Data, Json, console, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.store.reports import one_call, recent_calls

app = App(name="calls", help="Show calls.")

_COLUMNS: Final = ["time", "key", "model", "status", "in", "cached", "out", "ms", "USD"]
_RIGHT: Final = (4, 5, 6, 7, 8)
_LIMIT_MAX: Final = 100_000
FOLLOW_S: Final = 0.5


@app.default
def list_(
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative="", help="Go on as calls come in.")] = False,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=_LIMIT_MAX), help="How many.")] = 20,
    key: Annotated[str | None, Parameter(help="Of this key only.")] = None,
    run_: Annotated[str | None, Parameter(name="--run", help="Of this agent run only.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show the latest calls."""

    async def work() -> None:
        async with open_books(data) as connection:
            calls = await recent_calls(connection, key=key, run=run_, limit=limit)
            if not follow:
                print_json(calls) if json else print_table(
                    _COLUMNS, [_row(call) for call in reversed(calls)], right=_RIGHT
                )
                return
            last = calls[0]["id"] if calls else None
            _print_followed(calls, json=json)
            while True:
                await asyncio.sleep(FOLLOW_S)
                calls = await recent_calls(connection, after=last, key=key, run=run_, limit=1_000)
                _print_followed(calls, json=json)
                last = calls[0]["id"] if calls else last

    run(work())


@app.command
def show(
    call: Annotated[str, Parameter(help="The call's id, as in the x-bursar-call-id header.")],
    /,
    *,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show one call: its usage, attempts and priced lines."""

    async def work() -> dict[str, Any] | None:
        async with open_books(data) as connection:
            return await one_call(connection, call)

    try:
        found = run(work())
    except ValueError as error:
        raise OperatorError(str(error)) from None
    if found is None:
        raise OperatorError(f"no call {call} in the books")
    if json:
        print_json(found)
        return
    for name, value in found.items():
        if name not in ("attempts", "usage") and value not in (None, {}, ""):
            print(f"{name:14} {value}")
    for number, attempt in enumerate(found["attempts"], 1):
        title = (
            f"attempt {number}: {attempt['provider']}/{attempt['model']} {attempt['status']} {attempt['error'] or ''}"
        )
        rows = [[line["unit"], f"{line['quantity']:,}", line["amount_usd"]] for line in attempt["lines"]]
        rows.append([f"total, usage by {attempt['usage_source']}", "", attempt["cost_usd"]])
        print()
        print_table(["unit", "quantity", "USD"], rows, right=(1, 2), title=title)


def _row(call: dict[str, Any]) -> list[str]:
    usage = call["usage"]
    into = sum(count for name, count in usage.items() if name.startswith(("input", "cache")))
    out = usage["output_tokens"] + usage["reasoning_tokens"]
    cost = call["cost_usd"] + ("" if call["usage_source"] in ("provider", "none") else " ~")
    time = call["at"][11:19]
    numbers = [f"{into:,}", f"{usage['cache_read_tokens']:,}", f"{out:,}", f"{call['duration_ms']:,.0f}", cost]
    return [time, call["key"], call["model"], call["status"], *numbers]


def _print_followed(calls: list[dict[str, Any]], *, json: bool) -> None:
    out = console()
    for call in reversed(calls):
        if json:
            print_json(call)
        else:
            time, key, model, status, into, cached, made, took, cost = _row(call)
            out.print(f"{time}  {key:16} {model:22} {status:8} {into:>8} {cached:>8} {made:>7} {took:>7}  {cost}")
    sys.stdout.flush()  # whoever reads a pipe waits for them
