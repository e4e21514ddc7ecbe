"""Decide who may ask the API what: this machine may read, an admin key may read and change, from anywhere.

A browser sends no bearer by itself, so a page of another site cannot have it change anything in somebody's name.
"""

import time
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler

from bursar.api.answers import UnsupportedMediaException, now_us
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

    async def admin(self, pool: Pool, secret: str, now_s: float) -> AdminKey | None:
        """Find an admin key. All are read at most once a second, or somewhat sooner for one that is not known."""
        digest = secret_digest(secret)
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
    reads = method in _READS or handler.opt.get(ASKS)
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() == "bearer" and secret.startswith(ADMIN_PREFIX):
        connection.scope["state"]["admin"] = await _admin_of(connection, secret)
    elif not reads:
        raise NotAuthorizedException(
            "changes need an admin key: send `Authorization: Bearer ba_...`, see `bursar admin create`",
            extra={"code": "missing_admin_key"},
        )
    elif headers.get(LOCAL) != "yes":
        raise PermissionDeniedException("this machine or an admin key may ask this", extra={"code": "local_only"})
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in _READS and headers.get("content-length", "0") != "0" and kind != "application/json":
        raise UnsupportedMediaException("content-type: expected application/json", extra={"code": "bad_media_type"})


async def _admin_of(connection: ASGIConnection[Any, Any, Any, Any], secret: str) -> str:
    status, state = "not known", connection.app.state
    if is_secret(secret, ADMIN_PREFIX):
        key = await state.admission.admin(state.pool, secret, time.monotonic())
        status = "not known" if key is None else key.status_at(now_us())
        if key is not None and status == "active":
            return key.name
    raise NotAuthorizedException(
        f"this admin key is {status}: see `bursar admin list`", extra={"code": "invalid_admin_key"}
    )


def origin_of(request: ASGIConnection[Any, Any, Any, Any]) -> tuple[str, str]:
    """Return who asks, by the name of the admin key, and from where: as the audit log has it."""
    return request.scope["state"]["admin"], f"api from {request.headers.get(FROM) or 'an unknown address'}"
