"""Read the parts of a prompt in whichever protocol it came."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from bursar.core.records import Protocol
from bursar.wires.chat_parts import read_chat
from bursar.wires.gemini_parts import read_gemini
from bursar.wires.messages_parts import read_messages
from bursar.wires.parts import JsonObject, Part
from bursar.wires.responses_parts import read_responses
from bursar.wires.wire import UNREADABLE, bad_request

_READERS: Final[Mapping[Protocol, Callable[[JsonObject], tuple[Part, ...]]]] = {
    Protocol.openai_chat: read_chat,
    Protocol.anthropic_messages: read_messages,
    Protocol.openai_responses: read_responses,
    Protocol.gemini: read_gemini,
}
_body: Final = msgspec.json.Decoder(dict)


def read_parts(protocol: Protocol, body: bytes) -> tuple[Part, ...]:
    """Read the texts of a prompt in its order: tools, system, turns.

    What has an unknown shape, and what is no text, is not among them. Raises `BadRequest` for what is no JSON object.
    """
    try:
        return _READERS[protocol](_body.decode(body))
    except UNREADABLE as error:
        raise bad_request(error) from None
