"""What was in an account at any past moment is known, exactly and for good."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from bookkeeping import NOW_US, USD, open_shop, write

from bursar.ledger.books import Account, Books
from bursar.ledger.chart import Code
from bursar.ledger.transfer import Kind, Reason, Status, Transfer
from bursar.store.accounts import Opening, book, open_account
from bursar.store.audit import audit
from bursar.store.database import Connection
from bursar.store.history import all_accounts, balance_at, find, history_began
from bursar.store.leases import id_of

MOMENTS = "select account_id, at_us from account_history order by account_id, at_us"


async def test_a_past_balance_is_what_a_fold_of_the_commits_says(connection: Connection) -> None:
    dice = random.Random(4)
    ids = [(await open_account(connection, 1, Opening(f"{n}", Code.grants), NOW_US))[0] for n in range(5)]
    books, past = Books(Account(number) for number in ids), list[tuple[int, dict[int, tuple[int, ...]]]]()
    for commit in range(40):
        transfers = [
            Transfer(id_of(commit, n), *dice.sample(ids, 2), dice.randint(1, 9), Kind.post, Reason.correction, NOW_US)
            for n in range(dice.randint(1, 4))
        ]
        async with connection.transaction():
            assert set(await book(connection, 1, 0, transfers)) == {Status.created}
        books.apply_all(transfers)
        at_us = await connection.fetchval("select max(at_us) from account_history")
        past.append((at_us, {number: account.sums() for number, account in books.accounts.items()}))
    assert all(one < other for (one, _), (other, _) in pairwise(past))
    for at_us, sums in past:
        for number in ids:
            then = await balance_at(connection, 1, number, at_us)
            assert then is not None
            assert (then.debits_pending, then.debits_posted, then.credits_pending, then.credits_posted) == sums[number]
            assert then.since_us <= at_us
    assert (await audit(connection)).findings == []


async def test_the_journal_keeps_the_past_as_well(connection: Connection, database_url: str, tmp_path: Path) -> None:
    shop = await open_shop(connection)
    before = await connection.fetchval("select max(at_us) from account_history")
    await write(shop, tmp_path / "1", database_url, *shop.call(3 * USD))
    lease = shop.grant.lease_account
    then, now = await balance_at(connection, 1, lease, before), await balance_at(connection, 1, lease, 2**62)
    assert then is not None
    assert now is not None
    assert (then.posted - now.posted, now.since_us > before) == (3 * USD, True)
    assert now == (await all_accounts(connection, 1))[lease - 1].balance
    assert (await audit(connection)).findings == []


async def test_one_commit_leaves_one_row_an_account(connection: Connection, database_url: str, tmp_path: Path) -> None:
    shop = await open_shop(connection)
    before = await connection.fetchval("select count(*) from account_history")
    await write(shop, tmp_path, database_url, *(entry for _ in range(50) for entry in shop.call(1)))
    assert await connection.fetchval("select count(*) from account_history") == before + 2


async def test_moments_go_forward_although_the_clock_goes_back(connection: Connection) -> None:
    ids = [(await open_account(connection, 1, Opening(f"{n}", Code.grants), NOW_US))[0] for n in range(2)]
    ahead = 2**53
    await connection.execute("update accounts set changed_us = $1 where account_id = $2", ahead, ids[0])
    for number in range(3):
        transfer = Transfer(id_of(number), *ids, 1, Kind.post, Reason.correction, NOW_US)
        async with connection.transaction():
            assert await book(connection, 1, 0, [transfer]) == [Status.created]
    for account in ids:
        rows = await connection.fetch("select at_us from account_history where account_id = $1 order by 1", account)
        assert [row["at_us"] for row in rows][1:] == [ahead + 1, ahead + 2, ahead + 3]


async def test_before_its_history_an_account_has_no_balance(connection: Connection) -> None:
    number, _ = await open_account(connection, 1, Opening("a", Code.grants), NOW_US)
    began = await history_began(connection, 1, number)
    assert began is not None
    assert await balance_at(connection, 1, number, began - 1) is None
    then = await balance_at(connection, 1, number, began)
    assert then is not None
    assert then.posted == 0
    assert await history_began(connection, 1, 99) is None


@pytest.mark.parametrize("name", ["grants", "1"])
async def test_an_account_is_found_by_name_or_number(connection: Connection, name: str) -> None:
    await open_account(connection, 1, Opening("grants", Code.grants), NOW_US)
    found = await find(connection, 1, name)
    assert found is not None
    assert (found.name, found.account_id, found.kind, found.closed) == ("grants", 1, "grants", False)
    assert await find(connection, 1, "nobody") is None
    assert await find(connection, 2, name) is None
