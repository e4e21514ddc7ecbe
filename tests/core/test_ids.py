"""Ids sort by time, differ, and lead from call to transfer and back."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.ids import (
    EXTRA,
    HOLD,
    OVERAGE,
    POST,
    POSTS_MAX,
    VOID,
    IdSource,
    call_id_from_name,
    call_name,
    call_of_transfer,
    first_id_at,
    id_time_ms,
    transfer_id,
)

NUMBERS = (HOLD, OVERAGE, EXTRA, VOID, *range(POST, POST + POSTS_MAX))
times = st.integers(0, 2**48 - 1)


@given(times, st.integers(0, 2**64))
def test_an_id_knows_its_time_and_is_a_uuid_of_version_7(now_ms: int, node: int) -> None:
    name = IdSource(node).next(now_ms)
    assert id_time_ms(name) == now_ms
    assert UUID(bytes=name).version == 7
    assert first_id_at(now_ms) <= name < first_id_at(now_ms + 1) if now_ms < 2**48 - 1 else True


@given(times, st.sampled_from(NUMBERS))
def test_a_transfer_leads_back_to_its_call(now_ms: int, number: int) -> None:
    call_id = IdSource(7).next(now_ms)
    assert call_of_transfer(transfer_id(call_id, number)) == call_id
    assert transfer_id(call_id, number) != call_id


def test_ids_of_one_node_differ_within_a_millisecond_also_across_the_counters_turn() -> None:
    source = IdSource(5, counter=2**22 - 500)
    names = [source.next(1_700_000_000_000) for _ in range(1_000)]
    assert len(set(names)) == 1_000
    transfers = {transfer_id(name, number) for name in names for number in NUMBERS}
    assert len(transfers) == 1_000 * len(NUMBERS)


def test_ids_of_two_nodes_differ() -> None:
    assert IdSource(1).next(5) != IdSource(2).next(5)


def test_names_are_read_back() -> None:
    name = IdSource(1).next(1_700_000_000_000)
    assert call_id_from_name(call_name(name)) == name


@pytest.mark.parametrize("text", ["", "call_", "call_12", "call_" + "g" * 32, "x" * 33])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        call_id_from_name(text)
