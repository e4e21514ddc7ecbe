"""Bound what a client's connection may take: header bytes, the time for a request, the time it may not read."""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES_MAX: Final = 64 * 1024
REQUEST_S: Final = 60.0
"""How long a request may take to arrive, from its first byte to its last."""

UNREAD_S: Final = 60.0
"""How long a client may leave its answer unread before it counts as gone."""


class BoundedProtocol(HttpToolsProtocol):
    """Serve a connection like uvicorn does, within bounds. `sweep` keeps the time without a timer for each request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._arriving_since = 0.0
        self._unread_since = 0.0

    def on_message_begin(self) -> None:
        """Begin to count a request."""
        super().on_message_begin()
        self._header_bytes = 0
        self._arriving_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Count the target's bytes."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header's bytes."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._arriving_since = 0.0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self._unread_since = 0.0
        super().resume_writing()

    def sweep(self, now: float) -> None:
        """End the connection when its client is too slow."""
        if self._arriving_since and now - self._arriving_since > REQUEST_S:
            self._refuse(408, b"Request Timeout", b"the request took more than %d s to arrive" % REQUEST_S)
        elif self._unread_since and now - self._unread_since > UNREAD_S:
            self.transport.abort()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES_MAX:
            self._refuse(431, b"Request Header Fields Too Large", b"the headers exceed %d bytes" % HEADER_BYTES_MAX)
            raise ValueError("headers too large")

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unless it has been answered."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _refuse(self, status: int, phrase: bytes, message: bytes) -> None:
        """Answer outside of ASGI, which has no request yet, and close."""
        self._arriving_since = 0.0
        if self.transport.is_closing():
            return
        body = b'{"error":{"message":"%b","type":"invalid_request_error","param":null,"code":"%d"}}' % (message, status)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, phrase, len(body), body)
        )
        self.transport.close()
