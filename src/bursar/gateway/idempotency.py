"""Make the same Idempotency-Key and body one call and one charge, within a day.

The answer is kept in memory, bounded, and given again. Prompts and answers are stored nowhere else: once an answer is
gone (a restart, too many bytes, another gateway) a repetition is refused, naming the call that was charged, and still
not charged. Which call has a key is in the database (`store.claims`), where every gateway sees it.
"""

import asyncio
from collections import OrderedDict

import msgspec

from bursar.core.errors import Conflict
from bursar.core.ids import call_name
from bursar.core.times import DAY_US
from bursar.gateway.connection import Headers


class Replay(msgspec.Struct):
    """Hold an answer that was given: its status, headers and bytes."""

    status: int
    headers: Headers
    body: bytes


class Entry:
    """Remember one call made under a key. `answer` is done once the call has ended."""

    __slots__ = ("answer", "at_us", "body_sha256", "call_id", "replay")

    def __init__(self, body_sha256: bytes, call_id: bytes, at_us: int) -> None:
        self.body_sha256 = body_sha256
        self.call_id = call_id
        self.at_us = at_us
        self.answer = asyncio.Event()
        self.replay: Replay | None = None


class Idempotency:
    """Know the calls this gateway made under an Idempotency-Key in the last day."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: OrderedDict[tuple[str, bytes], Entry] = OrderedDict()

    def begin(self, key_id: str, name: bytes, body_sha256: bytes, call_id: bytes, at_us: int) -> Entry | None:
        """Begin a call under a key: None when it is the first, else the call that came before.

        Raises `Conflict` when that one had another body.
        """
        self._forget_before(at_us - DAY_US)
        entry = self._entries.get((key_id, name))
        if entry is None:
            self._entries[key_id, name] = Entry(body_sha256, call_id, at_us)
            return None
        if entry.body_sha256 != body_sha256:
            raise used_with_another_body()
        return entry

    async def wait(self, entry: Entry) -> Replay | None:
        """Wait for a call that came before, and return its answer; None when it was not charged and may be made again.

        Raises `Conflict` when it was charged and its answer is gone.
        """
        await entry.answer.wait()
        if entry.replay is not None:
            return entry.replay
        if entry.call_id == b"":
            return None
        raise answer_gone(entry.call_id)

    def end(self, key_id: str, name: bytes, replay: Replay | None, *, charged: bool) -> None:
        """End a call: keep its answer if it was charged, forget it if it was not."""
        entry = self._entries.get((key_id, name))
        if entry is None:
            return
        if charged:
            entry.replay = replay
            self._bytes += len(replay.body) if replay is not None else 0
            self._shrink()
        else:
            entry.call_id = b""
            del self._entries[key_id, name]
        entry.answer.set()

    def _shrink(self) -> None:
        """Let go of the oldest answers until what is kept fits."""
        for entry in self._entries.values():
            if self._bytes <= self._bytes_max:
                return
            if entry.replay is not None:
                self._bytes -= len(entry.replay.body)
                entry.replay = None

    def _forget_before(self, at_us: int) -> None:
        while self._entries:
            entry = next(iter(self._entries.values()))
            if entry.at_us >= at_us:
                return
            self._entries.popitem(last=False)
            if entry.replay is not None:
                self._bytes -= len(entry.replay.body)


def used_with_another_body() -> Conflict:
    """Refuse a key that another call has."""
    return Conflict("this Idempotency-Key was used with another body: use a new one", param="Idempotency-Key")


def answer_gone(call_id: bytes) -> Conflict:
    """Refuse to make a call again that was charged, and whose answer cannot be given."""
    return Conflict(
        f"this Idempotency-Key was charged as {call_name(call_id)}, and its answer is no longer kept",
        code="idempotency_answer_gone",
        param="Idempotency-Key",
    )
