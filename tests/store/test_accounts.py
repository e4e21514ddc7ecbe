"""Transfers are booked under the ledger's rules, and what was decided once is decided for good."""

import asyncio
import contextlib

import asyncpg
import pytest
from bookkeeping import NOW_US, Proxy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from bursar.core.money import MONEY_MAX
from bursar.ledger.books import Account, Books, Closing
from bursar.ledger.chart import Code, Unit
from bursar.ledger.transfer import EVENT_AHEAD_US_MAX as AHEAD
from bursar.ledger.transfer import Kind, Linked, Reason, Status, Step, Transfer
from bursar.store.accounts import (
    Opening,
    book,
    close_account,
    find_account,
    lock_accounts,
    open_account,
    transfer_amount,
)
from bursar.store.audit import audit
from bursar.store.database import AWAY, Connection, connect
from bursar.store.leases import id_of

CHAIN = 0


async def accounts(connection: Connection, limited: bool = True) -> tuple[int, int]:
    """Open an account that may owe and one that may not."""
    source, _ = await open_account(connection, 1, Opening("source", Code.grants), NOW_US)
    purse, _ = await open_account(connection, 1, Opening("purse", Code.budget, None, None, limited), NOW_US)
    return source, purse


def move(
    name: str, debit: int, credit: int, amount: int, kind: Kind = Kind.post, hold: str = "", held: int = 0
) -> Transfer:
    hold_id = id_of(hold) if hold else b""
    return Transfer(id_of(name), debit, credit, amount, kind, Reason.correction, NOW_US, hold_id, held)


async def do(connection: Connection, *transfers: Step) -> list[Status]:
    async with connection.transaction():
        return await book(connection, 1, CHAIN, transfers)


async def sums(connection: Connection, account: int) -> tuple[int, int, int, int]:
    async with connection.transaction():
        return (await lock_accounts(connection, 1, [account]))[account].sums()


async def test_an_account_is_opened_once_by_its_name(connection: Connection) -> None:
    first = await open_account(connection, 1, Opening("a", Code.budget, None, (5, 9), limited=True), NOW_US)
    assert first == (1, True)
    assert await open_account(connection, 1, Opening("a", Code.lease), NOW_US) == (1, False)
    assert await find_account(connection, 1, "a") == 1
    assert await find_account(connection, 1, "b") is None
    assert await find_account(connection, 2, "a") is None
    row = await connection.fetchrow("select code, limited, start_us, end_us, opened_us from accounts")
    assert row is not None
    assert tuple(row) == (Code.budget, True, 5, 9, NOW_US)


async def test_units_never_mix(connection: Connection) -> None:
    source, purse = await accounts(connection)
    tokens, _ = await open_account(connection, 1, Opening("tokens", Code.used, unit=Unit.token), NOW_US)
    counted, _ = await open_account(connection, 1, Opening("counted", Code.used, unit=Unit.token), NOW_US)
    count = Transfer(id_of("count"), tokens, counted, 7, Kind.post, Reason.call, NOW_US, unit=Unit.token)
    assert await do(connection, count) == [Status.created]
    assert await do(connection, move("mixed", source, tokens, 1)) == [Status.units_differ]
    assert await do(connection, move("wrong", tokens, counted, 1)) == [Status.units_differ]
    assert await sums(connection, purse) == (0, 0, 0, 0)
    assert (await audit(connection)).findings == []


async def test_many_who_open_an_account_at_once_get_the_same(connection: Connection, database_url: str) -> None:
    others = [await connect(database_url) for _ in range(4)]
    opened = await asyncio.gather(*(open_account(other, 1, Opening("a", Code.grants), NOW_US) for other in others))
    for other in others:
        await other.close()
    assert len({account for account, _ in opened}) == 1
    assert sum(new for _, new in opened) == 1


async def test_a_transfer_moves_money_once(connection: Connection) -> None:
    source, purse = await accounts(connection)
    grant = move("grant", source, purse, 10)
    assert await do(connection, grant) == [Status.created]
    assert await do(connection, grant) == [Status.exists]
    assert await do(connection, move("grant", source, purse, 11)) == [Status.exists_with_different_content]
    assert await sums(connection, purse) == (0, 0, 0, 10)
    assert await transfer_amount(connection, 1, id_of("grant")) == 10
    assert await transfer_amount(connection, 1, id_of("other")) is None
    assert (await audit(connection)).transfers == 1


async def test_a_refused_id_stays_refused_although_there_would_be_money_now(connection: Connection) -> None:
    source, purse = await accounts(connection)
    spend = move("spend", purse, source, 5)
    assert await do(connection, spend) == [Status.exceeds_credits]
    assert await do(connection, move("grant", source, purse, 10)) == [Status.created]
    assert await do(connection, spend) == [Status.id_already_failed]
    assert await do(connection, move("spend again", purse, source, 5)) == [Status.created]
    assert await sums(connection, purse) == (0, 5, 0, 10)
    assert (await audit(connection)).findings == []


async def test_holds_live_across_transactions_and_end_once(connection: Connection) -> None:
    source, purse = await accounts(connection)
    await do(connection, move("grant", source, purse, 10))
    assert await do(connection, move("hold", purse, source, 8, Kind.hold)) == [Status.created]
    assert await do(connection, move("more", purse, source, 3, Kind.hold)) == [Status.exceeds_credits]
    assert await do(connection, move("post", purse, source, 6, Kind.post_hold, "hold", 8)) == [Status.created]
    assert await do(connection, move("void", purse, source, 0, Kind.void_hold, "hold", 8)) == [
        Status.hold_already_posted
    ]
    assert await do(connection, move("stray", purse, source, 0, Kind.void_hold, "none", 8)) == [Status.hold_not_found]
    assert await sums(connection, purse) == (0, 6, 0, 10)
    assert (await audit(connection)).findings == []


async def test_a_batch_is_judged_in_order_and_each_for_itself(connection: Connection) -> None:
    source, purse = await accounts(connection)
    statuses = await do(
        connection,
        move("early", purse, source, 1),
        move("grant", source, purse, 10),
        move("same", purse, purse, 1),
        move("negative", source, purse, -1),
        move("huge", source, purse, MONEY_MAX + 1),
        move("nowhere", source, 99, 1),
        move("overflow", source, purse, MONEY_MAX),
        move("spend", purse, source, 10),
    )
    assert [status.name for status in statuses] == [
        "exceeds_credits",
        "created",
        "accounts_are_the_same",
        "amount_is_negative",
        "amount_exceeds_int64",
        "credit_account_not_found",
        "balance_exceeds_int64",
        "created",
    ]
    assert (await audit(connection)).findings == []


async def test_a_transaction_that_fails_leaves_nothing_behind(connection: Connection) -> None:
    source, purse = await accounts(connection)

    async def book_and_fail() -> None:
        async with connection.transaction():
            assert await book(connection, 1, CHAIN, [move("grant", source, purse, 10)]) == [Status.created]
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await book_and_fail()
    assert await sums(connection, purse) == (0, 0, 0, 0)
    assert await do(connection, move("grant", source, purse, 10)) == [Status.created]
    assert (await audit(connection)).findings == []


async def test_linked_transfers_stand_together_or_not_at_all(connection: Connection) -> None:
    source, purse = await accounts(connection)
    good = Linked((move("in", source, purse, 10), move("out", purse, source, 10)))
    bad = Linked((move("in 2", source, purse, 10), move("out 2", purse, source, 11)))
    failed = [Status.linked_transfer_failed, Status.exceeds_credits]
    assert await do(connection, good, bad, move("after", source, purse, 1)) == [
        *[Status.created] * 2,
        *failed,
        Status.created,
    ]
    assert await do(connection, good, bad) == [*[Status.exists] * 2, *[Status.id_already_failed] * 2]
    rows = await connection.fetch("select transfer_id, status from transfer_failures order by status desc")
    assert [(row["transfer_id"], row["status"]) for row in rows] == [
        (id_of("in 2"), Status.linked_transfer_failed),
        (id_of("out 2"), Status.exceeds_credits),
    ]
    assert await sums(connection, purse) == (0, 10, 0, 11)
    assert (await audit(connection)).findings == []


async def test_each_fault_is_a_status_and_writes_nothing(connection: Connection) -> None:
    source, purse = await accounts(connection)
    tokens, _ = await open_account(connection, 1, Opening("tokens", Code.used, unit=Unit.token), NOW_US)
    known = move("known", source, purse, 1)
    assert await do(connection, known) == [Status.created]
    huge = 2**63
    faults = {
        Status.exists_with_different_content: structs.replace(known, amount_nano=2),
        Status.units_differ: move("unit", source, tokens, 1),
        Status.amount_is_negative: move("negative", source, purse, -1),
        Status.amount_exceeds_int64: move("huge", source, purse, huge),
        Status.held_amount_out_of_range: move("held", source, purse, 1, held=-huge),
        Status.debit_account_not_found: move("nowhere", huge, purse, 1),
        Status.credit_account_not_found: move("nobody", source, -huge, 1),
        Status.event_time_out_of_range: structs.replace(move("later", source, purse, 1), event_us=NOW_US + 2 * AHEAD),
        Status.balance_exceeds_int64: move("overflow", source, purse, huge - 1),
        Status.hold_not_expected: structs.replace(move("ends", source, purse, 1), hold_id=id_of("known")),
    }
    before = await sums(connection, purse)
    async with connection.transaction():
        assert await book(connection, 1, CHAIN, list(faults.values()), NOW_US) == list(faults)
    assert await sums(connection, purse) == before
    for event_us in (-1, -huge, huge, huge - 1):
        wrong = structs.replace(move(f"at {event_us}", source, purse, 1), event_us=event_us)
        assert await do(connection, wrong) == [Status.event_time_out_of_range]
        assert await do(connection, structs.replace(wrong, event_us=NOW_US)) == [Status.id_already_failed]
    soon = structs.replace(move("soon", source, purse, 1), event_us=NOW_US + AHEAD)
    async with connection.transaction():
        assert await book(connection, 1, CHAIN, [soon], NOW_US) == [Status.created]
    assert await connection.fetchval("select count(*) from transfers") == 2
    assert (await audit(connection)).findings == []


async def test_an_account_is_not_owed_beyond_its_debits(connection: Connection) -> None:
    source, _ = await accounts(connection)
    opening = Opening("receivable", Code.liquidity, credits_limited=True)
    due, _ = await open_account(connection, 1, opening, NOW_US)
    assert await do(connection, move("early", source, due, 1)) == [Status.exceeds_debits]
    assert await do(connection, move("debt", due, source, 5), move("paid", source, due, 5)) == [Status.created] * 2
    with pytest.raises(asyncpg.CheckViolationError, match="credits_limited_account_is_never_owed"):
        await connection.execute("update accounts set credits_posted = credits_posted + 1 where account_id = $1", due)
    assert (await audit(connection)).findings == []


async def test_an_account_closes_empty_and_for_good(connection: Connection) -> None:
    source, purse = await accounts(connection)
    assert await close_account(connection, 1, 99, NOW_US) is Closing.account_not_found
    await do(connection, move("in", source, purse, 5), move("hold", purse, source, 2, Kind.hold))
    assert await close_account(connection, 1, purse, NOW_US) is Closing.has_pending
    await do(connection, move("void", purse, source, 0, Kind.void_hold, "hold", 2))
    assert await close_account(connection, 1, purse, NOW_US) is Closing.has_balance
    below, _ = await open_account(connection, 1, Opening("below", Code.withdrawn, purse), NOW_US)
    await do(connection, move("out", purse, below, 5))
    assert await close_account(connection, 1, purse, NOW_US) is Closing.child_has_balance
    await do(connection, move("back", below, source, 5))
    assert await close_account(connection, 1, purse, NOW_US) is Closing.closed
    assert await close_account(connection, 1, purse, NOW_US + 1) is Closing.exists
    row = await connection.fetchrow("select closed, closed_us from accounts where account_id = $1", purse)
    assert row is not None
    assert tuple(row) == (True, NOW_US)
    assert await do(connection, move("late", source, purse, 1), move("later", purse, source, 0)) == [
        Status.credit_account_closed,
        Status.debit_account_closed,
    ]
    with pytest.raises(asyncpg.CheckViolationError, match="closed_account_holds_nothing"):
        await connection.execute("update accounts set credits_posted = credits_posted + 1 where account_id = $1", purse)
    lease, _ = await open_account(connection, 1, Opening("lease", Code.lease), NOW_US)
    assert await close_account(connection, 1, lease, NOW_US) is Closing.written_by_gateways
    assert (await audit(connection)).findings == []


async def test_a_closing_and_a_transfer_at_once_cannot_both_succeed(connection: Connection, database_url: str) -> None:
    source, purse = await accounts(connection)
    other = await connect(database_url)
    async with connection.transaction():
        assert await book(connection, 1, CHAIN, [move("in", source, purse, 5)]) == [Status.created]
        closing = asyncio.create_task(close_account(other, 1, purse, NOW_US))
        await asyncio.sleep(0.05)
        assert not closing.done()
    assert await closing is Closing.has_balance
    await other.close()


@pytest.mark.parametrize("statement", range(1, 9))
async def test_a_line_cut_anywhere_leaves_a_chain_whole_or_not_at_all(
    connection: Connection, database_url: str, statement: int
) -> None:
    source, purse = await accounts(connection)
    chain = Linked((move("in", source, purse, 10), move("out", purse, source, 4)))
    replies = 0

    def cut(_data: bytes) -> bool:
        nonlocal replies
        replies += 1
        return replies == statement

    async with Proxy(database_url) as proxy:
        other = await connect(proxy.url)
        proxy.cut_reply = cut
        with contextlib.suppress(*AWAY):
            await do(other, chain)
        other.terminate()
    stood = await connection.fetchval("select count(*) from transfers")
    assert stood in (0, 2)
    assert await sums(connection, purse) == ((0, 4, 0, 10) if stood else (0, 0, 0, 0))
    assert await do(connection, chain) == [Status.exists if stood else Status.created] * 2
    assert (await audit(connection)).findings == []


moves = st.lists(
    st.tuples(
        st.integers(0, 6),  # few ids, so that they meet again
        st.sampled_from([(0, 1), (1, 0), (1, 2), (2, 0), (3, 0), (0, 3)]),
        st.integers(0, 20),
        st.sampled_from(Kind),
        st.integers(0, 6),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.tuples(moves, st.integers(0, 12), st.integers(0, 4)), max_size=4))
async def test_the_tables_say_what_the_rules_say_however_transfers_are_batched(
    connection: Connection, batches: list[tuple[list[tuple[int, tuple[int, int], int, Kind, int]], int, int]]
) -> None:
    number = await connection.fetchval("select count(*) from accounts")
    limits = [{"limited": False}, {"limited": True}, {"limited": True}, {"credits_limited": True}]
    named = [Opening(f"{number} {n}", Code.budget, **limit) for n, limit in enumerate(limits)]
    ids = [(await open_account(connection, 1, opening, NOW_US))[0] for opening in named]
    books = Books(Account(account_id, **limit) for account_id, limit in zip(ids, limits, strict=True))
    for batch, start, length in batches:
        transfers = []
        for name, (debit, credit), amount, kind, hold in batch:
            ends = kind in (Kind.post_hold, Kind.void_hold, Kind.expire_hold)
            known = books.transfers.get(id_of(f"{number} {hold}"))
            held = known.amount_nano if known is not None else 0
            amount = 0 if kind in (Kind.void_hold, Kind.expire_hold) else amount
            transfers.append(
                move(
                    f"{number} {name}",
                    ids[debit],
                    ids[credit],
                    amount,
                    kind,
                    f"{number} {hold}" if ends else "",
                    held if ends else 0,
                )
            )
        linked = Linked(tuple(transfers[start : start + length]))
        steps: list[Step] = [*transfers[:start], linked, *transfers[start + length :]]
        assert await do(connection, *steps) == books.apply_all(steps)
        for account_id, account in books.accounts.items():
            assert await sums(connection, account_id) == account.sums()
    assert (await audit(connection)).findings == []
