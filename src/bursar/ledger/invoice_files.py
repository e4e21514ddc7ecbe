"""Put together what a provider bills from the files it came in: pages, costs and usage of the same days."""

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from bursar.core.errors import OperatorError
from bursar.ledger.invoice_csv import read_csv
from bursar.ledger.invoice_json import read_json
from bursar.ledger.invoices import NO_COUNTS, Invoice, InvoiceFormat, InvoiceLine, LineKind, Sheet, decimals_of

_DAY: Final = timedelta(days=1)
_YEAR_MIN: Final = 1970
_YEAR_MAX: Final = 9998


class InvoiceFile(msgspec.Struct, frozen=True):
    """Hold a file: the name errors call it by, and its bytes."""

    name: str
    data: bytes


class Span(msgspec.Struct, frozen=True):
    """Say which days are meant, `until` excluded; None leaves it to the files."""

    since: date | None = None
    until: date | None = None

    def holds(self, day: date | None) -> bool:
        """Tell whether a day is among them; what has no day is."""
        if day is None:
            return True
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)


ALL_DAYS: Final = Span()


def read_invoice(
    provider: str, files: Sequence[InvoiceFile], format_: InvoiceFormat | None = None, span: Span = ALL_DAYS
) -> Invoice:
    """Read a provider's invoice from one or more files.

    Raises `OperatorError`, one line that names the file, the place in it and what was expected; nothing is read in
    part. Counts of a usage export are taken over those of a costs export beside it.
    """
    sheets = [sheet for file in files for sheet in _sheets(file, format_)]
    _check_whole(sheets)
    counted = any(not sheet.format.priced for sheet in sheets)
    kept = [
        msgspec.structs.replace(line, counts=NO_COUNTS) if counted and sheet.format.priced else line
        for sheet in sheets
        for line in sheet.lines
        if span.holds(line.day)
    ]
    since, until = _days(sheets, kept, span)
    digest = hashlib.sha256(f"{provider} {since} {until}".encode())
    for part in sorted(hashlib.sha256(file.data).digest() for file in files):
        digest.update(part)
    decimals = max((decimals_of(line.amount) for line in kept if line.amount), default=9)
    priced = any(sheet.format.priced for sheet in sheets)
    return Invoice(provider, since, until, tuple(kept), priced, decimals, digest.digest())


def _sheets(file: InvoiceFile, format_: InvoiceFormat | None) -> list[Sheet]:
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OperatorError(f"{file.name}: expected UTF-8 text; byte {error.start} is none") from None
    if not text.strip():
        raise OperatorError(f"{file.name}: expected an invoice, got an empty file")
    if text.lstrip()[0] in "[{":
        return read_json(file.name, text, format_)
    return [read_csv(file.name, text, format_)]


def _check_whole(sheets: list[Sheet]) -> None:
    """Check that no stretch of time comes twice, and that the last page of each report is there."""
    seen: set[str] = set()
    for bucket in (bucket for sheet in sheets for bucket in sheet.buckets):
        if bucket in seen:
            raise OperatorError(f"{bucket} comes twice: give each page once")
        seen.add(bucket)
    for format_ in {sheet.format: None for sheet in sheets}:
        pages = [sheet for sheet in sheets if sheet.format is format_]
        if all(page.has_more for page in pages):
            raise OperatorError(f"{format_}: the last page says has_more: give the pages that follow as well")


def _days(sheets: list[Sheet], lines: list[InvoiceLine], span: Span) -> tuple[date, date]:
    """Return the first day and the one after the last, from the options, else from what the files cover."""
    days = [day for sheet in sheets for day in sheet.days if span.holds(day)]
    if odd := [day for day in days if not _YEAR_MIN <= day.year <= _YEAR_MAX]:
        raise OperatorError(f"expected days from {_YEAR_MIN} to {_YEAR_MAX}, got {odd[0]}")
    dayless = any(line.day is None and line.kind is LineKind.usage for line in lines)
    if (dayless or not days) and (span.since is None or span.until is None):
        raise OperatorError("the invoice does not say its days: expected --since and --until")
    since = span.since or min(days)
    until = span.until or max(days) + _DAY
    if since >= until:
        raise OperatorError(f"expected --since before the end of the invoice, {until - _DAY}; got {since}")
    return since, until
