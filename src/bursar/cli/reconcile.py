"""`bursar reconcile`: match what a provider bills with what the books have, and book what differs."""

import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, run
from bursar.core.errors import OperatorError
from bursar.core.money import Money, nano_to_usd, usd_to_nano
from bursar.ledger.causes import Cause
from bursar.ledger.invoice_files import InvoiceFile, Span, read_invoice
from bursar.ledger.invoices import Counts, Invoice, InvoiceFormat, LineKind
from bursar.ledger.reconcile import Difference, Report
from bursar.store.reconcile import Booking, book_invoice, check_provider, compare

_DAY: Final = timedelta(days=1)


def reconcile(
    files: Annotated[
        list[Path], Parameter(help="The provider's invoice or export: all pages of it, costs and usage together.")
    ],
    /,
    *,
    provider: Annotated[str, Parameter(help="The provider, by its name in bursar.toml.")],
    format_: Annotated[
        InvoiceFormat | None, Parameter(name="--format", help="What the files are; told by what is in them without.")
    ] = None,
    since: Annotated[str | None, Parameter(help="First day; the invoice's own without.")] = None,
    until: Annotated[str | None, Parameter(help="Last day, included; the invoice's own without.")] = None,
    tolerance: Annotated[str, Parameter(help="USD by which a day and model may differ.")] = "0.005",
    all_: Annotated[bool, Parameter(name="--all", negative="", help="Show what agrees as well.")] = False,
    book: Annotated[bool, Parameter(negative="", help="Book what differs as corrections.")] = False,
    supersede: Annotated[
        bool, Parameter(negative="", help="Let it take the place of other invoices of these days.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Compare a provider's invoice with the books. Exit 0 when they agree or all is booked, 1 when they differ."""
    tolerance_nano = _money(tolerance)
    invoice = read_invoice(provider, [_file(path) for path in files], format_, _span(since, until))

    async def work() -> tuple[Report, Booking | None]:
        async with open_books(data) as connection:
            await check_provider(connection, provider)
            if not book:
                return await compare(connection, invoice, tolerance_nano), None
            at_us = now_us()
            booking = await book_invoice(connection, invoice, at_us, supersede=supersede, tolerance_nano=tolerance_nano)
            return booking.report, booking

    report, booking = run(work())
    if json:
        print_json(_json(invoice, report, booking))
    else:
        shown = report.differences if all_ else report.differing
        if shown:
            _print_report(invoice, report, shown)
        print(_verdict(invoice, report, booking))
    sys.exit(1 if report.differing and booking is None else 0)


def _file(path: Path) -> InvoiceFile:
    try:
        return InvoiceFile(path.name, path.read_bytes())
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}") from None


def _money(text: str) -> Money:
    try:
        tolerance_nano = usd_to_nano(text)
    except ValueError as error:
        raise OperatorError(f"--tolerance: {error}") from None
    if tolerance_nano < 0:
        raise OperatorError("--tolerance: expected 0 or more")
    return tolerance_nano


def _span(since: str | None, until: str | None) -> Span:
    last = _day(until, "--until")
    return Span(_day(since, "--since"), last + _DAY if last else None)


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise OperatorError(f"{option}: expected a date such as 2026-11-21, got {text!r}") from None
    if not 1970 <= day.year <= 9998:
        raise OperatorError(f"{option}: expected a date from 1970 to 9998, got {text!r}")
    return day


def _print_report(invoice: Invoice, report: Report, shown: tuple[Difference, ...]) -> None:
    rows = [
        [
            str(each.day or "all"),
            _name(each),
            f"{each.sides.ours.requests or 0:,}",
            nano_to_usd(each.sides.ours_nano + each.sides.corrected_nano),
            _usd(each.sides.theirs_nano),
            _signed(each.amount_nano) if invoice.priced else "",
            _cause(each),
        ]
        for each in shown
    ]
    ours, corrected, theirs, amount = report.total()
    calls = sum(each.sides.ours.requests or 0 for each in report.differences)
    billed, differs = (nano_to_usd(theirs), _signed(amount)) if invoice.priced else ("", "")
    rows.append(["total", "", f"{calls:,}", nano_to_usd(ours + corrected), billed, differs, ""])
    columns = ["day", "model", "calls", "ours USD", "theirs USD", "difference", "likely cause"]
    print_table(columns, rows, right=(2, 3, 4, 5), title=f"Reconciled with {invoice.provider}, {_days(invoice)}")


def _name(each: Difference) -> str:
    if each.key.kind is LineKind.usage:
        return each.key.name or "all"
    return each.key.name or each.key.kind.name


def _cause(each: Difference) -> str:
    name = "" if each.cause is Cause.none else each.cause.name.replace("_", " ")
    return f"{name}: {each.evidence}" if each.evidence else name


def _days(invoice: Invoice) -> str:
    return f"{invoice.since} to {invoice.until - _DAY}"


def _signed(amount_nano: Money) -> str:
    return ("+" if amount_nano > 0 else "") + nano_to_usd(amount_nano)


def _usd(amount_nano: Money | None) -> str:
    return "" if amount_nano is None else nano_to_usd(amount_nano)


def _verdict(invoice: Invoice, report: Report, booking: Booking | None) -> str:
    """Say in one line how it stands."""
    ours, corrected, theirs, amount = report.total()
    what, groups = f"{invoice.provider}, {_days(invoice)}", len(report.differing)
    if booking is not None:
        if not booking.corrections:
            return f"nothing to book: {what}: the books have the {nano_to_usd(theirs)} USD billed"
        count = len(booking.corrections)
        corrections = f"{count} correction{'s' if count > 1 else ''} of {_signed(booking.amount_nano)} USD in all"
        return f"booked: {what}: {corrections}; the books have the {nano_to_usd(theirs)} USD billed"
    if groups and invoice.priced:
        more = "more" if amount >= 0 else "less"
        booked = f"{nano_to_usd(abs(amount))} USD {more} than the {nano_to_usd(ours + corrected)} booked"
        return f"differs: {what}: {groups} of {len(report.differences)} lines differ, billed is {booked}"
    if groups:
        return f"differs: {what}: {groups} of {len(report.differences)} lines count otherwise"
    if not invoice.priced:
        return f"agrees: {what}: {len(report.differences)} lines count the same"
    return f"agrees: {what}: {nano_to_usd(theirs)} USD billed, {nano_to_usd(ours + corrected)} booked"


def _json(invoice: Invoice, report: Report, booking: Booking | None) -> dict[str, Any]:
    ours, corrected, theirs, amount = report.total()
    return {
        "provider": invoice.provider,
        "since": str(invoice.since),
        "until": str(invoice.until - _DAY),
        "invoice": invoice.digest.hex(),
        "agrees": not report.differing,
        "ours_usd": nano_to_usd(ours),
        "corrected_usd": nano_to_usd(corrected),
        "theirs_usd": nano_to_usd(theirs) if invoice.priced else None,
        "difference_usd": nano_to_usd(amount) if invoice.priced else None,
        "lines": [_line_json(each) for each in report.differences],
        "corrections": [
            {"transfer_id": each.transfer_id.hex(), "amount_usd": nano_to_usd(each.difference.amount_nano)}
            for each in (booking.corrections if booking else ())
        ],
    }


def _line_json(each: Difference) -> dict[str, Any]:
    sides = each.sides
    return {
        "day": str(each.day) if each.day else None,
        "model": each.key.name or None,
        "kind": each.key.kind.name,
        "cause": each.cause.name,
        "evidence": each.evidence,
        "ours_usd": nano_to_usd(sides.ours_nano),
        "corrected_usd": nano_to_usd(sides.corrected_nano),
        "theirs_usd": None if sides.theirs_nano is None else nano_to_usd(sides.theirs_nano),
        "difference_usd": None if sides.theirs_nano is None else nano_to_usd(each.amount_nano),
        "ours": _counts_json(sides.ours),
        "theirs": _counts_json(sides.theirs),
    }


def _counts_json(counts: Counts) -> dict[str, int | None]:
    return dict(zip(Counts.__struct_fields__, counts.values(), strict=True))
