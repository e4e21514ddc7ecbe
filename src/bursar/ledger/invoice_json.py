"""Read the pages that the providers' administration interfaces answer with.

OpenAI's costs and completions usage are described at https://developers.openai.com/api/docs/api-reference/usage,
Anthropic's cost and usage reports at https://platform.claude.com/docs/en/api/admin/cost_report/retrieve and
https://platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages (all checked 2026-11-22). Only fields
that are needed are named here; others are passed over, since providers add to them.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from bursar.core.errors import OperatorError
from bursar.core.times import to_datetime
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

_DAY: Final = timedelta(days=1)
_YEARS: Final = range(1970, 9999)
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**18)]


class _Probe(msgspec.Struct):
    data: list[dict[str, Any]]


class _OpenAiAmount(msgspec.Struct):
    value: Decimal
    currency: str = "usd"


class _OpenAiCost(msgspec.Struct):
    amount: _OpenAiAmount | None = None
    line_item: str | None = None
    quantity: Decimal | None = None  # of the line item: tokens, where it is a model's


class _OpenAiUsage(msgspec.Struct):
    input_tokens: _Count  # of text, cached ones included
    output_tokens: _Count
    num_model_requests: _Count
    input_cached_tokens: _Count | None = None
    model: str | None = None


class _OpenAiCosts(msgspec.Struct):
    start_time: int
    end_time: int
    results: list[_OpenAiCost]


class _OpenAiUsages(msgspec.Struct):
    start_time: int
    end_time: int
    results: list[_OpenAiUsage]


class _OpenAiCostsPage(msgspec.Struct):
    data: list[_OpenAiCosts]
    has_more: bool = False


class _OpenAiUsagePage(msgspec.Struct):
    data: list[_OpenAiUsages]
    has_more: bool = False


class _AnthropicCost(msgspec.Struct):
    amount: Decimal  # in cents
    currency: str = "USD"
    cost_type: str | None = None
    description: str | None = None
    model: str | None = None


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class _AnthropicUsage(msgspec.Struct):
    uncached_input_tokens: _Count
    output_tokens: _Count
    cache_read_input_tokens: _Count = 0
    cache_creation: _CacheCreation | None = None
    model: str | None = None


class _AnthropicCosts(msgspec.Struct):
    starting_at: datetime
    ending_at: datetime
    results: list[_AnthropicCost]


class _AnthropicUsages(msgspec.Struct):
    starting_at: datetime
    ending_at: datetime
    results: list[_AnthropicUsage]


class _AnthropicCostPage(msgspec.Struct):
    data: list[_AnthropicCosts]
    has_more: bool = False


class _AnthropicUsagePage(msgspec.Struct):
    data: list[_AnthropicUsages]
    has_more: bool = False


_PAGES: Final[dict[InvoiceFormat, Any]] = {
    InvoiceFormat.openai_costs: _OpenAiCostsPage,
    InvoiceFormat.openai_usage: _OpenAiUsagePage,
    InvoiceFormat.anthropic_cost: _AnthropicCostPage,
    InvoiceFormat.anthropic_usage: _AnthropicUsagePage,
}

# What the results of one interface have and those of no other.
_MARKS: Final = (
    ("start_time", "num_model_requests", InvoiceFormat.openai_usage),
    ("start_time", "amount", InvoiceFormat.openai_costs),
    ("starting_at", "uncached_input_tokens", InvoiceFormat.anthropic_usage),
    ("starting_at", "amount", InvoiceFormat.anthropic_cost),
)


def read_json(name: str, text: str, wanted: InvoiceFormat | None) -> list[Sheet]:
    """Read a page, or a JSON array of pages. Raises `OperatorError` naming the field and what was expected."""
    if text.lstrip()[:1] != "[":
        return [_page(name, text, wanted)]
    pages = _decoded(name, text, list[msgspec.Raw])
    return [_page(f"{name}[{number}]", bytes(page).decode(), wanted) for number, page in enumerate(pages)]


def _page(name: str, text: str, wanted: InvoiceFormat | None) -> Sheet:
    format_ = wanted or _format_of(name, _decoded(name, text, _Probe))
    if format_ not in _PAGES:
        raise OperatorError(f"{name}: expected {format_}, got JSON")
    page = _decoded(name, text, _PAGES[format_])
    lines: list[InvoiceLine] = []
    days: list[date] = []
    buckets: list[str] = []
    for number, bucket in enumerate(page.data):
        where = f"{name}: data[{number}]"
        day = _day(bucket, where)
        days.append(day)
        buckets.append(f"{format_} from {_moments(bucket, where)[0].isoformat()}")
        for index, result in enumerate(bucket.results):
            line = _READERS[format_](result, day, f"{where}.results[{index}]")
            if line is not None:
                lines.append(line)
    return Sheet(format_, tuple(lines), tuple(days), tuple(buckets), page.has_more)


def _format_of(name: str, page: _Probe) -> InvoiceFormat:
    """Tell a page's format by its first result."""
    found = next(((bucket, result) for bucket in page.data for result in bucket.get("results") or ()), None)
    if found is None:
        raise OperatorError(f"{name}: nothing was used on any day of it: say which report it is by --format")
    bucket, result = found
    marks = [(mark, format_) for time, mark, format_ in _MARKS if time in bucket]
    for mark, format_ in marks:
        if mark in result:
            return format_
    expected = " or ".join(mark for mark, _ in marks) or "buckets with start_time or starting_at"
    raise OperatorError(f"{name}: expected results with {expected}; got {', '.join(result)[:80]}")


def _decoded(name: str, text: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:  # also what has another shape; the message names the field
        raise OperatorError(f"{name}: {error}") from None


def _moments(bucket: Any, where: str) -> tuple[datetime, datetime]:
    """Return the first moment of a bucket and the one after its last, in UTC."""
    try:
        if isinstance(bucket, (_OpenAiCosts, _OpenAiUsages)):
            start, end = to_datetime(bucket.start_time * 1_000_000), to_datetime(bucket.end_time * 1_000_000)
        else:
            start, end = _utc(bucket.starting_at), _utc(bucket.ending_at)
    except OverflowError:
        raise OperatorError(f"{where}: expected a moment from 1970 to 9998") from None
    if start.year not in _YEARS or end.year not in _YEARS:
        raise OperatorError(f"{where}: expected a moment from 1970 to 9998, got {start.isoformat()}")
    return start, end


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _day(bucket: Any, where: str) -> date:
    """Return the UTC day of a bucket, which spans a day or a part of one."""
    start, end = _moments(bucket, where)
    if not start < end <= start + _DAY or (end - timedelta(microseconds=1)).date() != start.date():
        raise OperatorError(
            f"{where}: expected a UTC day or a part of one, got {start.isoformat()} to {end.isoformat()}"
        )
    return start.date()


def _dollars(currency: str, where: str) -> None:
    if currency.lower() != "usd":
        raise OperatorError(f"{where}.currency: expected usd, got {currency!r}")


def _openai_cost(result: _OpenAiCost, day: date, where: str) -> InvoiceLine | None:
    amount = result.amount
    if amount is None:
        return None
    _dollars(amount.currency, f"{where}.amount")
    cost = amount_to_nano(amount.value, f"{where}.amount.value")
    model, kind, counts = line_item(result.line_item or "", cost, result.quantity)
    return InvoiceLine(where, day, model, kind, counts, cost, str(amount.value), counts)


def line_item(text: str, cost_nano: int, quantity: Decimal | None) -> tuple[str, LineKind, Counts]:
    """Read a line item of OpenAI's costs, such as `priority | gpt-4o-mini-2024-07-18, cached input`.

    Returns the model, what the line is for, and its tokens. Items that are no model's, such as `web search tool
    calls`, keep their whole text as name. The quantity of `input` is that of fresh tokens alone.
    """
    model, _, what = text.rpartition(" | ")[2].partition(", ")
    kind = kind_of(text, cost_nano, LineKind.other if " " in model.strip() else LineKind.usage)
    if kind is not LineKind.usage:
        return text.strip(), kind, NO_COUNTS
    if quantity is None or not quantity.is_finite() or quantity != quantity.to_integral_value():
        return model, kind, NO_COUNTS
    count = int(quantity)
    match what.split(", ")[0]:
        case "input":
            return model, kind, Counts(input_tokens=count)
        case "cached input":
            return model, kind, Counts(input_tokens=count, cached_tokens=count)
        case "output":
            return model, kind, Counts(output_tokens=count)
        case _:
            return model, kind, NO_COUNTS


def _openai_usage(result: _OpenAiUsage, day: date, where: str) -> InvoiceLine:
    counts = Counts(
        result.num_model_requests, result.input_tokens, result.input_cached_tokens, None, result.output_tokens
    )
    return InvoiceLine(where, day, result.model or "", LineKind.usage, counts)


def _anthropic_cost(result: _AnthropicCost, day: date, where: str) -> InvoiceLine:
    _dollars(result.currency, where)
    cost = amount_to_nano(result.amount, f"{where}.amount", unit_decimals=2)
    text = result.description or result.cost_type or ""
    usual = LineKind.usage if result.cost_type in (None, "tokens") else LineKind.other
    kind = kind_of("" if result.model else text, cost, usual)
    model = (result.model or "") if kind is LineKind.usage else text
    return InvoiceLine(where, day, model, kind, NO_COUNTS, cost, str(result.amount.scaleb(-2)))


def _anthropic_usage(result: _AnthropicUsage, day: date, where: str) -> InvoiceLine:
    made = result.cache_creation or _CacheCreation()
    written = made.ephemeral_5m_input_tokens + made.ephemeral_1h_input_tokens
    read = result.cache_read_input_tokens
    counts = Counts(None, result.uncached_input_tokens + read + written, read, written, result.output_tokens)
    return InvoiceLine(where, day, result.model or "", LineKind.usage, counts)


_READERS: Final[dict[InvoiceFormat, Callable[[Any, date, str], InvoiceLine | None]]] = {
    InvoiceFormat.openai_costs: _openai_cost,
    InvoiceFormat.openai_usage: _openai_usage,
    InvoiceFormat.anthropic_cost: _anthropic_cost,
    InvoiceFormat.anthropic_usage: _anthropic_usage,
}
