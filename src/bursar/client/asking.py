"""Ask the API over HTTP, read its answers into types and its refusals into the errors of Bursar.

The standard library is enough, so a program that only asks installs nothing. No redirect is followed: it would take a
key elsewhere.
"""

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from bursar.core import errors
from bursar.core.errors import ConfigError, Refusal, Unavailable

T = TypeVar("T")

TRIES: Final = 3
_WAIT_S: Final = 0.2
_WAIT_MAX_S: Final = 5.0
_AGAIN: Final = (429, 502, 503, 504)
_KINDS: Final[Mapping[int, type[Refusal]]] = {
    kind.status: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Refusal) and kind is not Refusal
}


class Request(NamedTuple):
    """Hold what is asked. `again` says that to ask twice does no more than to ask once."""

    method: str
    path: str
    secret: str
    query: Mapping[str, Any] = {}
    body: Any = None
    again: bool = False


class Answer(NamedTuple):
    """Hold an answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Asking:
    """Make requests to one Bursar, each by a connection of its own, so that threads may share it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ConfigError(f"url: expected one such as http://127.0.0.1:4000, got {url!r}")
        self._parts = parts
        self._timeout_s = timeout_s
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    def ask(self, request: Request, kind: type[T]) -> T:
        """Return an answer as the type it is of. Raises `Refusal`, `Unavailable` where nobody answers."""
        answer = self._tried(request)
        if answer.status >= 300:
            raise refusal_of(answer)
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{request.path} did not answer as Bursar does: {error}", code="not_bursar") from None

    def _tried(self, request: Request) -> Answer:
        """Ask until there is an answer, or it is not worth it."""
        tries = TRIES if request.again else 1
        for number in range(1, tries):
            wait_s = _WAIT_S * 2**number
            try:
                answer = self._once(request)
            except Unavailable:
                time.sleep(wait_s)
                continue
            if answer.status not in _AGAIN:
                return answer
            time.sleep(min(_retry_after_s(answer) or wait_s, _WAIT_MAX_S))
        return self._once(request)

    def _once(self, request: Request) -> Answer:
        connection = self._connection()
        target = self._parts.path.rstrip("/") + request.path
        query = {name: value for name, value in request.query.items() if value is not None}
        target += f"?{urlencode(query)}" if query else ""
        headers = {"accept": "application/json"}
        if request.secret:
            headers["authorization"] = f"Bearer {request.secret}"
        body = None
        if request.body is not None:
            body = msgspec.json.encode(request.body)
            headers["content-type"] = "application/json"
        try:
            connection.request(request.method, target, body, headers)
            response = connection.getresponse()
            said = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, said, response.read())
        except TimeoutError:
            where = self._parts.netloc
            raise Unavailable(f"{where} did not answer within {self._timeout_s:g} s", code="no_answer") from None
        except (OSError, http.client.HTTPException) as error:
            text = f"{self._parts.netloc} cannot be reached: {error or type(error).__name__}"
            raise Unavailable(text, code="unreachable") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)


def refusal_of(answer: Answer) -> Refusal:
    """Return the error an answer stands for, with its code, the field it names and when to come again."""
    message, code, param = _said(answer)
    kind = _KINDS.get(answer.status, errors.BadRequest if answer.status < 500 else Unavailable)
    return kind(message, code=code, param=param, retry_after_s=_retry_after_s(answer))


def _said(answer: Answer) -> tuple[str, str | None, str | None]:
    """Read a refusal: as the API words one, or as the gateway before it does."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    inner = fields.get("error")
    if isinstance(inner, dict):
        return str(inner.get("message", "")), _text(inner.get("code")), _text(inner.get("param"))
    extra = fields.get("extra")
    message = str(fields.get("detail") or f"answered {answer.status} without a reason")
    if isinstance(extra, list) and extra and isinstance(extra[0], dict):  # what a field is not
        param = _text(extra[0].get("key"))
        return f"{message}: {param or 'body'}: {extra[0].get('message', '')}", None, param
    named: dict[str, Any] = extra if isinstance(extra, dict) else {}
    return message, _text(named.get("code")), _text(named.get("param"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _retry_after_s(answer: Answer) -> int | None:
    text = answer.headers.get("retry-after", "")
    return int(text) if text.isascii() and text.isdigit() else None
