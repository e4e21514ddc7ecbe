"""Be a provider that costs next to nothing to run: fixed answers, an optional delay, no parsing beyond framing.

python -m bench.mock PORT DELAY_MS
"""

import asyncio
import sys
from typing import Any

import uvloop

ANSWER = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"'
    + b"The quick brown fox jumps over it. "
    * 8
    + b'",'
    b'"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":120,'
    b'"completion_tokens":64,"total_tokens":184,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,'
    b'"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_bench"}'
)
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)


class Mock(asyncio.Protocol):
    """Answer each request of a connection with the same bytes."""

    delay_s = 0.0

    def __init__(self) -> None:
        self._transport: Any = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        data = self._rest + data if self._rest else data
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            at = data.find(b"content-length: ", 0, end)
            if at < 0:
                at = data.lower().find(b"content-length: ", 0, end)
            size = int(data[at + 16 : data.find(b"\r", at)]) if at >= 0 else 0
            if len(data) < end + 4 + size:
                break
            data = data[end + 4 + size :]
            self._answer()
        self._rest = data

    def _answer(self) -> None:
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self._write)
        else:
            self._write()

    def _write(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(RESPONSE)


async def main(port: int, delay_ms: float) -> None:
    """Serve until killed."""
    Mock.delay_s = delay_ms / 1000
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
