"""Let a call build on what its provider has kept of earlier calls, where these were made with the same key.

A provider keeps answers by account, and many keys share one: who named an answer of another key would go on from that
key's conversation. What an answer is kept by is therefore noted with its call, as a name that holds the key's as well,
and what a call names must have been noted.
"""

import asyncio
from hashlib import blake2b
from typing import Final

from bursar.core.errors import BadRequest, BooksError, NotFound, Refusal, Unavailable
from bursar.core.records import Call
from bursar.core.times import DAY_US
from bursar.gateway.control import Control
from bursar.store.recall import names_kept

KEPT_US: Final = 30 * DAY_US
"""How long an answer can be built on: as long as OpenAI keeps one ("Conversation state", checked 2026-11-22)."""

KNOWN_MAX: Final = 20_000
"""Names remembered here; of the others the books are asked."""

_GATHER_S: Final = 0.005
"""How long a question to the books waits for others: who tries names asks them no oftener than this."""

_LOOKS: Final = 8
_LOOK_AGAIN_S: Final = 0.15
"""How often the books are asked before a name counts as unknown: another gateway may be about to write it there."""


def kept_name(key_id: str, answer_id: str) -> bytes:
    """Name what a provider has kept for a key."""
    return blake2b(f"{key_id}\0{answer_id}".encode(errors="surrogatepass"), digest_size=16).digest()


class Kept:
    """Remember the latest names."""

    def __init__(self) -> None:
        self._names: dict[bytes, None] = {}

    def note(self, key_id: str, answer_ids: tuple[str, ...]) -> tuple[bytes, ...]:
        """Remember what a provider keeps of an answer; returns the names."""
        names = tuple(kept_name(key_id, answer_id) for answer_id in answer_ids)
        self.remember(names)
        return names

    def remember(self, names: tuple[bytes, ...] | list[bytes]) -> None:
        """Remember names; the oldest are forgotten."""
        self._names.update(dict.fromkeys(names))
        while len(self._names) > KNOWN_MAX:
            del self._names[next(iter(self._names))]

    def missing(self, names: list[bytes]) -> list[bytes]:
        """Return the names that are not remembered."""
        return [name for name in names if name not in self._names]


class Recall:
    """Check what calls build on, by memory and by the books."""

    def __init__(self, control: Control, kept: Kept) -> None:
        self._control = control
        self._kept = kept
        self._wanted: set[bytes] = set()
        self._look: asyncio.Task[set[bytes]] | None = None

    async def check(self, call: Call, recalls: tuple[tuple[str, str], ...]) -> None:
        """Check that all a call builds on is its key's own.

        Raises `BadRequest` or `NotFound`, as the provider does for what it has not, and `Unavailable` when the books
        cannot be asked.
        """
        names = {kept_name(call.key_id, answer_id): place for place, (_, answer_id) in enumerate(recalls)}
        missing = self._kept.missing(list(names))
        for look in range(_LOOKS):
            if not missing:
                return
            if look:
                await asyncio.sleep(_LOOK_AGAIN_S)
            found = await self._ask(call, missing)
            missing = [name for name in missing if name not in found]
        if missing:
            raise _unknown(*recalls[names[missing[0]]])

    async def _ask(self, call: Call, names: list[bytes]) -> set[bytes]:
        """Ask the books, in one question with whoever else asks now. Raises `Unavailable`."""
        self._wanted.update(names)
        if self._look is None:
            self._look = asyncio.create_task(self._look_up(call.tenant, call.opened_us - KEPT_US))
        try:
            return await asyncio.shield(self._look)
        except BooksError as error:
            raise Unavailable(f"what this call builds on cannot be checked: {error}", retry_after_s=1) from error

    async def _look_up(self, tenant: int, since_us: int) -> set[bytes]:
        await asyncio.sleep(_GATHER_S)
        wanted, self._wanted, self._look = list(self._wanted), set(), None
        found = await self._control.run(lambda connection: names_kept(connection, tenant, wanted, since_us))
        self._kept.remember(found)
        return set(found)


def _unknown(field: str, answer_id: str) -> Refusal:
    """Refuse what is another's as what does not exist, in OpenAI's words: whether it does is nobody else's business."""
    way_out = "it was not made here with this key, or too long ago: send its items again"
    if field == "previous_response_id":
        message = f"Previous response with id '{answer_id}' not found: {way_out}"
        return BadRequest(message, code="previous_response_not_found", param=field)
    if field == "conversation":
        message = f"Conversation with id '{answer_id}' not found: conversations are kept nowhere here: send its items"
        return NotFound(message, code="conversation_not_found", param=field)
    return NotFound(f"Item with id '{answer_id}' not found: {way_out}", code="item_not_found", param=field)
