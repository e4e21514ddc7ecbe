"""Keep an answer while it is given, so that it can be given again."""

from typing import Any

from bursar.gateway.asgi import Out
from bursar.gateway.heads import Headers
from bursar.gateway.idempotency import Replay


class Recorder:
    """Pass an answer on and keep it, to be given again."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._status = 0
        self._headers: Headers = []
        self._pieces: list[bytes] = []
        self._whole = False

    async def send(self, message: dict[str, Any]) -> None:
        """Pass on a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [pair for pair in message["headers"] if pair[0] != b"content-length"]
        else:
            self._keep(message["body"], more=message["more_body"])
        await self._out.send(message)

    def put(self, body: bytes, *, more: bool = True) -> bool:
        """Pass on a piece of the answer."""
        self._keep(body, more=more)
        return self._out.put(body, more=more)

    def _keep(self, body: bytes, *, more: bool) -> None:
        self._pieces.append(body)
        self._whole = not more

    def replay(self) -> Replay | None:
        """Return the answer; None when it was not given to its end."""
        return Replay(self._status, self._headers, b"".join(self._pieces)) if self._whole else None
