"""Hold a conversation, an answer and a stream in one form that every chat protocol is read into and written from.

The values say what is meant, not how a protocol spells it. What a protocol says and this form has no place for is
refused where it is read; what this form says and another protocol has no place for is refused where it is written.
Both raise `CannotBeCarried`, so nothing that bears on the answer is dropped in silence.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final, Literal

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.records import Protocol
from bursar.core.usage import Usage

JsonObject = dict[str, Any]
"""A JSON object that is carried as it is: a schema, or what is written."""


class CannotBeCarried(BadRequest):
    """Refuse what another protocol has no place for; `param` is where the client said it."""

    def __init__(self, field: str, why: str = "") -> None:
        message = f"`{field}` cannot be carried" + (f": {why}" if why else "")
        super().__init__(message, code="cannot_be_carried", param=field)
        self.field = field
        self.why = why


class Text(msgspec.Struct, frozen=True, tag=True):
    """Hold a piece of text."""

    text: str


class Image(msgspec.Struct, frozen=True, tag=True):
    """Hold an image, by its address or as base64 with its media type."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    detail: str = ""  # how closely to look: OpenAI's alone


class Document(msgspec.Struct, frozen=True, tag=True):
    """Hold a document, by its address or as base64 with its media type."""

    url: str = ""
    data: str = ""
    media_type: str = ""
    name: str = ""


class Sound(msgspec.Struct, frozen=True, tag=True):
    """Hold a recording as base64; `kind` is the second half of its media type, as Google writes it.

    `where` is the field in which its client named the kind: what cannot be carried is refused by that.
    """

    data: str
    kind: str
    where: str


class Reasoning(msgspec.Struct, frozen=True, tag=True):
    """Hold what a model thought before it spoke; a provider alone can read its own signature."""

    text: str = ""
    signature: str = ""
    redacted: bool = False  # the signature is all there is


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Hold the words a model declines with, where a protocol tells them from others."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """Hold a call of a client's tool; `arguments` is JSON text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    signature: str = ""  # Gemini binds one to a call


class ToolResult(msgspec.Struct, frozen=True, tag=True):
    """Hold what a client's tool gave back."""

    call_id: str
    parts: tuple[Text | Image | Document | Sound, ...]
    failed: bool = False


Part = Text | Image | Document | Sound | Reasoning | Refused | ToolCall | ToolResult
Role = Literal["system", "user", "assistant", "tool"]


class Turn(msgspec.Struct, frozen=True):
    """Hold what one side said; a tool's turn has results alone. A `system` turn stands within the conversation."""

    role: Role
    parts: tuple[Part, ...]


class Turns:
    """Collect the turns of a conversation as they are read."""

    def __init__(self) -> None:
        self._turns: list[tuple[Role, list[Part]]] = []

    def add(self, role: Role, parts: Iterable[Part], *, joins: bool = False) -> None:
        """Add what one side said; `joins` it to the turn before, if that is of the same role."""
        if joins and self._turns and self._turns[-1][0] == role:
            self._turns[-1][1].extend(parts)
        else:
            self._turns.append((role, list(parts)))

    def __bool__(self) -> bool:
        return bool(self._turns)

    def all(self) -> tuple[Turn, ...]:
        """Return the turns."""
        return tuple(Turn(role, tuple(parts)) for role, parts in self._turns)


class Tool(msgspec.Struct, frozen=True):
    """Describe a client's tool by the JSON schema of its arguments."""

    name: str
    description: str = ""
    schema: JsonObject | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Say whether tools may, must or must not be called; `names` leaves some of them to choose from."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()


class Format(msgspec.Struct, frozen=True):
    """Say that the answer is JSON, of a schema where there is one."""

    schema: JsonObject | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


class Thinking(msgspec.Struct, frozen=True):
    """Say how much to think: a word for it, or tokens (0: not at all; -1: as the model sees fit)."""

    effort: str = ""
    tokens: int | None = None
    shown: bool | None = None  # whether the answer tells what was thought


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a request; model and output cap are set where it is written."""

    system: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    format: Format | None = None
    verbosity: str = ""
    thinking: Thinking | None = None


class Sending(msgspec.Struct, frozen=True):
    """Say what the gateway decided of a request that is sent on."""

    model: str
    cap: int  # output tokens
    cap_field: str = "max_completion_tokens"  # of chat completions, where a provider may know but one of the two
    stream: bool = False


class Stop(IntEnum):
    """Say why an answer ended."""

    end = 1
    length = 2  # the output cap, or the model's window
    tools = 3  # the client's tools are to be run
    sequence = 4  # one of the request's stop sequences
    filtered = 5  # the provider or the model declined


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a whole answer."""

    answer_id: str = ""
    model: str = ""
    parts: tuple[Part, ...] = ()
    stop: Stop = Stop.end
    stop_sequence: str = ""
    usage: Usage | None = None


class Telling(msgspec.Struct, frozen=True):
    """Say what an answer tells its client beside what the provider said."""

    model: str = ""  # the name the client asked for; empty: the provider's
    call_name: str = ""  # an id for an answer whose provider gave none
    created_s: int = 0  # Unix seconds
    wants_usage: bool = True  # the client asked to see the usage of its stream
    usage: Usage | None = None  # what was counted, where the provider reports none


class Started(msgspec.Struct, frozen=True, tag=True):
    """Begin a stream."""

    answer_id: str
    model: str


class PartStarted(msgspec.Struct, frozen=True, tag=True):
    """Begin a part; pieces follow until it ends, and no other part begins before."""

    kind: Literal["text", "reasoning", "refused", "tool"]
    call_id: str = ""
    name: str = ""
    redacted: bool = False


class Piece(msgspec.Struct, frozen=True, tag=True):
    """Add to the part that is open: text, or a tool call's arguments."""

    text: str


class Signed(msgspec.Struct, frozen=True, tag=True):
    """Sign the part that is open."""

    signature: str


class PartEnded(msgspec.Struct, frozen=True, tag=True):
    """End the part that is open."""


class Stopped(msgspec.Struct, frozen=True, tag=True):
    """Say why the answer ended."""

    stop: Stop
    sequence: str = ""


class Counted(msgspec.Struct, frozen=True, tag=True):
    """Report usage; a later report stands for an earlier one."""

    usage: Usage


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Report that the provider failed in the midst of its answer."""

    message: str
    kind: str = ""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """End a stream that is whole."""


Event = Started | PartStarted | Piece | Signed | PartEnded | Stopped | Counted | Failed | Ended

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Words for how much to think, of all protocols together."""

BUDGETS_TOKENS: Final = {
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
"""What a word stands for where thinking is bounded in tokens; the first three are Google's own for the same words."""


def effort_of(thinking: Thinking) -> str:
    """Return the word for how much to think; empty where the model decides."""
    if thinking.effort or thinking.tokens is None or thinking.tokens < 0:
        return thinking.effort
    if thinking.tokens == 0:
        return "none"
    return next((word for word in ("low", "medium") if thinking.tokens <= BUDGETS_TOKENS[word]), "high")


def said(parts: tuple[Part, ...]) -> str:
    """Join what the text parts say."""
    return "".join(part.text for part in parts if isinstance(part, Text))


def readable_arguments(arguments: str) -> JsonObject | None:
    """Read a tool call's arguments; None when they are no JSON object. No arguments at all are an empty one."""
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None


FIELDS: Final[dict[Protocol, dict[str, str]]] = {
    Protocol.openai_chat: {
        "turns": "messages",
        "format": "response_format",
        "thinking": "reasoning_effort",
        "parallel_tools": "parallel_tool_calls",
    },
    Protocol.anthropic_messages: {
        "turns": "messages",
        "format": "output_config.format",
        "parallel_tools": "tool_choice.disable_parallel_tool_use",
        "stop": "stop_sequences",
    },
    Protocol.openai_responses: {
        "turns": "input",
        "format": "text.format",
        "verbosity": "text.verbosity",
        "thinking": "reasoning",
        "parallel_tools": "parallel_tool_calls",
    },
    Protocol.gemini: {
        "turns": "contents",
        "format": "generationConfig.responseMimeType",
        "thinking": "generationConfig.thinkingConfig",
        "temperature": "generationConfig.temperature",
        "top_p": "generationConfig.topP",
        "top_k": "generationConfig.topK",
        "stop": "generationConfig.stopSequences",
        "seed": "generationConfig.seed",
        "presence_penalty": "generationConfig.presencePenalty",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "tool_choice": "toolConfig.functionCallingConfig",
    },
}
"""What a field of the neutral request is called where it came from, where that differs."""
