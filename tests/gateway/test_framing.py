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


class Kept:
    """Keep what is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def put(self, body: bytes, *, more: bool = True) -> bool:
        self.messages.append({"type": "http.response.body", "body": body, "more_body": more})
        return True


def framed(pieces: list[bytes], headers: list[tuple[bytes, bytes]] | None = None) -> tuple[dict[str, Any], bytes, int]:
    """Send pieces of a stream through, in either way; return the head, the body, and how many messages ended it."""
    kept = Kept()

    async def work() -> None:
        framing = ArrayFraming(kept)
        await framing.send({"type": "http.response.start", "status": 200, "headers": headers or []})
        for number, piece in enumerate(pieces):
            if number % 2:
                await framing.send({"type": "http.response.body", "body": piece, "more_body": True})
            else:
                assert framing.put(piece)
        framing.put(b"", more=False)

    asyncio.run(work())
    head, *bodies = kept.messages
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
