"""Sign requests to Google Cloud by access tokens, which Google's own library fetches."""

from datetime import UTC
from typing import Any, Final

import google.auth
from google.auth.transport.requests import Request

from bursar.core.times import from_datetime
from bursar.gateway.signing import Grant

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


class GoogleSource:
    """Be the account of a file, or the one this machine has by default."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._credentials: Any = None

    def fetch(self) -> Grant:
        """Fetch a token."""
        if self._credentials is None:
            found = google.auth.load_credentials_from_file(self._file, _SCOPES) if self._file else None
            self._credentials, _ = found or google.auth.default(_SCOPES)
        self._credentials.refresh(Request())
        return Grant(self._credentials.token, from_datetime(self._credentials.expiry.replace(tzinfo=UTC)))

    def lines(self, grant: Grant, head: bytes, body: bytes) -> bytes:  # noqa: ARG002
        """Return the line that bears the token."""
        return f"authorization: Bearer {grant.value}\r\n".encode("latin-1")
