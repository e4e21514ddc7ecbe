"""A chain shows every change to what it covers, and can be computed with other tools."""

import hashlib
from typing import Any

import msgspec
import pytest

from bursar.ledger.chain import GENESIS, link
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import Kind, Reason, Transfer

MOVED = Transfer(b"\x0a" * 16, 3, 4, 125, Kind.post_hold, Reason.call, 1_700, b"\x0b" * 16, 200)


def test_a_link_is_the_hash_an_auditor_computes() -> None:
    text = "2|" + "0a" * 16 + "|3|4|125|3|4|1700|" + "0b" * 16 + "|200|1"
    assert link(GENESIS, 2, MOVED) == hashlib.sha256(bytes(32) + text.encode()).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"transfer_id": b"\x0c" * 16},
        {"debit_account": 5},
        {"credit_account": 5},
        {"amount_nano": 126},
        {"kind": Kind.post},
        {"reason": Reason.correction},
        {"event_us": 1_701},
        {"hold_id": b""},
        {"held_nano": 201},
        {"unit": Unit.credit},
    ],
)
def test_a_change_to_any_field_changes_the_link(change: dict[str, Any]) -> None:
    assert link(GENESIS, 2, msgspec.structs.replace(MOVED, **change)) != link(GENESIS, 2, MOVED)


def test_a_link_depends_on_its_place_and_on_what_came_before() -> None:
    assert link(GENESIS, 3, MOVED) != link(GENESIS, 2, MOVED)
    assert link(b"\1" * 32, 2, MOVED) != link(GENESIS, 2, MOVED)


def test_every_field_of_a_transfer_is_covered() -> None:
    changed = {"transfer_id", "debit_account", "credit_account", "amount_nano", "kind", "reason", "event_us"}
    assert set(Transfer.__struct_fields__) == changed | {"hold_id", "held_nano", "unit"}


def test_digits_cannot_move_from_one_field_to_the_next() -> None:
    one = msgspec.structs.replace(MOVED, debit_account=1, credit_account=23)
    two = msgspec.structs.replace(MOVED, debit_account=12, credit_account=3)
    assert link(GENESIS, 1, one) != link(GENESIS, 1, two)
