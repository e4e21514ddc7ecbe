"""Tell prompts apart by how they begin: what a provider that saw the same beginning before has cached."""

from hashlib import blake2b
from typing import Final

import msgspec

_PART_BYTES_MAX: Final = 4_096
"""Of each part no more is read: beginnings that differ only further on may as well go the same way."""

_FIRST_MAX: Final = 4


class _Body(msgspec.Struct):
    """Hold the parts prompts begin with, in any of the protocols."""

    tools: msgspec.Raw = msgspec.Raw(b"")
    system: msgspec.Raw = msgspec.Raw(b"")
    instructions: msgspec.Raw = msgspec.Raw(b"")
    system_instruction: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="systemInstruction")
    messages: msgspec.Raw = msgspec.Raw(b"")
    input: msgspec.Raw = msgspec.Raw(b"")
    contents: msgspec.Raw = msgspec.Raw(b"")


class _Turn(msgspec.Struct):
    role: str = "user"


_body = msgspec.json.Decoder(_Body)
_turns = msgspec.json.Decoder(list[msgspec.Raw])
_turn = msgspec.json.Decoder(_Turn)


def prefix_digest(body: bytes) -> bytes:
    """Return a digest of how a prompt begins: tools, system prompt, and the first turns up to the user's.

    It stays the same as a conversation goes on. A body that holds none of this has the digest of nothing.
    """
    digest = blake2b(digest_size=16)
    try:
        asked = _body.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return digest.digest()
    for part in (asked.tools, asked.system, asked.instructions, asked.system_instruction):
        digest.update(bytes(part)[:_PART_BYTES_MAX])
        digest.update(b"\0")
    for turns in (asked.messages, asked.input, asked.contents):
        for turn in _first_turns(bytes(turns)):
            digest.update(turn[:_PART_BYTES_MAX])
    return digest.digest()


def _first_turns(turns: bytes) -> list[bytes]:
    """Return the turns up to the user's first; of an input that is a text, all of it."""
    if not turns.startswith(b"["):
        return [turns]
    first: list[bytes] = []
    try:
        for turn in _turns.decode(turns)[:_FIRST_MAX]:
            first.append(bytes(turn))
            if _turn.decode(turn).role == "user":
                break
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return first
    return first
