"""Each change leaves a line saying who, what and from where, without secrets; nobody can change it."""

import asyncpg
import pytest
from bookkeeping import NOW_US, USD

from bursar.budgets.budget import Terms, Window
from bursar.core.errors import NameTaken, OperatorError
from bursar.store.admins import create_admin, revoke_admin
from bursar.store.audit_log import act_as, audit_entries, note
from bursar.store.database import Connection, connect
from bursar.store.holders import (
    TENANT,
    Place,
    Policies,
    create_holder,
    move_money,
    set_budgets,
    set_frozen,
    set_policies,
)
from bursar.store.keys import Scope, create_key, revoke_key, rotate_key

TOTAL = Terms(5 * USD, Window.total)


async def actions(connection: Connection) -> list[tuple[str, str]]:
    return [(entry.action, entry.subject) for entry in reversed(await audit_entries(connection, TENANT))]


async def test_every_change_of_keys_and_budgets_leaves_its_line(connection: Connection) -> None:
    await act_as(connection, "ana", "command on desk")
    await create_key(connection, "app", TOTAL, Scope(("gpt-4o",)), NOW_US)
    async with connection.transaction():
        await create_holder(connection, "team", Place("team"), [TOTAL], NOW_US)
    await set_budgets(connection, "app", [Terms(7 * USD, Window.total)], NOW_US)
    await set_policies(connection, "app", Policies(depth_max=3))
    await set_frozen(connection, "app", NOW_US, frozen=True)
    await set_frozen(connection, "app", NOW_US, frozen=False)
    await move_money(connection, ("team", "app"), USD, bytes(16), NOW_US)
    await rotate_key(connection, "app", 1_000, NOW_US)
    await revoke_key(connection, "app", NOW_US)
    await create_admin(connection, "bob", None, NOW_US)
    await revoke_admin(connection, "bob", NOW_US)
    assert await actions(connection) == [
        ("budget.create", "app"),
        ("key.create", "app"),
        ("budget.create", "team"),
        ("budget.set", "app"),
        ("budget.policy", "app"),
        ("budget.freeze", "app"),
        ("budget.thaw", "app"),
        ("budget.move", "team"),
        ("key.rotate", "app"),
        ("key.revoke", "app"),
        ("admin.create", "bob"),
        ("admin.revoke", "bob"),
    ]
    entries = await audit_entries(connection, TENANT)
    found = {entry.action: entry for entry in entries}
    assert {(entry.actor, entry.origin) for entry in found.values()} == {("ana", "command on desk")}
    assert found["budget.set"].details == {"limits": ["7.00"], "before": ["5.00"]}
    assert found["budget.move"].details["amount_usd"] == "1.00"
    assert found["key.create"].details["models"] == ["gpt-4o"]
    assert [entry.at_us for entry in entries] == sorted((entry.at_us for entry in entries), reverse=True)


async def test_what_changes_nothing_leaves_no_line(connection: Connection) -> None:
    await create_key(connection, "app", TOTAL, Scope(), NOW_US)
    await create_admin(connection, "bob", None, NOW_US)
    for _ in range(2):
        await revoke_key(connection, "app", NOW_US)
        await revoke_admin(connection, "bob", NOW_US)
        await set_frozen(connection, "app", NOW_US, frozen=True)
    with pytest.raises(NameTaken):
        await create_admin(connection, "bob", None, NOW_US)
    with pytest.raises(OperatorError):
        await create_key(connection, "app", TOTAL, Scope(), NOW_US)
    lines = await actions(connection)
    assert len(lines) == len(set(lines)) == 6


async def test_a_change_that_fails_leaves_no_line(connection: Connection) -> None:
    change = connection.transaction()
    await change.start()
    await create_holder(connection, "team", Place("team"), [TOTAL], NOW_US)
    assert await actions(connection) == [("budget.create", "team")]
    await change.rollback()
    assert await actions(connection) == []


@pytest.mark.parametrize("owner", [False, True])
@pytest.mark.parametrize(
    "change", ["update audit_log set actor = 'nobody'", "delete from audit_log", "truncate audit_log"]
)
async def test_the_database_refuses_to_change_a_line(
    connection: Connection, database_url: str, change: str, owner: bool
) -> None:
    await create_key(connection, "app", TOTAL, Scope(), NOW_US)
    other = await connect(database_url, owner=owner)
    try:
        with pytest.raises((asyncpg.RestrictViolationError, asyncpg.InsufficientPrivilegeError)):
            await other.execute(change)
    finally:
        await other.close()
    assert len(await actions(connection)) == 2


async def test_no_line_and_no_table_holds_a_secret(connection: Connection) -> None:
    secrets = [(await create_key(connection, "app", TOTAL, Scope(), NOW_US))[1]]
    secrets.append((await rotate_key(connection, "app", 1_000, NOW_US))[1])
    secrets.append((await create_admin(connection, "bob", None, NOW_US))[1])
    tables = ("audit_log", "keys", "replaced_secrets", "admin_keys")
    stored = " ".join(
        row["text"]
        for row in await connection.fetch(
            " union all ".join(f"select {name}::text as text from {name}" for name in tables)
        )
    )
    assert "admin.create" in stored
    assert not any(secret in stored or secret[3:] in stored for secret in secrets)


async def test_who_does_not_say_who_they_are_is_named_by_their_role_in_the_database(connection: Connection) -> None:
    await create_key(connection, "app", TOTAL, Scope(), NOW_US)
    entries = await audit_entries(connection, TENANT)
    user = await connection.fetchval("select session_user")
    assert {(entry.actor, entry.origin) for entry in entries} == {(user, "database")}


async def test_lines_are_found_by_action_subject_and_place(connection: Connection) -> None:
    async with connection.transaction():
        for number in range(5):
            await note(connection, TENANT, "key.create", f"k{number}", {})
            await note(connection, TENANT, "budget.set", f"k{number}", {})
        await note(connection, TENANT + 1, "key.create", "of another", {})
    first = await audit_entries(connection, TENANT, action="key.", limit=2)
    assert [entry.subject for entry in first] == ["k4", "k3"]
    rest = await audit_entries(connection, TENANT, action="key.", before=first[-1].audit_id)
    assert [entry.subject for entry in rest] == ["k2", "k1", "k0"]
    assert [entry.action for entry in await audit_entries(connection, TENANT, subject="k0")] == [
        "budget.set",
        "key.create",
    ]
    assert await audit_entries(connection, TENANT, action="ey.") == []
