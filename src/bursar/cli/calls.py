"""`bursar calls`: the latest calls, one call in full, or all as they come."""

import asyncio
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Final

from cyclopts import App, Parameter, validators
from rich.markup import escape

from bursar.cli.common import Data, Json, console, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.core.money import nano_to_usd
from bursar.savings.proof import percent_text
from bursar.store.reports import Sought, one_call, recent_calls

app = App(name="calls", help="Show calls.")

_COLUMNS: Final = ["time", "key", "model", "status", "in", "cached", "out", "ms", "USD"]
_RIGHT: Final = (4, 5, 6, 7, 8)
_LIMIT_MAX: Final = 100_000
FOLLOW_S: Final = 0.5
_COUNTED: Final = {
    "none": "nothing was used",
    "provider": "as the provider has counted",
    "counted": "by our own count ~",
    "held": "the whole hold, for nobody knows ~",
}


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
            calls = await recent_calls(connection, Sought(key=key, run=run_), limit=limit)
            if not follow:
                print_json(calls) if json else print_table(
                    _COLUMNS, [_row(call) for call in reversed(calls)], right=_RIGHT
                )
                return
            last = calls[0]["id"] if calls else None
            _print_followed(calls, json=json)
            while True:
                await asyncio.sleep(FOLLOW_S)
                calls = await recent_calls(connection, Sought(last, key=key, run=run_), limit=1_000)
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
    print("\n".join(f"{name:9} {text}" for name, text in _about(found) if text))
    for number, attempt in enumerate(found["attempts"], 1):
        print()
        _print_attempt(number, attempt)


def _about(call: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Describe a call line by line; what there is nothing to say about is empty."""
    yield "call", call["id"]
    yield "at", f"{call['at'][:23].replace('T', ' ')} UTC"
    yield "key", call["key"]
    yield "run", call["run"] or ""
    yield "parent", call["parent"] or ""
    yield "tags", ", ".join(f"{name}={value}" for name, value in call["tags"].items())
    yield "asked", f"{call['model']} by {call['protocol']}{', as a stream' if call['stream'] else ''}"
    yield "routed", _routed(call["route"])
    yield "answered", f"{call['served_by']}: {call['status']}, {call['http_status'] or 'no'} status"
    first = f", first byte after {call['ttft_ms']:,} ms" if call["ttft_ms"] is not None else ""
    yield "time", f"{call['duration_ms']:,} ms{first}"
    yield "prompt", _counts(call["prompt_bytes"], " bytes")
    yield "sent", f"compressed: {_counts(call['sent_bytes'], ' bytes')}" if call["sent_bytes"] else ""
    yield "levers", "; ".join(call["lever_notes"])
    yield "usage", _counts(call["usage"])
    yield "not known", _counts(call["unknown_usage"])
    yield "outcomes", ", ".join(f"{each['kind']} {each['value']:g}" for each in call["outcomes"])
    yield "cost", f"{call['cost_usd']} USD, {call['held_usd']} held"
    yield "overage", f"{call['overage_usd']} USD" if Decimal(call["overage_usd"]) else ""
    saved = Decimal(call["counterfactual_usd"]) - Decimal(call["cost_usd"])
    yield "saved", f"{saved} USD by {_arms(call['arms'])}" if saved else ""


def _arms(arms: list[dict[str, Any]]) -> str:
    """Say what each lever did, and in which experiment where one holds something out."""
    return ", ".join(
        f"{each['lever']} {each['arm']}"
        + (f" of {each['experiment']} at {percent_text(each['share_ppm'])}" if each["share_ppm"] else "")
        for each in arms
    )


def _routed(route: dict[str, Any] | None) -> str:
    """Say which model was chosen, by what and why."""
    if route is None:
        return ""
    quality, cost = route["expected_quality"], route["expected_cost_usd"]
    good = f", expected to be good enough in {quality:.0%} of such calls" if quality is not None else ""
    priced = f", for {cost} USD" if cost is not None else ""
    return f"to {route['model']} by {route['how']} of {route['policy']}{good}{priced}: {route['why']}"


def _counts(counts: dict[str, Any], unit: str = "") -> str:
    """Write what there is any of: `input tokens 12, output tokens 1,204`."""
    found = ((name, f"{count:,}" if isinstance(count, int) else count) for name, count in counts.items() if count)
    return ", ".join(f"{name.replace('_', ' ')} {text}{unit}" for name, text in found)


def _print_attempt(number: int, attempt: dict[str, Any]) -> None:
    """Print an attempt: each priced line with its rate, what they come to, and what the provider says it charged."""
    status = f"{attempt['status']}, {attempt['http_status'] or 'no'} status"
    why = f": {attempt['error']}" if attempt["error"] else ""
    rows = [
        [line["unit"].replace("_", " "), f"{line['quantity']:,}", _rate(line), line["amount_usd"]]
        for line in attempt["lines"]
    ]
    rows.append([f"total: {_COUNTED[attempt['usage_source']]}", "", "", attempt["cost_usd"]])
    if attempt["reported_cost_usd"] is not None:
        rows.append(["the provider says", "", "", attempt["reported_cost_usd"]])
    title = f"attempt {number}: {attempt['provider']}/{attempt['model']} {status}{why}"
    print_table(["unit", "quantity", "rate in USD", "USD"], rows, right=(1, 2, 3), title=escape(title))
    if attempt["price_source"]:
        checked = f", checked {attempt['price_checked']}" if attempt["price_checked"] else ""
        print(f"price from {attempt['price_source']}{checked}")


def _rate(line: dict[str, Any]) -> str:
    per = {1: "each", 1_000: "a thousand", 1_000_000: "a million"}.get(line["per"], f"for {line['per']:,}")
    return f"{nano_to_usd(int(line['rate_nano_usd']))} {per}"


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
