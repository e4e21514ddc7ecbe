"""Read the tables that the providers' pages export, and a plain one of our own.

OpenAI's usage page exports what its interface answers, one result a row (`amount_value`, `num_model_requests` and
so on, and empty rows for days without use); Anthropic's console exports tokens (`usage_input_tokens_no_cache` and so
on) and costs (`token_type`, `cost_usd`). Both are known from exports of 2025 and 2026, not from a description of the
providers' own (looked for 2026-11-22), so columns that are not needed are passed over. The plain table is strict:

    date,model,requests,input_tokens,cached_input_tokens,output_tokens,cost_usd

of which `cost_usd` and one of `date` and `model` must be there.
"""

import csv
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from bursar.core.errors import OperatorError
from bursar.core.times import to_datetime
from bursar.ledger.invoice_json import line_item
from bursar.ledger.invoices import (
    NO_COUNTS,
    Counts,
    InvoiceFormat,
    InvoiceLine,
    LineKind,
    Sheet,
    amount_to_nano,
    kind_of,
)
from bursar.prices.near import near_names

PLAIN_COLUMNS: Final = (
    "date",
    "model",
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_usd",
)
_COUNT: Final = re.compile(r"\d{1,18}(\.0+)?", re.ASCII)
_AMOUNT: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,5})?", re.ASCII)
_SUMS: Final = ("total", "sum", "subtotal", "grand total")

Row = Mapping[str, str]

# The columns by which a table is told, and must have.
_MARKS: Final = (
    (InvoiceFormat.openai_costs_csv, ("start_time", "amount_value")),
    (InvoiceFormat.openai_usage_csv, ("start_time", "num_model_requests", "input_tokens", "output_tokens")),
    (InvoiceFormat.anthropic_cost_csv, ("usage_date_utc", "cost_usd")),
    (InvoiceFormat.anthropic_usage_csv, ("usage_date_utc", "usage_input_tokens_no_cache", "usage_output_tokens")),
    (InvoiceFormat.csv, ("cost_usd",)),
)


def read_csv(name: str, text: str, wanted: InvoiceFormat | None) -> Sheet:
    """Read a table. Raises `OperatorError` naming the line, the column and what was expected."""
    rows = _rows(name, text)
    columns = [column.strip().lower() for column in rows[0][1]]
    if len(set(columns)) < len(columns):
        raise OperatorError(f"{name}: line 1: a column comes twice: {', '.join(columns)}")
    format_ = _format_of(name, columns, wanted)
    lines: list[InvoiceLine] = []
    days: list[date] = []
    for number, cells in rows[1:]:
        where = f"{name}: line {number}"
        if len(cells) != len(columns):
            raise OperatorError(f"{where}: expected {len(columns)} cells as in the header, got {len(cells)}")
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        line = _READERS[format_](row, where)
        if line is not None:
            lines.append(line)
        elif (day := _start_day(row, where)) is not None:
            days.append(day)
    days += [line.day for line in lines if line.day is not None]
    return Sheet(format_, tuple(lines), tuple(days))


def _rows(name: str, text: str) -> list[tuple[int, list[str]]]:
    """Split a table into its rows with the number of the line each ends in; without empty ones."""
    head = text.lstrip().partition("\n")[0]
    delimiter = "\t" if "\t" in head else ","
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    except csv.Error as error:
        raise OperatorError(f"{name}: line {reader.line_num}: {error}") from None
    if not rows:
        raise OperatorError(f"{name}: expected a table with a header, got an empty file")
    return rows


def _format_of(name: str, columns: list[str], wanted: InvoiceFormat | None) -> InvoiceFormat:
    """Tell a table's format by its columns, and check that they are there."""
    for format_, needed in _MARKS:
        if wanted in (format_, None) and not set(needed) - set(columns):
            if format_ is InvoiceFormat.csv:
                _check_plain(name, columns)
            return format_
    needed = dict(_MARKS).get(wanted or InvoiceFormat.csv)
    if needed is None:
        raise OperatorError(f"{name}: expected {wanted}, got a table")
    missing = [column for column in needed if column not in columns]
    near = near_names(missing[0], columns)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise OperatorError(f"{name}: line 1: expected a column {missing[0]}, got {', '.join(columns)[:200]}{hint}")


def _check_plain(name: str, columns: list[str]) -> None:
    for column in columns:
        if column not in PLAIN_COLUMNS:
            near = near_names(column, PLAIN_COLUMNS)
            hint = f"; near: {', '.join(near)}" if near else f"; known: {', '.join(PLAIN_COLUMNS)}"
            raise OperatorError(f"{name}: line 1: unknown column {column!r}{hint}")
    if not {"date", "model"} & set(columns):
        raise OperatorError(f"{name}: line 1: expected a column date or model beside cost_usd")


def _plain(row: Row, where: str) -> InvoiceLine:
    cost, amount = _cost(row, "cost_usd", where)
    model = row.get("model", "")
    if model.lower() in _SUMS:
        raise OperatorError(f"{where}: model: expected a model, got {model!r}: a line of sums would count twice")
    kind = kind_of(model, cost)
    columns = ("requests", "input_tokens", "cached_input_tokens", "", "output_tokens")
    counts = Counts(*(_count(row, column, where) for column in columns)) if kind is LineKind.usage else NO_COUNTS
    cached = counts.cached_tokens
    if cached is not None and counts.input_tokens is not None and cached > counts.input_tokens:
        raise OperatorError(f"{where}: cached_input_tokens: expected a part of input_tokens, got {cached}")
    return InvoiceLine(where, _date(row, "date", where), model, kind, counts, cost, amount)


def _openai_cost(row: Row, where: str) -> InvoiceLine | None:
    if not row["amount_value"]:
        return None
    cost, amount = _cost(row, "amount_value", where)
    currency = row.get("amount_currency", "usd")
    if currency.lower() != "usd":
        raise OperatorError(f"{where}: amount_currency: expected usd, got {currency!r}")
    quantity = row.get("quantity", "")
    count = Decimal(quantity) if _AMOUNT.fullmatch(quantity) else None
    model, kind, counts = line_item(row.get("line_item", ""), cost, count)
    return InvoiceLine(where, _start_day(row, where), model, kind, counts, cost, amount, counts)


def _openai_usage(row: Row, where: str) -> InvoiceLine | None:
    if not row["num_model_requests"]:
        return None
    columns = ("num_model_requests", "input_tokens", "input_cached_tokens", "", "output_tokens")
    counts = Counts(*(_count(row, column, where) for column in columns))
    return InvoiceLine(where, _start_day(row, where), row.get("model", ""), LineKind.usage, counts)


def _anthropic_cost(row: Row, where: str) -> InvoiceLine:
    cost, amount = _cost(row, "cost_usd", where)
    model, what = row.get("model", ""), row.get("token_type", "")
    type_ = row.get("cost_type", "token") or "token"
    kind = kind_of("" if model else what, cost, LineKind.usage if type_ in ("token", "tokens") else LineKind.other)
    name = model if kind is LineKind.usage else what or type_
    return InvoiceLine(where, _date(row, "usage_date_utc", where), name, kind, NO_COUNTS, cost, amount)


def _anthropic_usage(row: Row, where: str) -> InvoiceLine:
    fresh, read, short, long, output = (
        _count(row, f"usage_{column}", where) or 0
        for column in (
            "input_tokens_no_cache",
            "input_tokens_cache_read",
            "input_tokens_cache_write_5m",
            "input_tokens_cache_write_1h",
            "output_tokens",
        )
    )
    counts = Counts(None, fresh + read + short + long, read, short + long, output)
    model = row.get("model_version", "")
    return InvoiceLine(where, _date(row, "usage_date_utc", where), model, LineKind.usage, counts)


def _cost(row: Row, column: str, where: str) -> tuple[int, str]:
    """Read an amount of USD: nano-USD, and the text it was."""
    text = row[column]
    if not _AMOUNT.fullmatch(text):
        raise OperatorError(f"{where}: {column}: expected USD as a decimal such as 0.25, got {text[:40]!r}")
    try:
        return amount_to_nano(Decimal(text), f"{where}: {column}"), text
    except InvalidOperation:
        raise OperatorError(f"{where}: {column}: expected USD as a decimal such as 0.25, got {text[:40]!r}") from None


def _count(row: Row, column: str, where: str) -> int | None:
    """Read a count, which exports may write as `10.0`; None when the cell is empty or there is no such column."""
    text = row.get(column, "")
    if not text:
        return None
    if not _COUNT.fullmatch(text):
        raise OperatorError(f"{where}: {column}: expected a count such as 1200, got {text[:40]!r}")
    return int(text.partition(".")[0])


def _date(row: Row, column: str, where: str) -> date | None:
    """Read a day, of which a time behind it is passed over; None when the cell is empty or there is no such column."""
    text = row.get(column, "")
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise OperatorError(f"{where}: {column}: expected a date such as 2026-11-21, got {text[:40]!r}") from None


def _start_day(row: Row, where: str) -> date | None:
    """Read the day of OpenAI's `start_time`, in Unix seconds."""
    start = _count(row, "start_time", where)
    if start is None:
        return None
    try:
        return to_datetime(start * 1_000_000).date()
    except OverflowError:
        raise OperatorError(f"{where}: start_time: expected Unix seconds, got {start}") from None


_READERS: Final[dict[InvoiceFormat, Callable[[Row, str], InvoiceLine | None]]] = {
    InvoiceFormat.csv: _plain,
    InvoiceFormat.openai_costs_csv: _openai_cost,
    InvoiceFormat.openai_usage_csv: _openai_usage,
    InvoiceFormat.anthropic_cost_csv: _anthropic_cost,
    InvoiceFormat.anthropic_usage_csv: _anthropic_usage,
}
