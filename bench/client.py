"""Call a gateway as an application does, in either protocol, and sometimes hang up."""

import asyncio
from typing import Any

import msgspec

from bursar.gateway.connection import Connection, Response, Timeouts, UpstreamFault
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import Pool


class Answer(msgspec.Struct):
    """Say how a call was answered. `whole` is true if all of it came; without any answer `status` is 0."""

    status: int
    call_id: str
    whole: bool
    cost_usd: str = ""


NO_ANSWER = Answer(0, "", whole=False)


class Client:
    """Hold the connections of one caller."""

    def __init__(self, port: int, secret: str, connections_max: int) -> None:
        outbox = Outbox(asyncio.get_running_loop())
        timeouts = Timeouts(connect_s=30.0, first_byte_s=60.0, idle_s=60.0)
        self._pool = Pool(f"http://127.0.0.1:{port}", outbox, connections_max=connections_max, timeouts=timeouts)
        self._secret = secret

    async def call(self, body: dict[str, Any]) -> Answer:
        """Make a call and read its answer; `NO_ANSWER` when the gateway is gone."""
        try:
            connection = await self._connection()
            response = await self._send(connection, body)
        except UpstreamFault:
            return NO_ANSWER
        return await _read(response)

    async def call_and_leave(self, body: dict[str, Any], after_s: float) -> None:
        """Make a call and hang up after a while, whatever has come by then."""
        connection = await self._connection()
        answer = self._send(connection, body)
        await asyncio.sleep(after_s)
        connection.abort()
        await asyncio.gather(answer, return_exceptions=True)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    async def _connection(self) -> Connection:
        return self._pool.take_idle() or await self._pool.open()

    def _send(self, connection: Connection, body: dict[str, Any]) -> "asyncio.Future[Response]":
        anthropic = str(body["model"]).startswith("claude")
        path = "/v1/messages" if anthropic else "/v1/chat/completions"
        data = msgspec.json.encode(body)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"anthropic-version: 2023-06-01\r\nauthorization: Bearer {self._secret}\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        return connection.exchange((head.encode(), data), self._pool.timeouts)


async def _read(response: Response) -> Answer:
    """Read an answer to its end. A stream is whole when the gateway's last comment has come."""
    headers = dict(response.headers)
    call_id, cost = (headers.get(name, b"").decode() for name in (b"x-bursar-call-id", b"x-bursar-cost-usd"))
    answer = Answer(response.status, call_id, whole=True, cost_usd=cost)
    if response.stream is not None:
        last = b""
        try:
            while chunk := await response.stream.chunk():
                last = (last + chunk)[-200:]
        except UpstreamFault:
            answer.whole = False
        _, told, rest = last.partition(b": bursar cost_usd=")
        answer.whole = answer.whole and bool(told)
        answer.cost_usd = rest.split(maxsplit=1)[0].decode() if rest.strip() else ""
    return answer


def chat(model: str, direction: str, *, stream: bool, output_cap: int = 256, filler: str = "") -> dict[str, Any]:
    """Word a request for the sandbox, with its stage direction."""
    turns = [{"role": "user", "content": f"[[{direction}]] {filler}"}]
    return {"model": model, "messages": turns, "max_tokens": output_cap, "stream": stream}
