"""Who calls: keys on a real database, and their scopes."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bursar.budgets.budget import UNLIMITED, Budget, Terms, Window
from bursar.budgets.tree import Holder, Path
from bursar.core.addresses import read_address
from bursar.core.errors import Forbidden, Refusal, Unauthorized, Unavailable
from bursar.core.money import NANO_PER_USD
from bursar.gateway import identify
from bursar.gateway.control import Control
from bursar.gateway.identify import Keys, check_address, check_reader, check_scope
from bursar.store.database import Connection
from bursar.store.keys import Key, Scope, create_key, revoke_key, rotate_key
from tests.store.bookkeeping import set_budget

NOW = 1_000_000
CHAT = "/v1/chat/completions"
DOLLAR = Terms(NANO_PER_USD, Window.total)
OWNER = Holder("bud_1", 1, "ana", "key", (Budget("bud_1", 1, UNLIMITED, "ana"),))
GUESS = "bk_" + "g" * 43
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
            await desk.keys.ask(GUESS)
    assert asked == 1


async def test_when_the_database_is_away_a_new_key_cannot_be_checked_which_is_no_refusal_of_it(desk: Desk) -> None:
    await desk.control.close()
    with pytest.raises(Unavailable) as caught:
        await desk.keys.ask(GUESS)
    assert caught.value.retry_after_s == 1


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "bk_",
        "bk_short",
        "sk-" + "g" * 43,
        "bk_" + "g" * 42,
        "bk_" + "g" * 44,
        "bk_" + "g" * 42 + "é",
        "ba_" + "g" * 43,
    ],
)
async def test_what_has_not_the_form_of_a_secret_is_refused_without_asking(desk: Desk, secret: str) -> None:
    await desk.control.close()  # asking would say that the database is away
    with pytest.raises(Unauthorized, match="bursar keys create"):
        await desk.keys.ask(secret)


async def test_guessing_asks_the_database_no_more_often_than_the_pace_allows(
    desk: Desk, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = await create_key(connection, "ana", DOLLAR, Scope(), NOW)
    await desk.keys.load()
    monkeypatch.setattr(identify.time, "monotonic", lambda: 100.0)
    before = desk.control.round_trips
    outcomes: list[str] = []
    for number in range(200):
        with pytest.raises(Refusal) as caught:
            await desk.keys.ask(f"bk_{number:043d}")
        outcomes.append(caught.value.code)
    assert outcomes == ["invalid_api_key"] * 50 + ["too_many_requests"] * 150
    assert desk.control.round_trips - before == 50
    assert (await desk.keys.ask(secret)).name == "ana"  # who is known is not held up


async def test_a_rotated_key_is_found_by_both_secrets_and_the_old_one_says_when_it_ends(
    desk: Desk, connection: Connection
) -> None:
    key, old = await create_key(connection, "ana", DOLLAR, Scope(), NOW)
    assert await desk.keys.ask(old) == key
    rotated, new = await rotate_key(connection, "ana", 100, NOW)
    await desk.keys.load()
    assert desk.keys.find(old) is None  # what was remembered of it is not so any more
    assert (await desk.keys.ask(new)) == rotated
    assert (await desk.keys.ask(old)).ends_us == NOW + 100
    assert (await desk.keys.ask(old)).key_id == key.key_id == rotated.key_id
    check_scope(await desk.keys.ask(old), "m", CHAT, NOW + 99)
    check_scope(await desk.keys.ask(new), "m", CHAT, NOW + 100)
    with pytest.raises(Unauthorized, match="was replaced: use the new one"):
        check_scope(await desk.keys.ask(old), "m", CHAT, NOW + 100)


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        ((), "203.0.113.9", True),
        ((), None, True),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("10.0.0.0/8", "::1/128"), "::1", True),
        (("10.0.0.0/8",), "::1", False),
        (("2001:db8::/32",), "2001:db8:1::5", True),
        (("2001:db8::/32",), "2001:db9::5", False),
        (("10.0.0.0/8",), None, False),
    ],
)
def test_a_key_is_used_from_where_it_may_be(networks: tuple[str, ...], address: str | None, allowed: bool) -> None:
    key = msgspec.structs.replace(KEY, addresses=networks)
    seen = None if address is None else read_address(address)
    if allowed:
        check_address(key, seen)
        return
    with pytest.raises(Forbidden) as caught:
        check_address(key, seen)
    assert caught.value.code == "address_not_allowed"


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
        ({"ends_us": NOW + 1}, None, ""),
        ({"ends_us": NOW}, Unauthorized, "key_replaced"),
        ({"models": ("*",)}, None, ""),
        ({"models": ("gpt-4o", "m*")}, None, ""),
        ({"models": ("ma*",)}, Forbidden, "out_of_scope"),
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


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        ((), "203.0.113.9", True),
        ((), "", True),
        (("127.0.0.1/32", "10.0.0.0/8"), "10.9.8.7", True),
        (("127.0.0.1/32", "10.0.0.0/8"), "203.0.113.9", False),
        (("127.0.0.1/32",), "", False),
    ],
)
def test_metrics_are_read_from_where_the_operator_says(networks: tuple[str, ...], address: str, allowed: bool) -> None:
    if allowed:
        check_reader(networks, read_address(address))
        return
    with pytest.raises(Forbidden, match=r"see gateway\.metrics_from") as caught:
        check_reader(networks, read_address(address))
    assert caught.value.code == "address_not_allowed"
