"""The books are checked from their transfers alone: whatever is changed behind their back is found."""

import re
from pathlib import Path

import asyncpg
import pytest
from bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write
from inline_snapshot import snapshot

from bursar.core.times import SECOND_US
from bursar.store.audit import Audit, audit
from bursar.store.database import Connection
from bursar.store.leases import OpenLease, return_lease


@pytest.fixture
async def shop(connection: Connection, database_url: str, tmp_path: Path) -> Shop:
    """Make some calls, of which one is still under way with its hold shown, and one owes beyond its lease."""
    shop = await open_shop(connection)
    over = shop.intent(5 * USD)
    entries = [
        *shop.call(3 * USD, 9 * USD),
        *shop.call(0, 1 * USD),
        over,
        shop.settled(over, attempt(7 * USD), overage_nano=1 * USD),
        shop.intent(2 * USD),
    ]
    await write(shop, tmp_path, database_url, *entries, now_us=NOW_US + 2 * SECOND_US)
    rest = OpenLease(1, shop.grant.lease_account, shop.grant.budget_account, 10 * USD)
    await return_lease(connection, rest, b"return".ljust(16), NOW_US)
    return shop


async def tamper(connection: Connection, text: str) -> None:
    """Change the books as only the owner of the database could."""
    async with connection.transaction():
        await connection.execute("set local role none")
        await connection.execute("set local session_replication_role = replica")  # triggers are silent
        await connection.execute(text)


async def findings(connection: Connection, shop: Shop) -> list[str]:
    """Check the books, with the ids that differ from run to run left out."""
    found, name = (await audit(connection)).findings, shop.budget.budget_id
    return [
        re.sub("call_[0-9a-f]{32}", "call", re.sub(" at [0-9]{16} ", " at some moment ", text))
        .replace(name, "bud")
        .replace(":budget:bud:total", "")
        for text in found
    ]


async def test_books_nobody_touched_balance(connection: Connection, shop: Shop) -> None:
    assert await audit(connection) == Audit(accounts=7, transfers=7, calls=3, findings=[])


async def test_empty_books_balance(connection: Connection) -> None:
    assert await audit(connection) == Audit()


CHANGES = {
    "a past balance": (
        "update account_history set debits_posted = debits_posted - 1 where debits_posted = 9000000000",
        snapshot(
            [
                "unit 1: at some moment the history moves 11999999999 debits and 12000000000 credits",
                "unit 1: at some moment the history moves 10000000001 debits and 10000000000 credits",
            ]
        ),
    ),
    "a past balance that shrinks": (
        "update account_history set debits_posted = 20000000000 where debits_posted = 9000000000",
        snapshot(
            [
                "account lease:1: its history takes back at some moment what was posted",
                "unit 1: at some moment the history moves 23000000000 debits and 12000000000 credits",
                "unit 1: at some moment the history moves -1000000000 debits and 10000000000 credits",
            ]
        ),
    ),
    "an account's last moment": (
        "update accounts set changed_us = changed_us + 1 where code = 3100",
        snapshot(["account grants: its history does not end with its balance"]),
    ),
    "an account's history deleted": (
        "delete from account_history where account_id = (select account_id from accounts where code = 2400)",
        snapshot(
            [
                "account overage: its history does not end with its balance",
                "unit 1: at some moment the history moves 11000000000 debits and 12000000000 credits",
            ]
        ),
    ),
    "a limit that was broken": (
        "alter table accounts drop constraint credits_limited_account_is_never_owed;"
        " update accounts set credits_limited = true where code = 2300",
        snapshot(["account payable:openai:1 is owed 12000000000, and may not be"]),
    ),
    "an account that was closed with money": (
        "alter table accounts drop constraint closed_account_holds_nothing;"
        " update accounts set closed = true where code = 2300",
        snapshot(["account payable:openai:1 is closed, and holds 10000000000 with 0 debits pending"]),
    ),
    "an amount": (
        "update transfers set amount_nano = amount_nano + 1 where chain = 1 and seq = 2",
        snapshot(
            [
                "transfer 2 of chain 1 does not have the hash of what it says and of what came before",
                "account lease:1: posted debits are kept as 19000000000, its transfers say 19000000001",
                "account payable:openai:1: posted credits are kept as 10000000000, its transfers say 10000000001",
                "call: recorded as 7000000000 nano-USD, its transfers say 7000000001",
            ]
        ),
    ),
    "a time": (
        "update transfers set event_us = event_us + 1 where chain = 1 and seq = 2",
        snapshot(["transfer 2 of chain 1 does not have the hash of what it says and of what came before"]),
    ),
    "where it went": (
        "update transfers set credit_account = (select account_id from accounts where name like 'payable:anthropic%')"
        " where chain = 1 and seq = 1",
        snapshot(
            [
                "transfer 1 of chain 1 does not have the hash of what it says and of what came before",
                "account payable:openai:1: posted credits are kept as 10000000000, its transfers say 7000000000",
                "account payable:anthropic:1: posted credits are kept as 0, its transfers say 3000000000",
            ]
        ),
    ),
    "a transfer deleted": (
        "delete from transfers where chain = 1 and seq = 2",
        snapshot(
            [
                "transfer 3 of chain 1 follows number 1",
                "transfer 3 of chain 1 does not have the hash of what it says and of what came before",
                "account lease:1: posted debits are kept as 19000000000, its transfers say 13000000000",
                "account payable:openai:1: posted credits are kept as 10000000000, its transfers say 4000000000",
                "call: recorded as 7000000000 nano-USD, its transfers say 1000000000",
            ]
        ),
    ),
    "the last transfer deleted": (
        "delete from transfers where chain = 1 and seq = 4",
        snapshot(
            [
                "chain 1 ends with number 3, and its head says 4",
                "account lease:1: pending debits are kept as 2000000000, its transfers say 0",
                "account payable:openai:1: pending credits are kept as 2000000000, its transfers say 0",
            ]
        ),
    ),
    "a transfer added": (
        "insert into transfers select tenant, chain, 5, substr(hash, 1, 16), debit_account, credit_account, 1,"
        " 1, 4, event_us, '', 0, 1, hash from transfers where chain = 1 and seq = 1",
        snapshot(
            [
                "transfer 5 of chain 1 does not have the hash of what it says and of what came before",
                "chain 1 ends with number 5, and its head says 4",
                "account lease:1: posted debits are kept as 19000000000, its transfers say 19000000001",
                "account payable:openai:1: posted credits are kept as 10000000000, its transfers say 10000000001",
                "call: recorded as 0 nano-USD, its transfers say 1",
            ]
        ),
    ),
    "two transfers exchanged": (
        "update transfers set seq = case seq when 1 then 102 else 101 end where chain = 1 and seq in (1, 2);"
        " update transfers set seq = seq - 100 where seq > 100",
        snapshot(
            [
                "transfer 1 of chain 1 does not have the hash of what it says and of what came before",
                "transfer 2 of chain 1 does not have the hash of what it says and of what came before",
                "transfer 3 of chain 1 does not have the hash of what it says and of what came before",
            ]
        ),
    ),
    "a chain's head": (
        "update chains set hash = decode(repeat('11', 32), 'hex') where chain = 1",
        snapshot(["chain 1 ends with another hash than its head says"]),
    ),
    "a chain deleted": (
        "delete from chains where chain = 1",
        snapshot(
            [
                "4 transfers belong to no chain",
                "account overage: posted debits are kept as 1000000000, its transfers say 0",
                "account lease:1: pending debits are kept as 2000000000, its transfers say 0",
                "account lease:1: posted debits are kept as 19000000000, its transfers say 10000000000",
                "account payable:openai:1: pending credits are kept as 2000000000, its transfers say 0",
                "account payable:openai:1: posted credits are kept as 10000000000, its transfers say 0",
            ]
        ),
    ),
    "a balance": (
        "update accounts set credits_posted = credits_posted + 7 where name like 'budget:%'",
        snapshot(
            [
                "account budget:bud:total: posted credits are kept as 110000000007, its transfers say 110000000000",
                "unit 1: posted debits are 170000000000 and credits 170000000007",
                "account budget:bud:total: its history does not end with its balance",
            ]
        ),
    ),
    "two balances that cancel out": (
        "update accounts set credits_posted = credits_posted + 7 where name in ('grants', 'payable:openai:1');"
        " update accounts set debits_posted = debits_posted + 14 where code = 3100",
        snapshot(
            [
                "account grants: posted debits are kept as 100000000014, its transfers say 100000000000",
                "account grants: posted credits are kept as 7, its transfers say 0",
                "account payable:openai:1: posted credits are kept as 10000000007, its transfers say 10000000000",
                "account grants: its history does not end with its balance",
                "account payable:openai:1: its history does not end with its balance",
            ]
        ),
    ),
    "an account deleted": (
        "delete from accounts where name like 'payable:openai%'",
        snapshot(
            [
                "transfer 1 of chain 1 names account 6, which does not exist",
                "transfer 2 of chain 1 names account 6, which does not exist",
                "transfer 3 of chain 1 names account 6, which does not exist",
                "transfer 4 of chain 1 names account 6, which does not exist",
                "account overage: posted debits are kept as 1000000000, its transfers say 0",
                "account lease:1: pending debits are kept as 2000000000, its transfers say 0",
                "account lease:1: posted debits are kept as 19000000000, its transfers say 10000000000",
                "unit 1: pending debits are 2000000000 and credits 0",
                "unit 1: posted debits are 170000000000 and credits 160000000000",
                "unit 1: at some moment the history moves 12000000000 debits and 0 credits",
                "call: recorded as 7000000000 nano-USD, its transfers say 0",
                "call: recorded as 3000000000 nano-USD, its transfers say 0",
            ]
        ),
    ),
    "a budget's hold": (
        "update transfers set amount_nano = 1 where kind = 2",
        snapshot(
            [
                "transfer 4 of chain 1 does not have the hash of what it says and of what came before",
                "account lease:1: pending debits are kept as 2000000000, its transfers say 1",
                "account payable:openai:1: pending credits are kept as 2000000000, its transfers say 1",
            ]
        ),
    ),
    "what a call cost": (
        "update calls set cost_nano = cost_nano - 1 where call_id = (select min(call_id) from calls)",
        snapshot(["call: recorded as 6999999999 nano-USD, its transfers say 7000000000"]),
    ),
    "a call deleted": (
        "delete from calls where call_id = (select min(call_id) from calls)",
        snapshot(["call: recorded as 0 nano-USD, its transfers say 7000000000"]),
    ),
    "a call that never was": (
        "insert into calls select (jsonb_populate_record(calls, jsonb_build_object("
        "'call_id', '\\x' || repeat('e0', 16)))).* from calls where cost_nano = 3000000000",
        snapshot(["call: recorded as 3000000000 nano-USD, its transfers say 0"]),
    ),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_behind_the_books_back_is_found(connection: Connection, shop: Shop, what: str) -> None:
    change, found = CHANGES[what]
    await tamper(connection, change)
    seen = await findings(connection, shop)
    assert seen
    assert seen == found


ROW = "tenant, 9, 1, {id}, {accounts}, {amount}, 1, 4, 0, '', 0, 1, hash"
"""A transfer in a chain of its own."""


@pytest.mark.parametrize(
    "change",
    [
        "update accounts set debits_posted = credits_posted + 1 where limited",
        "update accounts set debits_posted = -1",
        ROW.format(id="transfer_id", accounts="1, 2", amount=1),  # an id that is taken
        ROW.format(id="hash", accounts="1, 2", amount=1),  # an id that is none
        ROW.format(id="substr(hash, 1, 16)", accounts="1, 1", amount=1),  # to itself
        ROW.format(id="substr(hash, 1, 16)", accounts="1, 2", amount=-1),
    ],
)
async def test_the_tables_refuse_what_can_never_be(connection: Connection, shop: Shop, change: str) -> None:
    if change.startswith("tenant"):
        change = f"insert into transfers select {change} from transfers limit 1"
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await connection.execute(change)


async def test_every_finding_is_reported_at_once(connection: Connection, shop: Shop) -> None:
    await tamper(connection, "update transfers set amount_nano = amount_nano + 1 where chain = 1 and seq = 1")
    await tamper(connection, "delete from calls where cost_nano = 7000000000")
    assert len(await findings(connection, shop)) == 5
