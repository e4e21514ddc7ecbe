"""Idempotency by itself: what is kept, what is forgotten, who waits for whom."""

import asyncio

import pytest

from bursar.core.errors import Conflict
from bursar.core.times import DAY_US
from bursar.gateway.idempotency import Idempotency, Replay

CALL, OTHER = b"\1" * 16, b"\2" * 16
BODY, OTHER_BODY = b"a" * 32, b"b" * 32
NOW = 5 * DAY_US


def answer(size: int = 10) -> Replay:
    return Replay(200, [], b"x" * size)


def begin(known: Idempotency, name: bytes = b"n", body: bytes = BODY, at_us: int = NOW, call: bytes = CALL):
    return known.begin("key_1", name, body, call, at_us)


async def test_who_comes_first_makes_the_call_and_the_next_gets_its_answer() -> None:
    known = Idempotency(1_000)
    assert begin(known) is None
    entry = begin(known, call=OTHER)
    assert entry is not None
    waiting = asyncio.create_task(known.wait(entry))
    await asyncio.sleep(0)
    assert not waiting.done()
    known.end("key_1", b"n", answer(), charged=True)
    replay = await waiting
    assert replay is not None
    assert (entry.call_id, replay.body) == (CALL, b"x" * 10)


async def test_who_waited_for_a_call_that_was_not_charged_makes_it() -> None:
    known = Idempotency(1_000)
    begin(known)
    entry = begin(known)
    assert entry is not None
    known.end("key_1", b"n", answer(), charged=False)
    assert await known.wait(entry) is None
    assert begin(known) is None


def test_another_body_conflicts_and_another_client_does_not() -> None:
    known = Idempotency(1_000)
    begin(known)
    with pytest.raises(Conflict, match="another body"):
        begin(known, body=OTHER_BODY)
    assert known.begin("key_2", b"n", OTHER_BODY, OTHER, NOW) is None


async def test_an_answer_that_was_let_go_is_a_conflict_that_names_the_charged_call() -> None:
    known = Idempotency(25)
    for name in (b"1", b"2", b"3"):
        begin(known, name)
        known.end("key_1", name, answer(10), charged=True)
    oldest, newest = begin(known, b"1"), begin(known, b"3")
    assert oldest is not None
    assert newest is not None
    with pytest.raises(Conflict, match="call_" + CALL.hex()) as caught:
        await known.wait(oldest)
    assert caught.value.code == "idempotency_answer_gone"
    assert await known.wait(newest) is not None


async def test_an_answer_larger_than_all_that_is_kept_is_let_go_at_once() -> None:
    known = Idempotency(25)
    begin(known)
    known.end("key_1", b"n", answer(26), charged=True)
    entry = begin(known)
    assert entry is not None
    with pytest.raises(Conflict):
        await known.wait(entry)


@pytest.mark.parametrize(("later_us", "first_again"), [(DAY_US, False), (DAY_US + 1, True)])
def test_a_key_is_free_again_after_a_day(later_us: int, first_again: bool) -> None:
    known = Idempotency(1_000)
    begin(known)
    known.end("key_1", b"n", answer(), charged=True)
    assert (begin(known, at_us=NOW + later_us) is None) is first_again


def test_what_was_forgotten_makes_room() -> None:
    known = Idempotency(25)
    for day in range(10):
        name = str(day).encode()
        assert begin(known, name, at_us=NOW + day * 2 * DAY_US) is None
        known.end("key_1", name, answer(20), charged=True)
        entry = begin(known, name, at_us=NOW + day * 2 * DAY_US)
        assert entry is not None
        assert entry.replay is not None
