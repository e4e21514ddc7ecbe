"""An invoice is kept and what it differs by is booked, as transfers, all of it or nothing, and never twice."""

import asyncio
from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest
from bookkeeping import NOW_US, USD, Proxy, Shop, attempt, open_shop, write

from bursar.core.errors import OperatorError
from bursar.core.records import CallStatus, UsageSource
from bursar.core.times import DAY_US, SECOND_US, day_start_us, to_datetime
from bursar.core.usage import Usage
from bursar.ledger.causes import Cause
from bursar.ledger.invoice_files import ALL_DAYS, InvoiceFile, Span, read_invoice
from bursar.ledger.invoices import Counts, Invoice
from bursar.store.audit import audit
from bursar.store.database import Connection, connect
from bursar.store.reconcile import Booking, book_invoice, check_provider, compare

DAY = to_datetime(NOW_US).date()
NEXT = DAY + timedelta(days=1)
MIDNIGHT_US = day_start_us(NEXT)


def invoice(*rows: str, provider: str = "openai", span: Span = ALL_DAYS) -> Invoice:
    text = "\n".join(["date,model,requests,input_tokens,cached_input_tokens,output_tokens,cost_usd", *rows])
    return read_invoice(provider, [InvoiceFile("invoice.csv", text.encode())], span=span)


def billed(usd: str, day: date = DAY, model: str = "gpt-4o-mini-2024-07-18") -> str:
    return f"{day},{model},,,,,{usd}0000000"


@pytest.fixture
async def shop(connection: Connection, database_url: str, tmp_path: Path) -> Shop:
    """Spend 5 USD at openai and 2 at anthropic, the latter after an attempt at openai that cost 1."""
    shop = await open_shop(connection)
    fallback = shop.intent(9 * USD)
    attempts = (attempt(1 * USD), attempt(2 * USD, provider="anthropic", model="claude-haiku-4-5"))
    entries = [*shop.call(3 * USD), *shop.call(2 * USD), fallback, shop.settled(fallback, *attempts)]
    await write(shop, tmp_path, database_url, *entries)
    return shop


async def sums(connection: Connection, name: str) -> tuple[int, int]:
    """Return an account's posted debits and credits."""
    row = await connection.fetchrow("select debits_posted, credits_posted from accounts where name = $1", name)
    assert row is not None
    return row["debits_posted"], row["credits_posted"]


async def owed(connection: Connection, provider: str = "openai") -> int:
    """Return what is owed to a provider, corrections included."""
    return await connection.fetchval(
        "select sum(credits_posted - debits_posted)::bigint from accounts where code = 2300 and name like $1",
        f"payable:{provider}:%",
    )


async def balances(connection: Connection) -> list[tuple[object, ...]]:
    rows = await connection.fetch(
        "select name, debits_posted, credits_posted, (select count(*) from transfers) from accounts order by name"
    )
    return [tuple(row) for row in rows]


async def findings(connection: Connection) -> list[str]:
    return (await audit(connection)).findings


async def done(connection: Connection, found: Invoice, **options: bool) -> Booking:
    return await book_invoice(connection, found, NOW_US, **options)


async def test_every_attempt_counts_for_the_provider_that_made_it(connection: Connection, shop: Shop) -> None:
    report = await compare(connection, invoice(billed("6.00")))
    (line,) = report.differences
    assert (line.cause, line.key.name, line.sides.ours_nano) == (Cause.none, "gpt-4o-mini", 6 * USD)
    assert line.sides.ours == Counts(3, 360, 60, 0, 105)
    assert line.sides.price_ids == ("openai/gpt-4o-mini#12345678",)
    other = await compare(connection, invoice(billed("2.00", model="Claude Haiku 4.5"), provider="anthropic"))
    assert [each.cause for each in other.differences] == [Cause.none]


async def test_what_differs_is_booked_and_then_nothing_differs(connection: Connection, shop: Shop) -> None:
    found = invoice(billed("6.50"), f"{DAY},Tax,,,,,1.230000000", f"{DAY},Credit,,,,,-0.030000000")
    booking = await done(connection, found)
    assert [(each.difference.cause, each.difference.amount_nano) for each in booking.corrections] == [
        (Cause.unexplained, USD // 2),
        (Cause.credit, -3 * USD // 100),
        (Cause.tax, 123 * USD // 100),
    ]
    assert (booking.amount_nano, booking.known) == (170 * USD // 100, False)
    assert await owed(connection) == found.total_nano == 770 * USD // 100
    assert await sums(connection, "correction:openai") == (173 * USD // 100, 3 * USD // 100)
    assert await sums(connection, "payable:openai:0") == (3 * USD // 100, 173 * USD // 100)
    assert await findings(connection) == []
    assert (await compare(connection, found)).differing == ()
    assert await connection.fetchval("select count(*) from invoice_lines") == 3
    row = await connection.fetchrow("select * from corrections order by amount_nano desc limit 1")
    assert row is not None
    assert (row["name"], row["day"], row["cause"]) == ("Tax", DAY, Cause.tax)


async def test_the_same_invoice_again_changes_nothing(connection: Connection, shop: Shop) -> None:
    found = invoice(billed("6.50"))
    await done(connection, found)
    before = await balances(connection)
    again = await done(connection, found)
    assert (again.corrections, again.known) == ((), True)
    assert await balances(connection) == before


async def test_two_who_book_at_once_book_once(connection: Connection, database_url: str, shop: Shop) -> None:
    found = invoice(billed("6.50"))
    other = await connect(database_url)
    both = await asyncio.gather(done(connection, found), done(other, found))
    await other.close()
    assert sorted(len(booking.corrections) for booking in both) == [0, 1]
    assert await owed(connection) == found.total_nano
    assert await findings(connection) == []


async def test_calls_that_come_into_the_books_later_are_corrected_for(
    connection: Connection, database_url: str, shop: Shop, tmp_path: Path
) -> None:
    found = invoice(billed("6.50"))
    await done(connection, found)
    (tmp_path / "later").mkdir()
    later = await connect(database_url)
    await connection.execute("update gateways set segment = 0, segment_offset = 0")
    await write(shop, tmp_path / "later", database_url, *shop.call(USD))
    again = await done(later, found)
    await later.close()
    assert [each.difference.amount_nano for each in again.corrections] == [-USD]
    assert await owed(connection) == found.total_nano
    assert await findings(connection) == []
    assert (await done(connection, found)).corrections == ()


async def test_another_invoice_of_the_same_days_must_supersede(connection: Connection, shop: Shop) -> None:
    first, second = invoice(billed("6.50")), invoice(billed("6.25"))
    await done(connection, first)
    before = await balances(connection)
    with pytest.raises(
        OperatorError, match=rf"^another invoice of {DAY} to {DAY} was booked on {DAY}: say --supersede"
    ):
        await done(connection, second)
    assert await balances(connection) == before
    booking = await done(connection, second, supersede=True)
    assert booking.amount_nano == -USD // 4
    assert await owed(connection) == second.total_nano
    assert await findings(connection) == []
    with pytest.raises(OperatorError, match=f"^this invoice was superseded by the one of {DAY}$"):
        await done(connection, first)
    third = invoice(billed("7.00"))
    with pytest.raises(OperatorError, match="another invoice of"):
        await done(connection, third)
    assert (await done(connection, third, supersede=True)).amount_nano == 75 * USD // 100


async def test_an_invoice_of_other_days_or_another_provider_stands_beside(connection: Connection, shop: Shop) -> None:
    await done(connection, invoice(billed("6.50")))
    later = invoice(billed("1.00", NEXT))
    assert (await done(connection, later)).amount_nano == USD
    assert (
        await done(connection, invoice(billed("3.00", model="claude-haiku-4-5"), provider="anthropic"))
    ).amount_nano == USD
    assert await owed(connection) == 750 * USD // 100
    assert await findings(connection) == []


async def test_an_invoice_without_days_is_superseded_only_as_a_whole(connection: Connection, shop: Shop) -> None:
    month = Span(DAY - timedelta(days=5), DAY + timedelta(days=5))
    whole = invoice(",gpt-4o-mini,,,,,6.500000000", span=month)
    await done(connection, whole)
    with pytest.raises(OperatorError, match=r"does not tell its days apart: give one for all of them$"):
        await done(connection, invoice(billed("6.25")), supersede=True)
    assert await owed(connection) == whole.total_nano
    daily = invoice(billed("6.25"), span=month)
    booking = await done(connection, daily, supersede=True)
    assert [(each.difference.day, each.difference.amount_nano) for each in booking.corrections] == [
        (None, -USD // 2),
        (DAY, USD // 4),
    ]
    assert await owed(connection) == daily.total_nano
    assert await findings(connection) == []


async def test_calls_of_the_same_model_and_their_doubts_are_told(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(connection)
    held, counted = shop.intent(USD), shop.intent(USD)
    late = shop.intent(USD, MIDNIGHT_US - SECOND_US)
    none = {"usage": Usage(), "cost_nano": 0}
    refused = shop.intent(USD)
    nothing = attempt(**none, usage_source=UsageSource.none)
    entries = [
        *(held, shop.settled(held, attempt(USD, usage_source=UsageSource.held), status=CallStatus.indeterminate)),
        *(counted, shop.settled(counted, attempt(2, usage_source=UsageSource.counted), status=CallStatus.cut)),
        *(late, shop.settled(late, attempt(4, MIDNIGHT_US - SECOND_US, ended_us=MIDNIGHT_US))),
        *(refused, shop.settled(refused, nothing, status=CallStatus.failed)),
    ]
    await write(shop, tmp_path, database_url, *entries, now_us=NOW_US + DAY_US)
    (line,) = (await compare(connection, invoice(billed("0.10")))).differences
    sides = line.sides
    assert (sides.ours.requests, sides.held, sides.held_nano) == (3, 1, USD)
    assert (sides.estimated, sides.estimated_nano, line.cause) == (1, 2, Cause.held)
    (line,) = (await compare(connection, invoice(f"{NEXT},gpt-4o-mini,1,,,,0.000000004"))).differences
    assert (line.cause, line.amount_nano) == (Cause.day_boundary, 4)


async def test_an_export_that_only_counts_books_nothing(connection: Connection, shop: Shop) -> None:
    text = "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_output_tokens\n2026-11-21,gpt-4o-mini,1,1\n"
    found = read_invoice("openai", [InvoiceFile("usage.csv", text.encode())])
    with pytest.raises(OperatorError, match="does not say what is to be paid"):
        await done(connection, found)
    assert await connection.fetchval("select count(*) from invoices") == 0


async def test_a_provider_without_calls_is_an_error_with_near_names(connection: Connection, shop: Shop) -> None:
    await check_provider(connection, "openai")
    with pytest.raises(OperatorError, match=r"^no calls to provider 'opanai' are in the books; the books know openai$"):
        await check_provider(connection, "opanai")


async def test_what_was_kept_is_never_changed(connection: Connection, shop: Shop) -> None:
    await done(connection, invoice(billed("6.50")))
    for refusal in (asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError):
        for table in ("invoices", "invoice_lines", "corrections"):
            for change in (f"update {table} set tenant = 1", f"delete from {table}", f"truncate {table}"):
                with pytest.raises(refusal):
                    await connection.execute(change)
        await connection.execute("reset role")  # the owner is refused as well


async def test_a_correction_without_its_transfer_is_found(connection: Connection, shop: Shop) -> None:
    await done(connection, invoice(billed("6.50")))
    async with connection.transaction():
        await connection.execute("set local role none")
        await connection.execute("set local session_replication_role = replica")  # triggers are silent
        await connection.execute("update corrections set amount_nano = amount_nano + 1")
    assert await findings(connection) == [
        f"correction of openai gpt-4o-mini on {DAY}: recorded as 0.500000001 USD, its transfer says 0.50"
    ]


@pytest.mark.parametrize("after", [1, 4, 7, 10, 13, "COMMIT"])
async def test_a_line_that_is_cut_in_the_middle_leaves_all_or_nothing(
    connection: Connection, database_url: str, shop: Shop, after: int | str
) -> None:
    found = invoice(billed("6.50"), f"{DAY},Tax,,,,,1.230000000")
    before = await balances(connection)
    async with Proxy(database_url) as proxy:
        cut = await connect(proxy.url)
        begun = proxy.replies
        proxy.cut_reply = lambda data: (
            after.encode() in data if isinstance(after, str) else proxy.replies - begun > after
        )
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await book_invoice(cut, found, NOW_US)
        assert proxy.cuts
        cut.terminate()
    assert await findings(connection) == []
    if after == "COMMIT":
        assert await owed(connection) == found.total_nano
    else:
        assert await balances(connection) == before
        assert await connection.fetchval("select count(*) from invoices") == 0
    await done(connection, found)
    assert await owed(connection) == found.total_nano
    assert await findings(connection) == []
