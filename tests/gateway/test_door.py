"""Connections are bounded in all and by address; whose key is known may send large bodies."""

import pytest

from bursar.gateway.connection import Headers
from bursar.gateway.door import Door

HERE = ("127.0.0.1", 5)
THERE = ("203.0.113.9", 5)


def door(connections_max: int = 100, per_address_max: int = 100) -> Door:
    return Door(connections_max, per_address_max, lambda secret: secret == "bk_known")


def test_one_address_gets_its_share_and_leaves_the_rest_to_others() -> None:
    crowded = door(per_address_max=2)
    assert [crowded.enter(THERE) for _ in range(3)][:2] == [None, None]
    assert "your address" in (crowded.enter(THERE) or "")
    assert crowded.enter(("203.0.113.10", 5)) is None
    assert crowded.enter(("2001:db8::1", 5)) is None


@pytest.mark.parametrize("peer", [HERE, ("::1", 5), ("127.8.8.8", 5), None])
def test_this_machine_is_bounded_by_the_total_alone(peer: tuple[str, int] | None) -> None:
    full = door(connections_max=3, per_address_max=1)
    assert [full.enter(peer) for _ in range(3)] == [None] * 3
    assert "this server" in (full.enter(peer) or "")


def test_who_leaves_makes_room_also_who_was_refused() -> None:
    crowded = door(connections_max=10, per_address_max=1)
    assert crowded.enter(THERE) is None
    assert crowded.enter(THERE) is not None
    crowded.leave(THERE)
    crowded.leave(THERE)
    assert crowded.enter(THERE) is None
    for _ in range(20):  # nothing is left over of many that came and went
        crowded.leave(THERE)
        assert crowded.enter(THERE) is None


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ([(b"authorization", b"Bearer bk_known")], True),
        ([(b"x-api-key", b"bk_known")], True),
        ([(b"authorization", b"Bearer bk_known"), (b"authorization", b"Bearer bk_other")], False),
        ([(b"authorization", b"Basic bk_known")], False),
        ([], False),
    ],
)
def test_a_known_key_is_found_where_a_call_brings_it(headers: Headers, known: bool) -> None:
    assert door().knows(headers) is known
