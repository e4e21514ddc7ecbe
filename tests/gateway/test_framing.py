"""A stream framed as one JSON array is valid JSON, wherever its bytes are cut and whatever else is in it."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.gateway.framing import ArrayFraming
from bursar.wires.sse import comment_bytes, event_bytes


def framed(pieces: list[bytes], headers: list[tuple[bytes, bytes]] | None = None) -> tuple[dict[str, Any], bytes, int]:
    """Send pieces of a stream through; return the head, the whole body, and how many messages ended it."""
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def work() -> None:
        framing = ArrayFraming(send)
        await framing.send({"type": "http.response.start", "status": 200, "headers": headers or []})
        for piece in pieces:
            await framing.send({"type": "http.response.body", "body": piece, "more_body": True})
        await framing.send({"type": "http.response.body", "body": b"", "more_body": False})

    asyncio.run(work())
    head, *bodies = messages
    return head, b"".join(each["body"] for each in bodies), sum(not each["more_body"] for each in bodies)


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2), max_size=5),
    st.lists(st.integers(0, 200), max_size=8),
    st.sampled_from([b"\n\n", b"\r\n\r\n"]),
)
def test_an_array_has_each_events_data_wherever_the_stream_is_cut(values: Any, cuts: list[int], end: bytes) -> None:
    events = [event_bytes(json.dumps(value).encode()).replace(b"\n\n", end) for value in values]
    stream = b"".join(event + comment_bytes("aside") for event in events)
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[first:last] for first, last in itertools.pairwise(bounds)]
    _, body, ends = framed(pieces)
    assert json.loads(body) == values
    assert ends == 1


def test_a_piece_that_is_no_whole_event_is_left_out() -> None:
    assert framed([b'data: {"a":1}\n\ndata: {"b"'])[1] == b'[{"a":1}]'


@pytest.mark.parametrize("pieces", [[], [b": aside\n\n"], [b"event: ping\n\n"]])
def test_a_stream_of_nothing_is_an_empty_array(pieces: list[bytes]) -> None:
    assert framed(pieces)[1] == b"[]"


def test_the_head_says_json_and_keeps_all_else() -> None:
    head, _, _ = framed([], [(b"content-type", b"text/event-stream"), (b"x-bursar-call-id", b"call_1")])
    assert head["headers"] == [(b"content-type", b"application/json"), (b"x-bursar-call-id", b"call_1")]
