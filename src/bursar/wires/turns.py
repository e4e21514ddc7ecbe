"""Tell the turns of a conversation apart, without keeping any of what they say."""

from hashlib import sha256
from typing import Any, Final, cast

import msgspec

_MESSAGES_MAX: Final = 64
_SIGNATURES: Final = ("signature", "thoughtSignature", "thought_signature")
_IDS: Final = frozenset(("id", "call_id", "tool_call_id", "tool_use_id", "cache_control", *_SIGNATURES))
"""What differs from one turn to the next though they say the same."""
_AS_THEY_ARE: Final = frozenset(("input", "arguments", "args", "response"))
"""What is handed to a tool, and what Gemini is told it gave: an id in there is part of what is said."""
_THOUGHTS: Final = frozenset(("thinking", "redacted_thinking", "reasoning"))
"""Blocks that lead to what is said, and are no part of it."""
_MODELS: Final = ("assistant", "model")
_CALLS: Final = ("_call", "reasoning")
"""How the types end of what a model answers besides messages."""


class _Body(msgspec.Struct):
    messages: list[msgspec.Raw] = []
    system: msgspec.Raw = msgspec.Raw(b"null")
    # Of responses, whose turns are lists of items.
    input: msgspec.Raw = msgspec.Raw(b"null")
    instructions: msgspec.Raw = msgspec.Raw(b"null")
    previous_response_id: str | None = None
    conversation: Any = None
    # Of Gemini, in either spelling; one object stands for a list of one.
    contents: msgspec.Raw = msgspec.Raw(b"null")
    systemInstruction: msgspec.Raw = msgspec.Raw(b"null")  # noqa: N815
    system_instruction: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    role: str | None = None
    type: str | None = None

    @property
    def is_models(self) -> bool:
        """Tell whether the model has said it."""
        return self.role in _MODELS or (self.type is not None and self.type.endswith(_CALLS))


_body = msgspec.json.Decoder(_Body)
_message = msgspec.json.Decoder(_Message)
_items = msgspec.json.Decoder(list[msgspec.Raw])


def turn_digest(body: bytes) -> bytes:
    """Return a digest of the last turn of a request: the assistant's last message and what came after it.

    Two turns have the same digest when they say the same, whatever ids their tool calls have and whatever was said
    before. Where the assistant has said nothing yet, the turn is all there is, the system prompt included. A body that
    holds no such messages has an empty digest, and so has one whose last turn is kept by the provider.
    """
    try:
        asked = _body.decode(body)
        last = _last_turn(asked) if bytes(asked.input) == b"null" else _last_items(asked)
        turn = _without_ids([msgspec.json.decode(message) for message in last])
        return sha256(msgspec.json.encode(turn, order="sorted")).digest()[:16] if turn else b""
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):  # UnicodeDecodeError is a ValueError
        return b""


def _last_turn(asked: _Body) -> list[msgspec.Raw]:
    messages, systems = asked.messages, [asked.system]
    if bytes(memoryview(asked.contents)[:4]) != b"null":
        is_list = bytes(memoryview(asked.contents)[:1]) == b"["
        messages = _items.decode(asked.contents) if is_list else [asked.contents]
        systems = [asked.systemInstruction, asked.system_instruction]
    first = len(messages)
    while first and len(messages) - first < _MESSAGES_MAX:
        first -= 1
        if _message.decode(messages[first]).role in _MODELS:
            return messages[first:]
    return messages[first:] if first or not messages else [*systems, *messages]


def _last_items(asked: _Body) -> list[msgspec.Raw]:
    """Return the items of the model's last answer, of which there may be several, and what came after them."""
    items = _items.decode(asked.input) if bytes(asked.input).startswith(b"[") else [asked.input]
    answered = False
    for first in range(len(items) - 1, max(-1, len(items) - 1 - _MESSAGES_MAX), -1):
        models = _message.decode(items[first]).is_models if bytes(items[first]).startswith(b"{") else False
        if answered and not models:
            return items[first + 1 :]
        answered = answered or models
    if answered or len(items) > _MESSAGES_MAX:
        return items[-_MESSAGES_MAX:]
    kept = asked.previous_response_id is not None or asked.conversation is not None
    return [] if kept else [asked.instructions, *items]


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast(dict[str, Any], value)
        kept = {name: each for name, each in fields.items() if name not in _IDS}
        return {name: each if name in _AS_THEY_ARE else _without_ids(each) for name, each in kept.items()}
    if isinstance(value, list):
        return [_without_ids(each) for each in cast(list[Any], value) if not _is_thought(each)]
    return value


def _is_thought(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    block = cast(dict[str, Any], value)
    return block.get("type") in _THOUGHTS or block.get("thought") is True
