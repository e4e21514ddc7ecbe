"""Make a call without a task: sent within the turn that read it, answered within the turn that brings the answer.

Nearly every call waits for nothing but its provider. What turns out to need more goes on as a task from where it is.
"""

import asyncio
from typing import TYPE_CHECKING

from bursar.gateway.asgi import Client, Send
from bursar.gateway.attempt import Outcome
from bursar.gateway.connection import Connection, Response, UpstreamFault
from bursar.gateway.passage import Passage
from bursar.gateway.send import request_of

if TYPE_CHECKING:
    from bursar.gateway.calls import Calls


class StraightCall:
    """Hold one call that is held for, from its first attempt on."""

    __slots__ = ("_calls", "_client", "_passage", "_send", "_started_us")

    def __init__(self, calls: "Calls", passage: Passage, client: Client, send: Send) -> None:
        self._calls = calls
        self._passage = passage
        self._client = client
        self._send = send
        self._started_us = 0

    def begin(self, connection: Connection) -> None:
        """Send the first attempt."""
        passage = self._passage
        candidate = passage.plan.candidates[0]
        self._client.expect(self)
        try:
            self._started_us = self._calls.clock_us()
            connection.send(request_of(passage, candidate), candidate.timeouts, self._answered)
        except BaseException:  # whatever it is, the call ends with it
            connection.abort()
            self._ended()
            raise

    def cancel(self, msg: str | None = None) -> None:  # noqa: ARG002 - a task's
        """End at once: what the provider bills is not known."""
        asyncio.get_running_loop().call_soon(self._cancelled)  # whoever ends several goes through them now

    def _answered(self, answer: Response | UpstreamFault) -> None:
        """Take the first attempt's answer. Nothing may be raised here: the connection it came from is in no fault."""
        passage, calls = self._passage, self._calls
        candidate = passage.plan.candidates[0]
        if passage.record is not None:  # it was ended before
            return
        whole = isinstance(answer, Response)
        outcome = Outcome(answer if whole else None, None if whole else answer, self._started_us, calls.clock_us())
        usual = whole and answer.status < 300 and answer.stream is None and not candidate.health.troubled
        if not usual or calls.is_strict:
            self._client.run(calls.finish(passage, self._send, calls.answer(passage, self._send, outcome)))
            return
        try:
            self._client.respond(*calls.settle_and_write(passage, candidate, outcome))
        except Exception as error:  # noqa: BLE001 - whatever it is, the call has its end and the client is told
            self._client.fail(error)
        finally:
            self._ended()

    def _cancelled(self) -> None:
        if self._passage.record is None:
            self._ended()
            self._client.fail()

    def _ended(self) -> None:
        self._calls.stats.under_way -= 1
        self._calls.end(self._passage)
