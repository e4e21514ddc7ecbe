"""Decide who may ask the API what: this machine may read, an admin key may read and change, from anywhere.

A browser sends no bearer by itself, so a page of another site cannot have it change anything in somebody's name. What a
browser does send by itself, the cookie of a session, is good for the forms of the pages alone, on this machine, from
the pages' own origin.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler

from bursar.api.answers import UnsupportedMediaException, now_us
from bursar.api.sessions import COOKIE, Session, Sessions
from bursar.core.pace import Pace
from bursar.store.admins import ADMIN_PREFIX, AdminKey, admin_keys
from bursar.store.database import Pool, borrow
from bursar.store.keys import is_secret, secret_digest

FROM: Final = "x-bursar-from"
"""The header in which the gateway says where a request comes from; what a client says in it is dropped there."""

LOCAL: Final = "x-bursar-local"
OWN_KEY: Final = "own_key"
"""What a handler has in its `opt` that asks for a key itself."""

ASKS: Final = "asks"
"""What a handler has in its `opt` that changes nothing, though what it is asked comes as a body."""

FORM: Final = "form"
"""What a handler has in its `opt` that takes a form of a page."""

FORM_KIND: Final = "application/x-www-form-urlencoded"

_READS: Final = ("GET", "HEAD", "OPTIONS")
_FRESH_S: Final = 1.0
_MISS_S: Final = 0.05
_KNOWN_MAX: Final = 10_000
_ASK_BURST: Final = 50
_ASK_PER_S: Final = 20.0


class Admission:
    """Know the admin keys, and bound how often the database is asked about secrets that are none."""

    def __init__(self) -> None:
        self._admins: dict[bytes, AdminKey] = {}
        self._read_s = float("-inf")
        self._known: set[bytes] = set()
        self._asks = Pace(_ASK_BURST, _ASK_PER_S)
        self.sessions = Sessions()

    async def admin(self, pool: Pool, digest: bytes, now_s: float) -> AdminKey | None:
        """Find an admin key by the digest of its secret.

        All are read at most once a second, or somewhat sooner for one that is not known.
        """
        age_s = now_s - self._read_s
        if age_s > _FRESH_S or (digest not in self._admins and age_s > _MISS_S):
            async with borrow(pool) as connection:
                self._admins = {key.sha256: key for key in await admin_keys(connection)}
            self._read_s = now_s
        return self._admins.get(digest)

    def may_ask(self, digest: bytes, now_s: float) -> bool:
        """Tell whether the database may be asked for a secret's digest now: always for one that is known."""
        return digest in self._known or self._asks.take(now_s)

    def met(self, digest: bytes) -> None:
        """Remember the digest of a key."""
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known.add(digest)


async def admit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through to its handler, with the name of the admin key it brings. Raises the answer otherwise."""
    if handler.opt.get(OWN_KEY):
        return
    headers, method = connection.headers, connection.scope["method"]  # pyright: ignore[reportTypedDictNotRequiredAccess, reportGeneralTypeIssues]
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if handler.opt.get(FORM):
        _admit_form(headers, kind)
        return
    reads = method in _READS or handler.opt.get(ASKS)
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() == "bearer" and secret.startswith(ADMIN_PREFIX):
        connection.scope["state"]["admin"] = (await admin_of(connection, secret)).name
    elif not reads:
        raise NotAuthorizedException(
            "changes need an admin key: send `Authorization: Bearer ba_...`, see `bursar admin create`",
            extra={"code": "missing_admin_key"},
        )
    elif headers.get(LOCAL) != "yes":
        raise PermissionDeniedException("this machine or an admin key may ask this", extra={"code": "local_only"})
    if method not in _READS and headers.get("content-length", "0") != "0" and kind != "application/json":
        raise UnsupportedMediaException("content-type: expected application/json", extra={"code": "bad_media_type"})


def _admit_form(headers: Mapping[str, str], kind: str) -> None:
    """Let a form through that a page of Bursar's sends on this machine; who sends it, its handler asks."""
    if headers.get(LOCAL) != "yes":
        raise PermissionDeniedException("forms are taken on this machine alone", extra={"code": "local_only"})
    if not headers.get("origin"):  # the gateway has compared it with the Host; a browser sends one with every form
        raise PermissionDeniedException("a form needs an Origin: send it from its page", extra={"code": "no_origin"})
    if kind != FORM_KIND:
        raise UnsupportedMediaException(f"content-type: expected {FORM_KIND}", extra={"code": "bad_media_type"})


async def admin_of(connection: ASGIConnection[Any, Any, Any, Any], secret: str) -> AdminKey:
    """Find the admin key of a secret. Raises the answer when it is not known, expired or revoked."""
    status, state = "not known", connection.app.state
    if is_secret(secret, ADMIN_PREFIX):
        key = await state.admission.admin(state.pool, secret_digest(secret), time.monotonic())
        status = "not known" if key is None else key.status_at(now_us())
        if key is not None and status == "active":
            return key
    raise NotAuthorizedException(
        f"this admin key is {status}: see `bursar admin list`", extra={"code": "invalid_admin_key"}
    )


async def session_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Session | None:
    """Find the session a browser on this machine is signed in by; None when it is not, or its admin key has ended."""
    state, now_s = connection.app.state, time.monotonic()
    if connection.headers.get(LOCAL) != "yes":
        return None
    session = state.admission.sessions.find(connection.cookies.get(COOKIE, ""), now_s)
    if session is None:
        return None
    key = await state.admission.admin(state.pool, session.admin_sha256, now_s)
    return session if key is not None and key.status_at(now_us()) == "active" else None


def origin_of(request: ASGIConnection[Any, Any, Any, Any]) -> tuple[str, str]:
    """Return who asks, by the name of the admin key, and from where: as the audit log has it."""
    by = "page" if request.route_handler.opt.get(FORM) else "api"
    return request.scope["state"]["admin"], f"{by} from {request.headers.get(FROM) or 'an unknown address'}"
