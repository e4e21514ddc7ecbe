"""Translate requests, answers, errors and streams from one chat protocol to another.

`source` is the protocol something is in, `target` the one it is wanted in. Of a request the client's is the source
and the provider's the target; of an answer it is the other way round.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import msgspec

from bursar.core import records
from bursar.core.errors import BadRequest
from bursar.wires import chat_form, gemini_answers, gemini_form, messages_form, responses_form
from bursar.wires.chat_stream import ChatChunks, ChatEvents
from bursar.wires.gemini_stream import GeminiChunks, GeminiEvents
from bursar.wires.messages_stream import MessagesChunks, MessagesEvents
from bursar.wires.neutral import (
    FIELDS,
    Answer,
    CannotBeCarried,
    Ended,
    Event,
    Failed,
    Part,
    PartEnded,
    PartStarted,
    Piece,
    Reasoning,
    Request,
    Sending,
    Signed,
    Stop,
    Stopped,
    Telling,
    ToolCall,
    Turn,
)
from bursar.wires.responses_stream import ResponsesChunks, ResponsesEvents
from bursar.wires.wire import UNREADABLE, BadAnswer, bad_request


class EventReader(Protocol):
    """Read a stream of one protocol into neutral events."""

    def read(self, event: bytes) -> list[Event]:
        """Read one whole event. Raises `BadRequest` for one that cannot be read."""
        ...

    def end(self) -> list[Event]:
        """Return what is left when the provider has closed: an end, if the answer is whole."""
        ...


class EventWriter(Protocol):
    """Write neutral events as a stream of one protocol."""

    def write(self, event: Event) -> bytes:
        """Write one event, as no, one or several events of the protocol."""
        ...


class Form(NamedTuple):
    """Hold how a protocol is read into the neutral form and written from it."""

    read_request: Callable[[bytes], Request]
    write_request: Callable[[Request, Sending], bytes]
    read_answer: Callable[[bytes], Answer]
    write_answer: Callable[[Answer, Telling], bytes]
    events: Callable[[], EventReader]
    chunks: Callable[[Telling], EventWriter]


FORMS: Final[dict[records.Protocol, Form]] = {
    records.Protocol.openai_chat: Form(
        chat_form.read_request,
        chat_form.write_request,
        chat_form.read_answer,
        chat_form.write_answer,
        ChatEvents,
        ChatChunks,
    ),
    records.Protocol.anthropic_messages: Form(
        messages_form.read_request,
        messages_form.write_request,
        messages_form.read_answer,
        messages_form.write_answer,
        MessagesEvents,
        MessagesChunks,
    ),
    records.Protocol.openai_responses: Form(
        responses_form.read_request,
        responses_form.write_request,
        responses_form.read_answer,
        responses_form.write_answer,
        ResponsesEvents,
        ResponsesChunks,
    ),
    records.Protocol.gemini: Form(
        gemini_form.read_request,
        gemini_form.write_request,
        gemini_answers.read_answer,
        gemini_answers.write_answer,
        GeminiEvents,
        GeminiChunks,
    ),
}

_UNFIT: Final = (*UNREADABLE, OverflowError)
"""What reading or writing JSON may raise for a body made to break it."""


def translate_request(body: bytes, source: records.Protocol, target: records.Protocol, sending: Sending) -> bytes:
    """Return a request in the provider's protocol, with the model and output cap that were decided.

    Raises `BadRequest` naming the field for a body that cannot be read, and `CannotBeCarried` for what the other
    protocol has no place for.
    """
    try:
        request = FORMS[source].read_request(body)
        if request.turns and request.turns[-1].role == "assistant":
            raise CannotBeCarried("turns", "an answer that the client begins is continued by its own protocol alone")
        return FORMS[target].write_request(_without_thoughts(request), sending)
    except CannotBeCarried as refusal:
        raise _named(refusal, source, target) from None
    except _UNFIT as error:
        raise _unfit(error) from None


def _named(refusal: CannotBeCarried, source: records.Protocol, target: records.Protocol) -> BadRequest:
    """Say of a refusal what the client called the field, where it was to go, and the way out."""
    field = FIELDS[source].get(refusal.field, refusal.field)
    why = f": {refusal.why}" if refusal.why else ""
    message = (
        f"`{field}` cannot be carried from {source.name} to {target.name}{why}; "
        f"leave it out, or ask for a model whose provider speaks {source.name}"
    )
    return BadRequest(message, code=refusal.code, param=field)


def _unfit(error: Exception) -> BadRequest:
    return BadRequest("a number is out of range") if isinstance(error, OverflowError) else bad_request(error)


def _without_thoughts(request: Request) -> Request:
    """Leave out what only the provider that wrote it can read: what it thought, and what it signed."""
    turns = [Turn(turn.role, tuple(_unsigned(part) for part in turn.parts if _is_said(part))) for turn in request.turns]
    kept = (new for new, old in zip(turns, request.turns, strict=True) if new.parts or not old.parts)
    return msgspec.structs.replace(request, turns=tuple(kept))


def _is_said(part: Part) -> bool:
    return not isinstance(part, Reasoning)


def _unsigned(part: Part) -> Part:
    if isinstance(part, ToolCall) and part.signature:
        return msgspec.structs.replace(part, signature="")
    return part


def translate_answer(body: bytes, source: records.Protocol, target: records.Protocol, telling: Telling) -> bytes:
    """Return a whole answer in the client's protocol. Raises `BadAnswer` for one that cannot be read or carried."""
    try:
        answer = FORMS[source].read_answer(body)
        parts = tuple(_shown(part) for part in answer.parts if not isinstance(part, Reasoning) or part.text)
        return FORMS[target].write_answer(msgspec.structs.replace(answer, parts=parts), telling)
    except BadRequest as error:
        raise BadAnswer(error.message) from None
    except _UNFIT as error:
        raise BadAnswer(_unfit(error).message) from None


def _shown(part: Part) -> Part:
    return Reasoning(part.text) if isinstance(part, Reasoning) else _unsigned(part)


class StreamTranslator:
    """Translate one stream, event by event."""

    def __init__(self, source: records.Protocol, target: records.Protocol, telling: Telling) -> None:
        self._reader = FORMS[source].events()
        self._writer = FORMS[target].chunks(telling)
        self._thought: Event | None = None  # a part of reasoning of which nothing was told yet
        self._ended = False

    @property
    def ended(self) -> bool:
        """Tell whether the stream has come to its regular end, and nothing is to follow."""
        return self._ended

    def feed(self, event: bytes) -> bytes:
        """Translate one whole event; may be none, or several. Raises `BadAnswer` for one that cannot be read."""
        if self._ended:
            return b""
        return self._write(lambda: self._reader.read(event))

    def end(self) -> bytes:
        """Return what ends the stream when the provider has closed; nothing for an answer that was cut."""
        return b"" if self._ended else self._write(self._reader.end)

    def _write(self, read: Callable[[], list[Event]]) -> bytes:
        try:
            return b"".join(self._writer.write(event) for each in read() for event in self._filtered(each))
        except BadRequest as error:
            raise BadAnswer(error.message) from None
        except _UNFIT as error:
            raise BadAnswer(_unfit(error).message) from None

    def _filtered(self, event: Event) -> list[Event]:
        """Leave out signatures, and reasoning that is nothing but its signature."""
        if isinstance(event, Ended | Failed):
            self._ended = True
        if isinstance(event, PartStarted) and event.kind == "reasoning":
            self._thought = event
            return []
        if isinstance(event, Signed):
            return []
        if self._thought is None:
            return [event]
        thought, self._thought = self._thought, None
        if isinstance(event, Piece):
            return [thought, event]
        return [] if isinstance(event, PartEnded) else [event]


class StreamText:
    """Read what a stream says, whatever protocol it is in: its text, and how the answer ended."""

    def __init__(self, source: records.Protocol) -> None:
        self._reader = FORMS[source].events()
        self._speaks = False  # the part that is open is text
        self._pieces: list[str] = []
        self.cut_off = False  # it ended at its cap
        self.calls_tools = False

    @property
    def text(self) -> str:
        """Return the text so far, without what the model thought."""
        return "".join(self._pieces)

    def feed(self, event: bytes) -> None:
        """Read one whole event. Raises `BadAnswer` for one that cannot be read, or says that the provider failed."""
        try:
            events = self._reader.read(event)
        except BadRequest as error:
            raise BadAnswer(error.message) from None
        except _UNFIT as error:
            raise BadAnswer(_unfit(error).message) from None
        for each in events:
            self._take(each)

    def _take(self, event: Event) -> None:
        if isinstance(event, Failed):
            raise BadAnswer(event.message)
        if isinstance(event, PartStarted):
            self._speaks = event.kind == "text"
            self.calls_tools |= event.kind == "tool"
        elif isinstance(event, Piece) and self._speaks:
            self._pieces.append(event.text)
        elif isinstance(event, Stopped):
            self.cut_off = event.stop is Stop.length
