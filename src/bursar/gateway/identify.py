"""Find out whose call it is, and whether its key allows it."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from bursar.budgets.budget import Budget
from bursar.budgets.tree import Holds
from bursar.core.errors import BooksError, Forbidden, Unauthorized, Unavailable
from bursar.gateway.control import Control
from bursar.store.database import Connection
from bursar.store.keys import Key, is_key, keys_in_tree, secret_digest

log = structlog.get_logger()

UNKNOWN_S: Final = 1.0
"""How long a secret that is no key is remembered as such, so that guessing does not reach the database."""

_UNKNOWN_MAX: Final = 10_000


class Keys:
    """Know every key by the digest of its secret; a new one is asked for when it is first used."""

    def __init__(self, control: Control, changed: Callable[[Budget], None]) -> None:
        self._control = control
        self._changed = changed
        self._by_digest: dict[bytes, Key] = {}
        self._by_secret: dict[str, Key] = {}  # of secrets that were used, to hash each but once
        self._unknown: dict[bytes, float] = {}
        self._budgets: dict[str, Budget] = {}

    async def load(self) -> None:
        """Read all keys and budgets again."""
        tree, keys = await self._control.run(keys_in_tree)
        for key in keys:
            self._learn(key)
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
        """Tell whether a secret is of a key that is known here, without asking anybody."""
        return secret in self._by_secret or secret_digest(secret) in self._by_digest

    async def ask(self, secret: str) -> Key:
        """Find the key of a secret, in the database if need be. Raises `Unauthorized` when there is none."""
        digest = secret_digest(secret)
        known = self._by_digest.get(digest)
        if known is not None:
            self._by_secret[secret] = known
            return known
        now = time.monotonic()
        if self._unknown.get(digest, 0.0) > now:
            raise Unauthorized("this key is not known here: create one with `bursar keys create`")

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
            raise Unauthorized("this key is not known here: create one with `bursar keys create`")
        self._by_secret[secret] = known  # of several who looked, all get the same
        return known

    def _learn(self, key: Key) -> None:
        known = self._by_digest.get(key.sha256)
        if known == key:
            return
        self._by_digest[key.sha256] = key
        if known is not None:
            self._by_secret = {secret: each for secret, each in self._by_secret.items() if each is not known}


def check_scope(key: Key, model: str, route: str, now_us: int) -> None:
    """Check that a key is valid now and its scope includes a model and a route. Raises `Unauthorized`, `Forbidden`."""
    if key.revoked_us is not None and now_us >= key.revoked_us:
        raise Unauthorized(f"key {key.name!r} has been revoked", code="key_revoked")
    if key.expires_us is not None and now_us >= key.expires_us:
        raise Unauthorized(f"key {key.name!r} has expired", code="key_expired")
    if key.models and model not in key.models:
        raise Forbidden(
            f"key {key.name!r} may not use model {model!r}: it may use {', '.join(key.models)}", param="model"
        )
    if key.routes and route not in key.routes:
        raise Forbidden(f"key {key.name!r} may not use {route}: it may use {', '.join(key.routes)}")
