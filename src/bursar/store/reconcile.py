"""Keep providers' invoices beside the books, and book what they differ by: as transfers, never as edits."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

import asyncpg
import msgspec

from bursar.core.errors import BooksError, OperatorError
from bursar.core.ids import first_id_at
from bursar.core.money import Money, nano_to_usd
from bursar.core.times import day_start_us, day_text
from bursar.ledger import chart
from bursar.ledger.chart import Code
from bursar.ledger.invoices import Counts, Invoice, LineKind
from bursar.ledger.reconcile import Booked, Corrected, Difference, Report, reconcile, unbooked
from bursar.ledger.transfer import Kind, Reason, Transfer
from bursar.prices.near import near_names
from bursar.prices.price import Rates
from bursar.store.accounts import Opening, book, open_account
from bursar.store.audit_log import note
from bursar.store.database import Connection, load_statements
from bursar.store.keys import TENANT
from bursar.store.leases import CONTROL_CHAIN, id_of, payable_account

_SQL: Final = load_statements("reconcile")
_DAY: Final = timedelta(days=1)


class Correction(msgspec.Struct, frozen=True):
    """Say what was booked for a group."""

    difference: Difference
    transfer_id: bytes


class Booking(msgspec.Struct, frozen=True):
    """Say what came of an invoice: what differed before, the corrections booked for it, whether it was there before."""

    report: Report
    corrections: tuple[Correction, ...]
    known: bool

    @property
    def amount_nano(self) -> Money:
        """Sum the corrections."""
        return sum(each.difference.amount_nano for each in self.corrections)


async def check_provider(connection: Connection, provider: str, tenant: int = TENANT) -> None:
    """Check that calls went to a provider of this name. Raises `OperatorError` with near names."""
    known = [row["provider"] for row in await connection.fetch(_SQL["providers"], tenant)]
    if provider not in known:
        near = near_names(provider, known) or tuple(known[:5])
        hint = f"; the books know {', '.join(near)}" if near else ""
        raise OperatorError(f"no calls to provider {provider!r} are in the books{hint}")


async def compare(connection: Connection, invoice: Invoice, tolerance_nano: Money = 0, tenant: int = TENANT) -> Report:
    """Match an invoice with the calls and earlier corrections in the books."""
    booked = await _booked(connection, tenant, invoice)
    rows = await connection.fetch(_SQL["corrected"], tenant, invoice.provider, invoice.since, invoice.until)
    corrected = [Corrected(row["day"], row["name"], LineKind(row["kind"]), row["amount_nano"]) for row in rows]
    price_ids = sorted({price_id for each in booked for price_id in each.price_ids})
    cards = {
        row["price_id"]: msgspec.json.decode(row["rates"], type=Rates)
        for row in await connection.fetch(_SQL["cards"], price_ids)
    }
    return reconcile(invoice, booked, corrected, tolerance_nano, cards)


async def book_invoice(
    connection: Connection,
    invoice: Invoice,
    now_us: int,
    *,
    supersede: bool = False,
    tolerance_nano: Money = 0,
    tenant: int = TENANT,
) -> Booking:
    """Keep an invoice and book what it differs by, all of it or nothing.

    The same invoice again books nothing, unless calls of its days came into the books since. Raises `OperatorError`
    for one that only counts, and for other days' or files' invoice of the same provider that is in the books, unless
    it is to be superseded.
    """
    if not invoice.priced:
        raise OperatorError("a usage export does not say what is to be paid: give the costs of the same days as well")
    async with connection.transaction():
        await connection.execute(_SQL["lock"])
        known = await _enter(connection, tenant, invoice, now_us, supersede=supersede)
        report = await compare(connection, invoice, tolerance_nano, tenant)
        corrections = await _correct(connection, tenant, invoice, unbooked(report), now_us)
        details = {"invoice": invoice.digest.hex(), "since": str(invoice.since), "until": str(invoice.until)}
        await note(connection, tenant, "invoice.book", invoice.provider, details | {"corrections": len(corrections)})
    return Booking(report, tuple(corrections), known)


async def _enter(connection: Connection, tenant: int, invoice: Invoice, now_us: int, *, supersede: bool) -> bool:
    """Keep the invoice unless it is there, and tell whether it was."""
    span = (invoice.provider, invoice.since, invoice.until)
    row = await connection.fetchrow(_SQL["invoice"], tenant, invoice.digest)
    if row is not None:
        if row["superseded_us"] is not None:
            raise OperatorError(f"this invoice was superseded by the one of {day_text(row['superseded_us'])}")
        return True
    others = await connection.fetch(_SQL["overlapping"], tenant, *span, invoice.digest)
    if others:
        _check_supersedes(invoice, others, supersede=supersede)
    replaced = [other["invoice_id"] for other in others]
    values = (*span, invoice.by_day, invoice.total_nano, replaced, now_us)
    await connection.execute(_SQL["insert_invoice"], tenant, invoice.digest, *values)
    rows = [
        (
            *(tenant, invoice.digest, number, line.where, line.day, line.model, line.kind.value),
            *(*line.counts.values(), line.cost_nano, line.amount),
        )
        for number, line in enumerate(invoice.lines)
    ]
    await connection.executemany(_SQL["insert_line"], rows)
    return False


def _check_supersedes(invoice: Invoice, others: Sequence[asyncpg.Record], *, supersede: bool) -> None:
    """Check that an invoice may take the place of others of the same days."""
    first = others[0]
    days = f"{first['since']} to {first['until'] - _DAY}"
    if not supersede:
        at = day_text(first["imported_us"])
        raise OperatorError(f"another invoice of {days} was booked on {at}: say --supersede if this one replaces it")
    for other in others:
        within = invoice.since <= other["since"] and other["until"] <= invoice.until
        if not within and not (other["by_day"] and invoice.by_day):
            raise OperatorError(f"the invoice of {days} does not tell its days apart: give one for all of them")


async def _correct(
    connection: Connection, tenant: int, invoice: Invoice, differences: Sequence[Difference], now_us: int
) -> list[Correction]:
    """Book one transfer a difference: to what is owed to the provider when it bills more, back when it bills less."""
    if not differences:
        return []
    provider = invoice.provider
    payable = await payable_account(connection, tenant, provider, CONTROL_CHAIN, now_us)
    opening = Opening(chart.correction_name(provider), Code.adjustment)
    adjustment, _ = await open_account(connection, tenant, opening, now_us)
    before = await connection.fetchval(_SQL["count_corrections"], tenant, provider)
    made: list[Correction] = []
    transfers: list[Transfer] = []
    for difference in differences:
        key, amount = difference.key, difference.amount_nano
        words = (invoice.digest.hex(), key.day, key.kind.name, key.name, before)
        name = id_of("reconcile", tenant, *words)
        debit, credit = (adjustment, payable) if amount > 0 else (payable, adjustment)
        transfers.append(Transfer(name, debit, credit, abs(amount), Kind.post, Reason.correction, now_us))
        made.append(Correction(difference, name))
    for transfer, status in zip(transfers, await book(connection, tenant, CONTROL_CHAIN, transfers), strict=True):
        if not status.ok:
            raise BooksError(f"the books refused a correction of {transfer.amount_nano} nano-USD: {status.name}")
    rows = [
        (
            *(tenant, each.transfer_id, invoice.digest, provider, each.difference.day, each.difference.key.name),
            *(each.difference.key.kind.value, each.difference.amount_nano, each.difference.cause.value),
            *(each.difference.evidence, now_us),
        )
        for each in made
    ]
    await connection.executemany(_SQL["insert_correction"], rows)
    return made


async def _booked(connection: Connection, tenant: int, invoice: Invoice) -> list[Booked]:
    """Read what the calls were booked with, from the day before the invoice on."""
    first, last = (first_id_at(day_start_us(day) // 1_000) for day in (_before(invoice.since), invoice.until))
    rows = await connection.fetch(_SQL["booked"], tenant, invoice.provider, first, last)
    counts = Counts.__struct_fields__
    return [
        Booked(
            row["day"],
            row["model"],
            Counts(*(row[name] for name in counts)),
            row["cost_nano"],
            held=row["held"],
            held_nano=row["held_nano"],
            estimated=row["estimated"],
            estimated_nano=row["estimated_nano"],
            late_nano=row["late_nano"],
            price_ids=tuple(row["price_ids"] or ()),
        )
        for row in rows
    ]


def _before(day: date) -> date:
    return day - _DAY if day.year > 1970 else day


async def corrections_that_differ(connection: Connection, tenant: int) -> list[str]:
    """Return a line for each correction that does not have the transfer it says."""
    return [
        f"correction of {row['provider']} {row['name'] or 'in all'} on {row['day'] or 'all days'}: recorded as "
        f"{nano_to_usd(row['amount_nano'])} USD, its transfer says {nano_to_usd(row['booked_nano'] or 0)}"
        for row in await connection.fetch(_SQL["corrections_that_differ"], tenant)
    ]
