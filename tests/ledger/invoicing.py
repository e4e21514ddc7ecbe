"""Write invoices as providers do, and say what the books have, for tests."""

import json
from datetime import date
from typing import Any

from bursar.ledger.invoice_files import ALL_DAYS, InvoiceFile, Span, read_invoice
from bursar.ledger.invoices import Counts, Invoice, InvoiceFormat
from bursar.ledger.reconcile import Booked

DAY = date(2026, 11, 20)
NEXT = date(2026, 11, 21)
START_S = 1_795_132_800  # of DAY
USD = 1_000_000_000
HEADER = "date,model,requests,input_tokens,cached_input_tokens,output_tokens,cost_usd"


def read(*texts: str | bytes, format_: InvoiceFormat | None = None, span: Span = ALL_DAYS) -> Invoice:
    """Read an invoice of openai from the texts of its files."""
    data = [text.encode() if isinstance(text, str) else text for text in texts]
    files = [InvoiceFile(f"file{number}", each) for number, each in enumerate(data)]
    return read_invoice("openai", files, format_, span)


def plain(*rows: str) -> str:
    """Write a plain table."""
    return "\n".join([HEADER, *rows]) + "\n"


def openai_page(*buckets: list[dict[str, Any]], has_more: bool = False) -> str:
    """Write a page of OpenAI's: the results of one day after the other."""
    data = [
        {
            "object": "bucket",
            "start_time": START_S + number * 86_400,
            "end_time": START_S + (number + 1) * 86_400,
            "results": results,
        }
        for number, results in enumerate(buckets)
    ]
    return json.dumps({"object": "page", "data": data, "has_more": has_more, "next_page": None})


def openai_cost(line_item: str | None, value: Any, **fields: Any) -> dict[str, Any]:
    """Write a result of OpenAI's costs."""
    amount = {"value": value, "currency": "usd"}
    return {"object": "organization.costs.result", "amount": amount, "line_item": line_item} | fields


def openai_usage(model: str, requests: int, counts: tuple[int, int, int]) -> dict[str, Any]:
    """Write a result of OpenAI's usage; the counts are input, cached, output."""
    return {
        "object": "organization.usage.completions.result",
        "model": model,
        "num_model_requests": requests,
        "input_tokens": counts[0],
        "input_cached_tokens": counts[1],
        "output_tokens": counts[2],
        "batch": None,
    }


def anthropic_page(*buckets: list[dict[str, Any]], has_more: bool = False) -> str:
    """Write a page of Anthropic's: the results of one day after the other."""
    days = [f"2026-11-{20 + number}T00:00:00Z" for number in range(len(buckets) + 1)]
    data = [
        {"starting_at": start, "ending_at": end, "results": results}
        for start, end, results in zip(days, days[1:], buckets, strict=False)
    ]
    return json.dumps({"data": data, "has_more": has_more, "next_page": None})


def anthropic_cost(model: str | None, cents: str, **fields: Any) -> dict[str, Any]:
    """Write a result of Anthropic's cost report."""
    usual = {"currency": "USD", "cost_type": "tokens", "description": f"{model} Usage", "workspace_id": None}
    return {"amount": cents, "model": model} | usual | fields


def booked(
    cost_nano: int, counts: tuple[int, int, int, int] = (1, 100, 0, 10), day: date = DAY, model: str = "m", **more: Any
) -> Booked:
    """Say what the books have; the counts are requests, input, cached, output."""
    requests, input_, cached, output = counts
    return Booked(day, model, Counts(requests, input_, cached, 0, output), cost_nano, **more)
