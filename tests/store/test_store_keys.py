"""Keys are shown once and stored hashed; each has a budget that can be changed and looked at."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from bookkeeping import NOW_US, USD, set_budget

from bursar.budgets.budget import UNLIMITED, Budget, Terms, Window
from bursar.budgets.purse import Ask
from bursar.budgets.tree import Holder, Path
from bursar.core.errors import NotThere, OperatorError
from bursar.core.times import from_datetime
from bursar.ledger.chart import Unit
from bursar.store.database import Connection, connect
from bursar.store.holders import TENANT, BudgetState, budget_states
from bursar.store.keys import (
    Key,
    Replaced,
    Scope,
    all_keys,
    create_key,
    is_key,
    key_by_digest,
    revoke_key,
    rotate_key,
    secret_digest,
)
from bursar.store.leases import id_of, open_lease

DAILY = Terms(5 * USD, Window.day)


async def test_a_key_is_read_back_as_it_was_created(connection: Connection) -> None:
    scope = Scope(("gpt-4o-mini",), ("/v1/messages",), {"team": "search"}, 256, NOW_US + 5)
    key, secret = await create_key(connection, "app", DAILY, scope, NOW_US)
    owner = key.holder.holder_id
    holder = Holder(owner, TENANT, "app", "key", (Budget(owner, TENANT, DAILY, "app"),))
    assert key == Key(
        TENANT,
        key.key_id,
        "app",
        secret_digest(secret),
        Path((holder,), ()),
        NOW_US,
        ("gpt-4o-mini",),
        ("/v1/messages",),
        {"team": "search"},
        256,
        NOW_US + 5,
    )
    assert await all_keys(connection) == [key]
    assert await key_by_digest(connection, secret_digest(secret)) == key
    assert await key_by_digest(connection, secret_digest(secret + "x")) is None


async def test_secrets_are_long_differ_and_are_stored_nowhere(connection: Connection) -> None:
    secrets = [(await create_key(connection, f"app {n}", DAILY, Scope(), NOW_US))[1] for n in range(20)]
    assert len(set(secrets)) == 20
    assert all(secret.startswith("bk_") and len(secret) == 46 and secret[3:].isalnum() for secret in secrets)
    tables = " union all ".join(f"select {name}::text as text from {name}" for name in ("keys", "holders", "budgets"))
    stored = " ".join(row["text"] for row in await connection.fetch(tables))
    assert not any(secret in stored or secret[3:] in stored for secret in secrets)


async def test_a_name_is_given_once_and_a_refusal_leaves_nothing(connection: Connection) -> None:
    await create_key(connection, "app", DAILY, Scope(), NOW_US)
    with pytest.raises(OperatorError, match="'app' exists already: choose another name"):
        await create_key(connection, "app", DAILY, Scope(), NOW_US)
    for table in ("keys", "holders", "budgets"):
        assert await connection.fetchval(f"select count(*) from {table}") == 1


async def test_a_revoked_key_stays_with_the_moment_of_its_end(connection: Connection) -> None:
    key, _ = await create_key(connection, "app", DAILY, Scope(), NOW_US)
    assert await revoke_key(connection, "app", NOW_US + 1) == key.key_id
    assert await revoke_key(connection, key.key_id, NOW_US + 2) == key.key_id
    (revoked,) = await all_keys(connection)
    assert revoked.revoked_us == NOW_US + 1


async def test_a_rotated_key_stays_itself_with_a_new_secret_and_the_old_one_for_a_while(connection: Connection) -> None:
    scope = Scope(("gpt-4o*",), tags={"team": "search"}, addresses=("10.0.0.0/8",))
    key, old = await create_key(connection, "app", DAILY, scope, NOW_US)
    rotated, new = await rotate_key(connection, "app", 1_000, NOW_US + 5)
    assert old != new
    former = Replaced(secret_digest(old), NOW_US + 5, NOW_US + 1_005)
    assert rotated == msgspec.structs.replace(key, sha256=secret_digest(new), replaced=(former,))
    assert await key_by_digest(connection, secret_digest(old)) == msgspec.structs.replace(
        rotated, ends_us=NOW_US + 1_005
    )
    assert await is_key(connection, secret_digest(old))
    assert await is_key(connection, secret_digest(new))


async def test_no_secret_outlives_the_overlap_of_a_later_rotation(connection: Connection) -> None:
    await create_key(connection, "app", DAILY, Scope(), NOW_US)
    await rotate_key(connection, "app", 1_000, NOW_US)
    await rotate_key(connection, "app", 5_000, NOW_US + 1)
    key, _ = await rotate_key(connection, "app", 0, NOW_US + 2)
    assert [each.ends_us for each in key.replaced] == [NOW_US + 2, NOW_US + 2, NOW_US + 2]
    assert key.status_at(NOW_US + 2) == "active"
    assert [found.status_at(NOW_US + 2) for found in key.by_digest().values()].count("replaced") == 3


async def test_only_a_key_that_is_valid_is_rotated(connection: Connection) -> None:
    await create_key(connection, "short", DAILY, Scope(expires_us=NOW_US + 1), NOW_US)
    await create_key(connection, "gone", DAILY, Scope(), NOW_US)
    await revoke_key(connection, "gone", NOW_US)
    for name, word in (("short", "expired"), ("gone", "revoked")):
        with pytest.raises(OperatorError, match=f"key '{name}' is {word}"):
            await rotate_key(connection, name, 0, NOW_US + 1)
    with pytest.raises(NotThere):
        await rotate_key(connection, "nobody", 0, NOW_US)
    assert await connection.fetchval("select count(*) from replaced_secrets") == 0


async def test_revoking_ends_all_secrets_of_a_key(connection: Connection) -> None:
    _, old = await create_key(connection, "app", DAILY, Scope(), NOW_US)
    _, new = await rotate_key(connection, "app", 1_000, NOW_US)
    await revoke_key(connection, "app", NOW_US + 1)
    for secret in (old, new):
        found = await key_by_digest(connection, secret_digest(secret))
        assert found is not None
        assert found.status_at(NOW_US + 1) == "revoked"


async def test_an_unknown_key_is_named(connection: Connection) -> None:
    with pytest.raises(OperatorError, match="no key named 'app': see `bursar keys list`"):
        await revoke_key(connection, "app", 1)
    with pytest.raises(OperatorError, match="no budget or key named 'app': see `bursar budget show`"):
        await set_budget(connection, "app", DAILY, NOW_US)


async def test_what_a_key_costs_is_always_counted_first_of_its_budgets(connection: Connection) -> None:
    requests, tokens = Terms(10, Window.minute, Unit.request), Terms(99, Window.day, Unit.token)
    key, _ = await create_key(connection, "app", [tokens, requests], Scope(), NOW_US)
    assert [budget.terms for budget in key.holder.budgets] == [UNLIMITED, requests, tokens]
    assert key.budget.budget_id == key.holder.holder_id
    both, _ = await create_key(connection, "both", [tokens, DAILY], Scope(), NOW_US)
    assert [budget.terms for budget in both.holder.budgets] == [DAILY, tokens]


async def test_a_key_stands_below_whoever_it_is_of(connection: Connection) -> None:
    top, _ = await create_key(connection, "top", DAILY, Scope(), NOW_US)
    key, _ = await create_key(connection, "app", DAILY, Scope(), NOW_US, "top")
    assert [holder.name for holder in key.path.holders] == ["app", "top"]
    assert sorted(await all_keys(connection), key=lambda each: each.name) == [key, top]
    with pytest.raises(OperatorError, match="no budget or key named 'nobody'"):
        await create_key(connection, "lost", DAILY, Scope(), NOW_US, "nobody")
    assert await connection.fetchval("select count(*) from holders") == 2


async def test_every_change_is_announced(connection: Connection, database_url: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await connect(database_url)
    await listener.add_listener("bursar_changed", lambda *args: heard.put_nowait(str(args[3])))
    key, _ = await create_key(connection, "app", DAILY, Scope(), NOW_US)
    await set_budget(connection, "app", Terms(1, Window.total), NOW_US)
    await revoke_key(connection, "app", NOW_US)
    named, owner = f"key:{key.key_id}", f"holder:{key.holder.holder_id}"
    assert [await asyncio.wait_for(heard.get(), 5) for _ in range(4)] == [owner, named, owner, named]
    await listener.close()


async def test_a_budget_changes_by_name_or_id_and_keeps_its_id(connection: Connection) -> None:
    key, _ = await create_key(connection, "app", DAILY, Scope(), NOW_US)
    by_name = await set_budget(connection, "app", Terms(7, Window.month), NOW_US)
    assert by_name == Budget(key.budget.budget_id, TENANT, Terms(7, Window.month), "app")
    by_id = await set_budget(connection, key.key_id, Terms(None, Window.total), NOW_US)
    assert (await all_keys(connection))[0].budget == by_id == Budget(key.budget.budget_id, TENANT, UNLIMITED, "app")


async def test_the_state_of_budgets_is_told_in_the_order_asked(connection: Connection) -> None:
    keys = [(await create_key(connection, name, DAILY, Scope(), NOW_US))[0] for name in ("used", "fresh")]
    await open_lease(connection, Ask(keys[0].budget, 1_000, 1_000), 1, id_of("a"), NOW_US)
    midnight = from_datetime(datetime(2026, 11, 22, tzinfo=UTC))
    used = BudgetState(keys[0].budget, "2026-11-21", midnight, 0, 0, 1_000, 0, 0)
    fresh = BudgetState(keys[1].budget, "2026-11-21", midnight, 0, 0, 0, 0, 0)
    assert await budget_states(connection, [keys[1].budget, keys[0].budget], NOW_US) == [fresh, used]
    assert used.left_nano == DAILY.limit_nano
    assert await budget_states(connection, [], NOW_US) == []
