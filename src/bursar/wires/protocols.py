"""List the protocols there are."""

from collections.abc import Mapping
from typing import Final

from bursar.core.records import Protocol
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.gemini import GEMINI
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.openai_responses import OPENAI_RESPONSES
from bursar.wires.wire import Wire

WIRES: Final[Mapping[Protocol, Wire]] = {
    wire.protocol: wire for wire in (OPENAI_CHAT, ANTHROPIC_MESSAGES, OPENAI_RESPONSES, GEMINI)
}
