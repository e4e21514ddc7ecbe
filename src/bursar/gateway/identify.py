"""Find out whose call it is, and whether its key allows it."""

import time
from collections.abc import Callable
from hmac import compare_digest
from hmac import digest as hmac_digest
from secrets import token_hex
from typing import Final

import structlog

from bursar.budgets.budget import Budget
from bursar.budgets.tree import Holds
from bursar.core.addresses import Address, is_within
from bursar.core.errors import BooksError, Forbidden, TooMany, Unauthorized, Unavailable
from bursar.core.pace import Pace
from bursar.gateway.control import Control
from bursar.store.database import Connection
from bursar.store.keys import KEY_PREFIX, Key, is_key, is_secret, keys_in_tree, secret_digest

log = structlog.get_logger()

UNKNOWN_S: Final = 1.0
"""How long a secret that is no key is remembered as such, so that guessing does not reach the database."""

_UNKNOWN_MAX: Final = 10_000
_LOOK_BURST: Final = 50
_LOOK_PER_S: Final = 20.0
"""How often the database is asked about unknown secrets: a new key is announced, so it seldom needs to be."""

_PASS_CHARS_MAX: Final = 200
_UNKNOWN: Final = "this key is not known here: create one with `bursar keys create`"


def new_pass(secret: str) -> tuple[str, str]:
    """Name an upload, and return the name with the pass that stands for a key while it lasts: sealed by that key."""
    upload_id = token_hex(16)
    return upload_id, f"{_seal(secret_digest(secret), upload_id)}.{upload_id}"


def _seal(digest: bytes, upload_id: str) -> str:
    return _mark(digest) + hmac_digest(digest, f"upload {upload_id}".encode(), "sha256").hex()


def _mark(digest: bytes) -> str:
    """Return by what the key of a seal is found, so that a made-up one is not tried with all."""
    return digest[:4].hex()


class Keys:
    """Know every key by the digest of its secret; a new one is asked for when it is first used."""

    def __init__(self, control: Control, changed: Callable[[Budget], None]) -> None:
        self._control = control
        self._changed = changed
        self._by_digest: dict[bytes, Key] = {}
        self._by_secret: dict[str, Key] = {}  # of secrets that were used, to hash each but once
        self._unknown: dict[bytes, float] = {}
        self._looks = Pace(_LOOK_BURST, _LOOK_PER_S)
        self._budgets: dict[str, Budget] = {}

    async def load(self) -> None:
        """Read all keys and budgets again."""
        tree, keys = await self._control.run(keys_in_tree)
        for key in keys:
            for digest, found in key.by_digest().items():
                self._learn(digest, found)
        known, budgets = self._budgets, {}
        for holder in tree.holders.values():
            budgets |= {budget.budget_id: budget for budget in holder.budgets}
        self._budgets = budgets
        for budget in known.values():  # a budget that is gone is as good as one without a limit
            now = budgets.get(budget.budget_id, budget)
            if now != budget:
                self._changed(now)

    @property
    def expect(self) -> bool:
        """Tell whether calls of any key are held for by expectation."""
        return any(key.path.claim.holds is not Holds.strict for key in self._by_digest.values())

    def find(self, secret: str) -> Key | None:
        """Return the key of a secret that was used here before."""
        return self._by_secret.get(secret)

    def knows(self, secret: str) -> bool:
        """Tell whether a secret, or a pass, is of a key that is known here, without asking anybody."""
        known = secret in self._by_secret or secret_digest(secret) in self._by_digest
        return known or self.of_pass(secret) is not None

    def of_pass(self, text: str) -> Key | None:
        """Return the key that an upload was begun with, by its pass; None where none of the keys made it."""
        seal, _, upload_id = text.partition(".")
        if not upload_id or len(text) > _PASS_CHARS_MAX or not text.isascii():
            return None
        marked = ((digest, key) for digest, key in self._by_digest.items() if seal.startswith(_mark(digest)))
        return next((key for digest, key in marked if compare_digest(_seal(digest, upload_id), seal)), None)

    async def ask(self, secret: str) -> Key:
        """Find the key of a secret, in the database if need be. Raises `Unauthorized` when there is none."""
        if not is_secret(secret, KEY_PREFIX):
            raise Unauthorized(_UNKNOWN)
        digest = secret_digest(secret)
        known = self._by_digest.get(digest)
        if known is not None:
            self._by_secret[secret] = known
            return known
        now = time.monotonic()
        if self._unknown.get(digest, 0.0) > now:
            raise Unauthorized(_UNKNOWN)
        if not self._looks.take(now):
            raise TooMany("too many unknown keys are being tried: try again in a moment", retry_after_s=1)

        async def look(connection: Connection) -> bool:
            return await is_key(connection, digest)

        try:
            if await self._control.run(look):
                await self.load()
        except BooksError as error:
            raise Unavailable(f"the key cannot be checked: {error}", retry_after_s=1) from error
        known = self._by_digest.get(digest)
        if known is None:
            if len(self._unknown) >= _UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[digest] = now + UNKNOWN_S
            raise Unauthorized(_UNKNOWN)
        self._by_secret[secret] = known  # of several who looked, all get the same
        return known

    def _learn(self, digest: bytes, key: Key) -> None:
        known = self._by_digest.get(digest)
        if known == key:
            return
        self._by_digest[digest] = key
        if known is not None:
            self._by_secret = {secret: each for secret, each in self._by_secret.items() if each is not known}


def check_valid(key: Key, now_us: int) -> None:
    """Check that a key is valid now, by the secret it was found by. Raises `Unauthorized`."""
    if key.revoked_us is not None and now_us >= key.revoked_us:
        raise Unauthorized(f"key {key.name!r} has been revoked", code="key_revoked")
    if key.expires_us is not None and now_us >= key.expires_us:
        raise Unauthorized(f"key {key.name!r} has expired", code="key_expired")
    if key.ends_us is not None and now_us >= key.ends_us:
        raise Unauthorized(f"this secret of key {key.name!r} was replaced: use the new one", code="key_replaced")


def check_scope(key: Key, model: str, route: str, now_us: int) -> None:
    """Check that a key is valid now and its scope includes a model and a route. Raises `Unauthorized`, `Forbidden`."""
    check_valid(key, now_us)
    if key.models and not key.may_use(model):
        raise Forbidden(
            f"key {key.name!r} may not use model {model!r}: it may use {', '.join(key.models)}", param="model"
        )
    if key.routes and route not in key.routes:
        raise Forbidden(f"key {key.name!r} may not use {route}: it may use {', '.join(key.routes)}")


def check_address(key: Key, address: Address | None) -> None:
    """Check that a key may be used from an address. Raises `Forbidden`."""
    if key.addresses and not is_within(address, key.addresses):
        where = "an address that is not known" if address is None else address
        raise Forbidden(f"key {key.name!r} may not be used from {where}", code="address_not_allowed")


def check_reader(networks: tuple[str, ...], address: Address | None) -> None:
    """Check that metrics may be read from an address: from any, where no networks are named. Raises `Forbidden`."""
    if networks and not is_within(address, networks):
        where = "an address that is not known" if address is None else address
        raise Forbidden(f"metrics may not be read from {where}: see gateway.metrics_from", code="address_not_allowed")
