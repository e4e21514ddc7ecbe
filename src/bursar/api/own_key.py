"""Find the key a client says something in the name of: the one it makes its calls with."""

import time

from litestar.exceptions import NotAuthorizedException

from bursar.api.admission import Admission
from bursar.api.answers import now_us
from bursar.core.errors import TooMany
from bursar.store.database import Connection
from bursar.store.keys import KEY_PREFIX, Key, is_key, is_secret, key_by_digest, secret_digest


def bearer(header: str) -> str:
    """Return the secret a request brings. Raises `NotAuthorizedException` for what cannot be one."""
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret.startswith(KEY_PREFIX):
        raise NotAuthorizedException("send a key: `Authorization: Bearer bk_...`", extra={"code": "missing_api_key"})
    return secret


async def key_of(connection: Connection, secret: str, admission: Admission) -> Key:
    """Find the key of a secret. Raises `NotAuthorizedException`, `TooMany` when too many are tried that are none."""
    digest, code, key = secret_digest(secret), "invalid_api_key", None
    if is_secret(secret, KEY_PREFIX):
        if not admission.may_ask(digest, time.monotonic()):
            raise TooMany("too many unknown keys are being tried: try again in a moment", retry_after_s=1)
        key = await key_by_digest(connection, digest) if await is_key(connection, digest) else None
    if key is not None:
        admission.met(digest)
        status = key.status_at(now_us())
        if status == "active":
            return key
        code = f"key_{status}"
    what = "this key is not known" if key is None else f"this key is {code.removeprefix('key_')}"
    raise NotAuthorizedException(f"{what}: see `bursar keys create`", extra={"code": code})
