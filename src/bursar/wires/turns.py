"""Tell the turns of a conversation apart, without keeping any of what they say."""

from hashlib import sha256
from typing import Any, Final, cast

import msgspec

_MESSAGES_MAX: Final = 64
_IDS: Final = frozenset(("id", "tool_call_id", "tool_use_id", "cache_control"))
"""What differs from one turn to the next though they say the same."""


class _Body(msgspec.Struct):
    messages: list[msgspec.Raw] = []


class _Message(msgspec.Struct):
    role: str = ""


_body = msgspec.json.Decoder(_Body)
_message = msgspec.json.Decoder(_Message)


def turn_digest(body: bytes) -> bytes:
    """Return a digest of the last turn of a request: the assistant's last message and what came after it.

    Two turns have the same digest when they say the same, whatever ids their tool calls have and whatever was said
    before. A body that holds no such messages has an empty one.
    """
    try:
        messages = _body.decode(body).messages
        first = len(messages)
        while first and len(messages) - first < _MESSAGES_MAX:
            first -= 1
            if _message.decode(messages[first]).role == "assistant":
                break
        turn = [_without_ids(msgspec.json.decode(message)) for message in messages[first:]]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    return sha256(msgspec.json.encode(turn, order="sorted")).digest()[:16] if turn else b""


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast(dict[str, Any], value)
        return {name: _without_ids(each) for name, each in fields.items() if name not in _IDS}
    if isinstance(value, list):
        return [_without_ids(each) for each in cast(list[Any], value)]
    return value
