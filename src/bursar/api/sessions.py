"""Keep who is signed in to the pages, in memory: what is not kept on disk cannot be read from it.

A session ends when it was not used for a while, when it is old, with its admin key, and with the control plane.
"""

import secrets
from typing import Final

import msgspec

from bursar.store.keys import secret_digest

COOKIE: Final = "bursar-session"
IDLE_S: Final = 30 * 60.0
WHOLE_S: Final = 12 * 3600.0
_SESSIONS_MAX: Final = 1_000
_TOLD_S: Final = 60.0


class Told(msgspec.Struct, frozen=True):
    """Hold what the next page is to say, once: that something was done, and a new secret if there is one."""

    text: str
    secret: str = ""
    at_s: float = 0.0


class Session(msgspec.Struct):
    """Hold who is signed in, by the digest of an admin key's secret. Times are of the monotonic clock."""

    admin: str
    admin_sha256: bytes
    began_s: float
    used_s: float
    told: Told | None = None

    def tell(self, text: str, now_s: float, secret: str = "") -> None:
        """Have the next page say something."""
        self.told = Told(text, secret, now_s)

    def take_told(self, now_s: float) -> Told | None:
        """Return what is to be said, and forget it; what nobody came for in a minute is not said any more."""
        told, self.told = self.told, None
        return told if told is not None and now_s - told.at_s <= _TOLD_S else None


class Sessions:
    """Know the sessions by the digest of their cookie."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, Session] = {}

    def begin(self, admin: str, admin_sha256: bytes, now_s: float) -> str:
        """Begin a session and return what its cookie holds. Of too many, the one that was begun first ends."""
        self._by_digest = {digest: each for digest, each in self._by_digest.items() if not _is_over(each, now_s)}
        if len(self._by_digest) >= _SESSIONS_MAX:
            del self._by_digest[next(iter(self._by_digest))]
        token = secrets.token_urlsafe(32)
        self._by_digest[secret_digest(token)] = Session(admin, admin_sha256, now_s, now_s)
        return token

    def find(self, token: str, now_s: float) -> Session | None:
        """Find a session that is not over, by its cookie, and note that it is used."""
        session = self._by_digest.get(secret_digest(token)) if token else None
        if session is None:
            return None
        if _is_over(session, now_s):
            self.end(token)
            return None
        session.used_s = now_s
        return session

    def end(self, token: str) -> None:
        """End a session, if there is one of this cookie."""
        self._by_digest.pop(secret_digest(token), None)


def _is_over(session: Session, now_s: float) -> bool:
    return now_s - session.used_s > IDLE_S or now_s - session.began_s > WHOLE_S
