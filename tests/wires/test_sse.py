"""Events are split at blank lines, wherever the chunks are cut, and keep their bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wires.sse import EVENT_BYTES_MAX, EventSplitter, EventTooLarge, comment_bytes, event_bytes, event_data

line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
texts = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=30).map(str.encode)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    """Draw events with one kind of line end each, and places to cut their stream."""
    events: list[bytes] = []
    for _ in range(draw(st.integers(0, 8))):
        end = draw(line_ends)
        names = st.sampled_from([b"data: ", b"event: ", b": ", b"id:"])
        lines = draw(st.lists(st.tuples(names, texts), min_size=1, max_size=4))
        events.append(b"".join(name + text + end for name, text in lines) + end)
    size = sum(map(len, events))
    return events, sorted(draw(st.lists(st.integers(0, size), max_size=12)))


@given(streams())
def test_any_cut_of_a_stream_gives_the_same_events(case: tuple[list[bytes], list[int]]) -> None:
    events, cuts = case
    stream = b"".join(events)
    splitter = EventSplitter()
    seen: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        seen += splitter.feed(stream[start:end])
    # A final lone "\r" may be half of "\r\n": the event is held until more comes.
    seen += splitter.feed(b":") if splitter.rest.endswith(b"\r") else []
    assert b"".join(seen) + splitter.rest == stream + (b":" if seen and splitter.rest == b":" else b"")
    assert seen == events


@given(st.binary(max_size=300), st.integers(1, 7))
def test_arbitrary_bytes_never_hang_and_nothing_is_lost(data: bytes, step: int) -> None:
    splitter = EventSplitter()
    seen = b"".join(b"".join(splitter.feed(data[at : at + step])) for at in range(0, len(data), step))
    assert seen + splitter.rest == data


def test_an_event_may_not_grow_without_bound() -> None:
    splitter = EventSplitter()
    splitter.feed(b"x" * EVENT_BYTES_MAX)
    with pytest.raises(EventTooLarge):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: [DONE]\n\n", b"[DONE]"),
        (b"data:{}\n\n", b"{}"),
        (b"event: ping\ndata: {}\n\n", b"{}"),
        (b"data: a\r\ndata: b\r\n\r\n", b"a\nb"),
        (b": comment\n\n", b""),
        (b"id: 1\n\n", b""),
    ],
)
def test_the_data_of_an_event(event: bytes, data: bytes) -> None:
    assert event_data(event) == data


def test_what_is_framed_is_read_back() -> None:
    assert event_data(event_bytes(b'{"a":1}', "delta")) == b'{"a":1}'
    assert event_data(comment_bytes("bursar cost_usd=0.1")) == b""
    assert EventSplitter().feed(event_bytes(b"x") + comment_bytes("y")) == [event_bytes(b"x"), comment_bytes("y")]
