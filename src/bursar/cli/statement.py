"""`bursar statement`: what was spent, grouped, and proof that it is what the books say."""

from typing import Annotated, Any

from cyclopts import Parameter

from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.core.kinds import By
from bursar.core.money import nano_to_usd
from bursar.core.times import DAY_US, day_text, moment_from_text, to_datetime
from bursar.store.reports import StatementLine, Totals, totals
from bursar.store.reports import statement as read_statement


def statement(
    *,
    by: Annotated[By, Parameter(help="Group by this.")] = By.model,
    from_: Annotated[
        str | None, Parameter(name="--from", help="First day or moment; the month's first without.")
    ] = None,
    to: Annotated[str | None, Parameter(help="Last day (included) or moment; now without.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Print what was spent, on calls and on charged work that is none. Input includes cached tokens."""
    from_us, until_us = _span(from_, to)

    async def work() -> tuple[list[StatementLine], Totals]:
        async with open_books(data) as connection:
            lines = await read_statement(connection, by, from_us, until_us)
            return lines, await totals(connection, from_us, until_us)

    lines, total = run(work())
    if json:
        print_json(
            {
                "from": to_datetime(from_us).isoformat(),
                "until": to_datetime(until_us).isoformat(),
                "by": str(by),
                "lines": [_line_json(line) for line in lines],
                "calls": total.calls,
                "charges": total.charges,
                "charges_usd": nano_to_usd(total.charges_nano),
                "total_usd": nano_to_usd(total.cost_nano),
            }
        )
        return
    print_statement(by, lines, total, f"{day_text(from_us)} to {day_text(until_us - 1)}")


def print_statement(by: By, lines: list[StatementLine], total: Totals, span: str) -> None:
    """Print a statement as a table; what was charged beside calls is counted where there is any.

    So is what providers say calls cost, beside what was booked for the same calls.
    """
    into = total.input_tokens + total.cache_read_tokens + total.cache_write_tokens
    out = total.output_tokens + total.reasoning_tokens
    counts = (total.calls, total.cost_nano, into, total.cache_read_tokens, out, total.estimated)
    whole = StatementLine("total", *counts, charges=total.charges)
    columns = [str(by), "calls", "input", "cached", "output", "USD", "estimated"]
    rows = [_row(line) for line in [*lines, whole]]
    if any(line.reported for line in lines):
        columns += ["reported", "USD of these"]
        for row, line in zip(rows, [*lines, None], strict=True):
            row += _reported(line)
    if total.charges:
        columns.insert(2, "charges")
        for row, line in zip(rows, [*lines, whole], strict=True):
            row.insert(2, f"{line.charges:,}")
    print_table(columns, rows, right=tuple(range(1, len(columns))), title=f"Statement, {span}")


def _row(line: StatementLine) -> list[str]:
    counts = [f"{count:,}" for count in (line.calls, line.input_tokens, line.cache_read_tokens, line.output_tokens)]
    return [line.name, *counts, nano_to_usd(line.cost_nano, 9), f"{line.estimated:,}" if line.estimated else ""]


def _reported(line: StatementLine | None) -> list[str]:
    """Write what providers say calls cost, and what was booked for the same; nothing where they do not say."""
    if line is None or not line.reported:
        return ["", ""]
    return [nano_to_usd(line.reported_nano, 9), nano_to_usd(line.of_reported_nano, 9)]


def _line_json(line: StatementLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "calls": line.calls,
        "charges": line.charges,
        "cost_usd": nano_to_usd(line.cost_nano),
        "input_tokens": line.input_tokens,
        "cache_read_tokens": line.cache_read_tokens,
        "output_tokens": line.output_tokens,
        "estimated_calls": line.estimated,
        "reported_calls": line.reported,
        "reported_usd": nano_to_usd(line.reported_nano),
        "of_reported_usd": nano_to_usd(line.of_reported_nano),
    }


def _span(from_: str | None, to: str | None) -> tuple[int, int]:
    now = now_us()
    try:
        from_us = moment_from_text(from_) if from_ else moment_from_text(f"{day_text(now)[:7]}-01")
        until_us = now if to is None else moment_from_text(to) + (DAY_US if len(to) == 10 else 0)
    except ValueError as error:
        raise OperatorError(str(error)) from None
    if until_us <= from_us:
        until = to_datetime(until_us).isoformat(timespec="seconds")
        raise OperatorError(f"--from: expected a moment before {until}, where the statement ends")
    return from_us, until_us
