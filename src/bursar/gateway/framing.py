"""Frame a stream as one JSON array, as Gemini does for clients that do not ask for events."""

from typing import Any

from bursar.gateway.asgi import JSON, Out
from bursar.wires.sse import EventSplitter, event_data


class ArrayFraming:
    """Write the data of each event as an element. What is no event, such as a comment, has no place in an array."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._splitter = EventSplitter()
        self._before = b"["

    async def send(self, message: dict[str, Any]) -> None:
        """Pass on a part of the answer."""
        if message["type"] == "http.response.start":
            headers = [JSON, *(pair for pair in message["headers"] if pair[0] != b"content-type")]
            await self._out.send(message | {"headers": headers})
        else:
            more = message["more_body"]
            await self._out.send(message | {"body": self._framed(message["body"], more=more)})

    def put(self, body: bytes, *, more: bool = True) -> bool:
        """Pass on a piece of the answer."""
        return self._out.put(self._framed(body, more=more), more=more)

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        pieces: list[bytes] = []
        for event in self._splitter.feed(body):
            if data := event_data(event):
                pieces += (self._before, data)
                self._before = b",\r\n"
        if not more:
            pieces.append(b"[]" if self._before == b"[" else b"]")
        return b"".join(pieces)
