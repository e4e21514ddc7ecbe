"""Measure how fast server-sent events are split, on the chunks a provider of chat completions sends."""

import statistics
import time
from collections.abc import Sequence

from bench.figures import Figure
from bench.stage import GATEWAY_CORE, on_core
from bursar.wires.sse import EventSplitter, event_data

_EVENTS = 40_000
_PIECE_BYTES = 16 * 1024  # what a socket gives under load
_EVENT = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini",'
    b'"system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{"content":" token %d"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)


def sse_rate(rounds: int) -> list[Figure]:
    """Measure megabytes a second: split alone, split with each event's data, and a call for each event."""
    events = [_EVENT % number for number in range(_EVENTS)]
    data = b"".join(events)
    pieces = [data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES)]
    with on_core(GATEWAY_CORE):
        split = [_rate(pieces, reads=False) for _ in range(rounds)]
        read = [_rate(pieces, reads=True) for _ in range(rounds)]
        single = [_rate(events, reads=False) for _ in range(rounds)]
    note = f"pieces of {_PIECE_BYTES // 1024} KiB, events of {len(data) // _EVENTS} bytes; with their data "
    note += f"{statistics.median(read):,.0f}; a piece for each event {statistics.median(single):,.0f}"
    return [Figure("gateway.sse_mb_per_s", round(statistics.median(split)), "MB/s", note=note)]


def _rate(pieces: Sequence[bytes], *, reads: bool) -> float:
    splitter, found = EventSplitter(), 0
    began_s = time.perf_counter()
    for piece in pieces:
        events = splitter.feed(piece)
        found += len([event_data(event) for event in events] if reads else events)
    seconds = time.perf_counter() - began_s
    assert found == _EVENTS
    return sum(len(piece) for piece in pieces) / seconds / 1e6
