"""Sign requests to Amazon's services (SigV4), by the credentials AWS' own library finds."""

import time
from typing import Any, Final

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from bursar.core.times import MINUTE_US
from bursar.gateway.signing import EARLY_US, Grant

_LIFE_US: Final = 5 * MINUTE_US + EARLY_US
"""How long keys are gone by before the library is asked again, which renews them ten minutes before they end."""

_SIGNED: Final = ("host", "content-type")


class AwsSource:
    """Be the chain of AWS' library: environment, profile, container, machine."""

    def __init__(self, region: str, service: str) -> None:
        self._session: Any = botocore.session.get_session()
        self._credentials: Any = None
        self._region = region
        self._service = service

    def fetch(self) -> Grant:
        """Return the keys as they are now. Raises `LookupError` where there are none."""
        if self._credentials is None:
            self._credentials = self._session.get_credentials()
        if self._credentials is None:
            raise LookupError("no AWS credentials")
        return Grant(self._credentials.get_frozen_credentials(), time.time_ns() // 1_000 + _LIFE_US)

    def lines(self, grant: Grant, head: bytes, body: bytes) -> bytes:
        """Return the lines that sign a request: its date, its token, its signature."""
        first, *rest = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.partition(": ") for line in rest)
        headers = {name.lower(): value for name, _, value in pairs if name.lower() in _SIGNED}
        request: Any = AWSRequest(method, f"https://{headers['host']}{path}", headers, body)
        SigV4Auth(grant.value, self._service, self._region).add_auth(request)
        added = (name for name in request.headers if name.lower() not in _SIGNED)
        return "".join(f"{name.lower()}: {request.headers[name]}\r\n" for name in added).encode("latin-1")
