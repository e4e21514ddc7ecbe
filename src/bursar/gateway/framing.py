"""Frame a stream as one JSON array, as Gemini does for clients that do not ask for events."""

from typing import Any

from bursar.gateway.asgi import JSON, Send
from bursar.wires.sse import EventSplitter, event_data


class ArrayFraming:
    """Write the data of each event as an element. What is no event, such as a comment, has no place in an array."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._splitter = EventSplitter()
        self._before = b"["

    async def send(self, message: dict[str, Any]) -> None:
        """Pass on a part of the answer."""
        if message["type"] == "http.response.start":
            headers = [JSON, *(pair for pair in message["headers"] if pair[0] != b"content-type")]
            await self._send(message | {"headers": headers})
            return
        pieces: list[bytes] = []
        for event in self._splitter.feed(message["body"]):
            if data := event_data(event):
                pieces += (self._before, data)
                self._before = b",\r\n"
        if not message["more_body"]:
            pieces.append(b"[]" if self._before == b"[" else b"]")
        if pieces or not message["more_body"]:
            await self._send(message | {"body": b"".join(pieces)})
