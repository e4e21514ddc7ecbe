"""Who calls: keys on a real database, and their scopes."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bursar.budgets.budget import UNLIMITED, Budget, Terms, Window
from bursar.budgets.tree import Holder, Path
from bursar.core.errors import Forbidden, Refusal, Unauthorized, Unavailable
from bursar.core.money import NANO_PER_USD
from bursar.gateway import identify
from bursar.gateway.control import Control
from bursar.gateway.identify import Keys, check_scope
from bursar.store.database import Connection
from bursar.store.keys import Key, Scope, create_key, revoke_key
from tests.store.bookkeeping import set_budget

NOW = 1_000_000
CHAT = "/v1/chat/completions"
DOLLAR = Terms(NANO_PER_USD, Window.total)
OWNER = Holder("bud_1", 1, "ana", "key", (Budget("bud_1", 1, UNLIMITED, "ana"),))
KEY = Key(1, "key_1", "ana", bytes(32), Path((OWNER,), ()), 0)


class Desk:
    """Hold keys, and which budgets were reported as changed."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.changed: list[Budget] = []
        self.keys = Keys(control, self.changed.append)


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    control = Control(database_url, "gw_test", spool_is_new=True)
    await control.open(NOW)
    yield Desk(control)
    await control.close()


async def test_a_key_is_found_in_the_database_once_and_in_memory_ever_after(desk: Desk, connection: Connection) -> None:
    key, secret = await create_key(connection, "ana", DOLLAR, Scope(), NOW)
    assert desk.keys.find(secret) is None
    assert await desk.keys.ask(secret) == key
    await desk.control.close()
    assert desk.keys.find(secret) == key
    assert await desk.keys.ask(secret) == key


async def test_keys_are_known_after_loading_without_their_secrets(desk: Desk, connection: Connection) -> None:
    key, secret = await create_key(connection, "ana", DOLLAR, Scope(models=("gpt-4o",), tags={"a": "b"}), NOW)
    await desk.keys.load()
    await desk.control.close()
    assert await desk.keys.ask(secret) == key


async def test_an_unknown_secret_is_asked_for_once_a_while(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    look_up = identify.is_key

    async def counted(connection: Connection, digest: bytes) -> bool:
        nonlocal asked
        asked += 1
        return await look_up(connection, digest)

    monkeypatch.setattr(identify, "is_key", counted)
    for _ in range(5):
        with pytest.raises(Unauthorized, match="bursar keys create"):
            await desk.keys.ask("bk_guess")
    assert asked == 1


async def test_when_the_database_is_away_a_new_key_cannot_be_checked_which_is_no_refusal_of_it(desk: Desk) -> None:
    await desk.control.close()
    with pytest.raises(Unavailable) as caught:
        await desk.keys.ask("bk_new")
    assert caught.value.retry_after_s == 1


async def test_a_change_is_learned_by_loading_and_reported_once(desk: Desk, connection: Connection) -> None:
    _, secret = await create_key(connection, "ana", DOLLAR, Scope(), NOW)
    await desk.keys.ask(secret)
    await desk.keys.load()
    assert desk.changed == []
    await set_budget(connection, "ana", Terms(5 * NANO_PER_USD, Window.day), NOW)
    await desk.keys.load()
    await desk.keys.load()
    assert [budget.terms for budget in desk.changed] == [Terms(5 * NANO_PER_USD, Window.day)]
    await revoke_key(connection, "ana", NOW + 1)
    await desk.keys.load()
    assert (await desk.keys.ask(secret)).revoked_us == NOW + 1


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({}, None, ""),
        ({"models": ("gpt-4o", "m")}, None, ""),
        ({"routes": (CHAT,)}, None, ""),
        ({"expires_us": NOW + 1}, None, ""),
        ({"revoked_us": NOW + 1}, None, ""),
        ({"expires_us": NOW}, Unauthorized, "key_expired"),
        ({"revoked_us": NOW}, Unauthorized, "key_revoked"),
        ({"revoked_us": NOW, "models": ("x",)}, Unauthorized, "key_revoked"),
        ({"models": ("gpt-4o",)}, Forbidden, "out_of_scope"),
        ({"models": ("M",)}, Forbidden, "out_of_scope"),
        ({"routes": ("/v1/messages",)}, Forbidden, "out_of_scope"),
    ],
)
def test_a_scope_allows_what_it_names_and_nothing_else(
    changes: dict[str, Any], error: type[Refusal] | None, code: str
) -> None:
    key = msgspec.structs.replace(KEY, **changes)
    if error is None:
        check_scope(key, "m", CHAT, NOW)
        return
    with pytest.raises(error) as caught:
        check_scope(key, "m", CHAT, NOW)
    assert caught.value.code == code
    assert "'ana'" in str(caught.value)
