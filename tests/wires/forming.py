"""Make neutral requests and answers that a protocol has a place for, and put events together again."""

from base64 import b64encode
from typing import Any

import msgspec
from hypothesis import strategies as st

from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.wires.neutral import (
    Answer,
    Counted,
    Document,
    Ended,
    Event,
    Format,
    Image,
    Part,
    PartEnded,
    PartStarted,
    Piece,
    Reasoning,
    Refused,
    Request,
    Signed,
    Started,
    Stop,
    Stopped,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)

CHAT, MESSAGES = Protocol.openai_chat, Protocol.anthropic_messages
RESPONSES, GEMINI = Protocol.openai_responses, Protocol.gemini
PROTOCOLS = (CHAT, MESSAGES, RESPONSES, GEMINI)

words = st.text(min_size=1, max_size=6)
names = st.sampled_from(["look_up", "send-mail", "weather"])
numbers = st.integers(0, 4).map(lambda quarters: quarters / 4)
objects = st.sampled_from(
    [
        {},
        {"type": "object", "properties": {"a": {"type": "string", "enum": ["x", None]}}, "required": ["a"]},
        {"any_of": None, "nullable": True, "n": -(2**63), "m": 2**64 - 1, "x": 0.5, "y": 1e300, "z": [-0.0, []]},
        {"text": 'qu"ote\n\u2028', "camelCase": {"snake_case": {"": False}}},
    ]
)
arguments = objects.map(lambda value: msgspec.json.encode(value).decode())
base64 = st.binary(min_size=1, max_size=9).map(lambda value: b64encode(value).decode())
base64_texts = words.map(lambda text: b64encode(text.encode()).decode())
texts = st.builds(Text, words)
counts = st.integers(0, 10_000)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def images(protocol: Protocol) -> st.SearchStrategy[Image]:
    details = {CHAT: ["", "auto", "low", "high"], RESPONSES: ["auto", "low", "high"]}.get(protocol, [""])
    given = st.builds(Image, data=base64, media_type=st.just("image/png"), detail=st.sampled_from(details))
    return given | st.builds(Image, url=st.just("https://images.example/a.png"), detail=st.sampled_from(details))


def documents(protocol: Protocol, *, by_address: bool = True) -> st.SearchStrategy[Document]:
    titles = st.sampled_from(["", "report"])
    given = st.builds(Document, data=base64, media_type=st.just("application/pdf"), name=titles)
    given |= st.builds(Document, data=base64_texts, media_type=st.just("text/plain"), name=titles)
    if protocol is CHAT or not by_address:
        return given
    kind = "application/pdf" if protocol is GEMINI else ""
    url = st.just("https://papers.example/a.pdf")
    return given | st.builds(Document, url=url, media_type=st.just(kind), name=titles)


def result_parts(protocol: Protocol) -> st.SearchStrategy[tuple[Any, ...]]:
    if protocol is CHAT:
        return st.lists(texts, max_size=2).map(tuple)
    if protocol is GEMINI:
        given = images(protocol).filter(lambda image: bool(image.data)) | documents(protocol, by_address=False)
        return st.tuples(texts, given) | st.tuples(texts)
    return st.lists(texts | images(protocol) | documents(protocol), max_size=2).map(tuple)


def calls(protocol: Protocol) -> st.SearchStrategy[ToolCall]:
    signatures = st.sampled_from(["", "c2ln"] if protocol is GEMINI else [""])
    return st.builds(ToolCall, st.just(""), names, arguments, signatures)


def thoughts(protocol: Protocol) -> st.SearchStrategy[Reasoning]:
    signed = st.builds(Reasoning, words, st.sampled_from(["", "c2ln"]))
    return signed | st.just(Reasoning("", "c2VjcmV0", redacted=True)) if protocol is MESSAGES else signed


@st.composite
def spoken(draw: st.DrawFn, protocol: Protocol, *, thinks: bool) -> tuple[Part, ...]:
    """Draw what a model says: chat has one place for each kind, the others an order of them."""
    if protocol is CHAT:
        thought = draw(st.lists(st.builds(Reasoning, words), max_size=1)) if thinks else []
        said = draw(st.lists(texts, max_size=1 if thinks else 2))
        refused = draw(st.lists(st.builds(Refused, words), max_size=1))
        return (*thought, *said, *refused, *draw(st.lists(calls(protocol), max_size=2)))
    kinds = texts | thoughts(protocol) | calls(protocol)
    if protocol is RESPONSES:
        kinds |= st.builds(Refused, words)
    return tuple(draw(st.lists(kinds, min_size=1, max_size=4)))


def numbered(parts: tuple[Part, ...], first: int) -> tuple[Part, ...]:
    """Give each tool call an id of its own."""
    ids = (
        msgspec.structs.replace(part, call_id=f"call_{first + index}") if isinstance(part, ToolCall) else part
        for index, part in enumerate(parts)
    )
    return tuple(ids)


@st.composite
def conversations(draw: st.DrawFn, protocol: Protocol) -> tuple[Turn, ...]:
    asked = texts | images(protocol) | documents(protocol)
    turns: list[Turn] = []
    for number in range(draw(st.integers(1, 3))):
        turns.append(Turn("user", tuple(draw(st.lists(asked, min_size=1, max_size=2)))))
        if protocol is not GEMINI and draw(st.booleans()):
            turns.append(Turn("system", (draw(texts),)))
        parts = numbered(draw(spoken(protocol, thinks=False)), number * 10)
        if not parts:
            continue
        turns.append(Turn("assistant", parts))
        failing = st.booleans() if protocol in (MESSAGES, GEMINI) else st.just(False)
        results = [
            ToolResult(part.call_id, draw(result_parts(protocol)), draw(failing))
            for part in parts
            if isinstance(part, ToolCall)
        ]
        if results:
            turns.append(Turn("tool", tuple(results)))
    return alternating(turns)


def alternating(turns: list[Turn]) -> tuple[Turn, ...]:
    """Leave out a turn of a role that has just spoken."""
    kept = [turn for turn, before in zip(turns, [None, *turns], strict=False) if not before or turn.role != before.role]
    return tuple(kept)


def choices(protocol: Protocol) -> st.SearchStrategy[ToolChoice]:
    bare = st.sampled_from([ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")])
    named = st.builds(ToolChoice, st.just("required"), st.tuples(names))
    if protocol is MESSAGES:
        return bare | named
    if protocol is GEMINI:
        return bare | named | st.builds(ToolChoice, st.just("required"), st.just(("weather", "look_up")))
    return bare | named | st.builds(ToolChoice, st.sampled_from(["auto", "required"]), st.just(("weather", "look_up")))


def formats(protocol: Protocol) -> st.SearchStrategy[Format]:
    if protocol is MESSAGES:
        return st.builds(Format, objects, strict=st.just(True))
    if protocol is GEMINI:
        return st.builds(Format, st.none() | objects)
    full = st.builds(Format, objects, names, st.sampled_from(["", "Of it."]), maybe(st.booleans()))
    return full | st.just(Format())


def thinkings(protocol: Protocol) -> st.SearchStrategy[Thinking]:
    shown = maybe(st.booleans())
    if protocol is CHAT:
        return st.builds(Thinking, st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]))
    if protocol is RESPONSES:
        return st.builds(Thinking, st.sampled_from(["none", "low", "max"]), shown=st.sampled_from([None, True]))
    if protocol is GEMINI:
        level = st.builds(Thinking, st.sampled_from(["minimal", "low", "medium", "high"]), shown=shown)
        return level | st.builds(Thinking, st.just(""), st.sampled_from([-1, 0, 100]), shown)
    return st.builds(Thinking, st.sampled_from(["", "low", "max"]), st.just(-1), shown)


@st.composite
def requests(draw: st.DrawFn, protocol: Protocol) -> Request:
    """Draw a request that a protocol has a place for."""
    choice = draw(maybe(choices(protocol)))
    strict = [None, True, False] if protocol in (CHAT, MESSAGES) else [True, False]
    if protocol is GEMINI:
        strict = [True] if choice and choice.mode == "auto" and draw(st.booleans()) else [None]
    schemas = objects if protocol is MESSAGES else maybe(objects)
    tools = st.builds(Tool, names, st.sampled_from(["", "Does it."]), schemas, st.sampled_from(strict))
    offered = tuple(draw(st.lists(tools, max_size=2)))
    if protocol is GEMINI and strict == [True] and not offered:
        choice = None
    parallel = {CHAT: [None, True, False], RESPONSES: [None, True, False]}.get(protocol, [None])
    if protocol is MESSAGES and choice and choice.mode != "none":
        parallel = [None, True, False]
    has_dials = protocol in (CHAT, GEMINI)
    return Request(
        system=tuple(draw(st.lists(words, max_size=2))),
        turns=draw(conversations(protocol)),
        tools=offered,
        tool_choice=choice,
        parallel_tools=draw(st.sampled_from(parallel)),
        temperature=draw(maybe(numbers)),
        top_p=draw(maybe(numbers)),
        top_k=draw(maybe(st.integers(1, 50))) if protocol in (MESSAGES, GEMINI) else None,
        stop=tuple(draw(st.lists(words, max_size=2))) if protocol is not RESPONSES else (),
        seed=draw(maybe(st.integers(0, 99))) if has_dials else None,
        presence_penalty=draw(maybe(numbers)) if has_dials else None,
        frequency_penalty=draw(maybe(numbers)) if has_dials else None,
        format=draw(maybe(formats(protocol))),
        verbosity=draw(st.sampled_from(["", "low", "high"])) if protocol in (CHAT, RESPONSES) else "",
        thinking=draw(maybe(thinkings(protocol))),
    )


@st.composite
def answers(draw: st.DrawFn, protocol: Protocol) -> Answer:
    """Draw an answer that a protocol has a place for."""
    parts = numbered(draw(spoken(protocol, thinks=True)), 0)
    called = any(isinstance(part, ToolCall) for part in parts)
    stop = draw(st.sampled_from([Stop.tools if called else Stop.end, Stop.length, Stop.filtered]))
    sequence = ""
    if protocol is MESSAGES and not called and draw(st.booleans()):
        stop, sequence = Stop.sequence, "END"
    return Answer(
        answer_id="answer_1",
        model="model-1",
        parts=parts,
        stop=stop,
        stop_sequence=sequence,
        usage=Usage(draw(counts), draw(counts), 0, 0, draw(counts), draw(counts)),
    )


def events_of(answer: Answer, piece_chars: int) -> list[Event]:
    """Tell an answer as a stream of pieces."""
    events: list[Event] = [Started(answer.answer_id, answer.model)]
    for part in answer.parts:
        started, text, signature = _opened(part)
        pieces = [Piece(text[at : at + piece_chars]) for at in range(0, len(text), piece_chars)]
        events += [started, *pieces, *([Signed(signature)] if signature else []), PartEnded()]
    assert answer.usage is not None
    return [*events, Stopped(answer.stop, answer.stop_sequence), Counted(answer.usage), Ended()]


def _opened(part: Part) -> tuple[PartStarted, str, str]:
    match part:
        case ToolCall():
            return PartStarted("tool", part.call_id, part.name), part.arguments, ""
        case Reasoning():
            return PartStarted("reasoning", redacted=part.redacted), part.text, part.signature
        case Refused():
            return PartStarted("refused"), part.text, ""
        case Text():
            return PartStarted("text"), part.text, ""
        case _:
            raise AssertionError(part)


def collected(events: list[Event]) -> Answer:
    """Put an answer together from the events of its stream."""
    answer, parts, whole = Answer(), [], False
    started, text, signature = None, "", ""
    for event in events:
        assert not whole, "nothing follows the end"
        match event:
            case Started():
                answer = msgspec.structs.replace(answer, answer_id=event.answer_id, model=event.model)
            case PartStarted():
                assert started is None, "parts follow one another"
                started, text, signature = event, "", ""
            case Piece():
                assert started is not None
                text += event.text
            case Signed():
                signature = event.signature
            case PartEnded():
                assert started is not None
                parts.append(_closed(started, text, signature))
                started = None
            case Stopped():
                answer = msgspec.structs.replace(answer, stop=event.stop, stop_sequence=event.sequence)
            case Counted():
                answer = msgspec.structs.replace(answer, usage=event.usage)
            case _:
                assert isinstance(event, Ended), event
                whole = True
    assert whole, "the stream ends"
    assert started is None, "each part ends"
    return msgspec.structs.replace(answer, parts=tuple(parts))


def _closed(started: PartStarted, text: str, signature: str) -> Part:
    match started.kind:
        case "tool":
            return ToolCall(started.call_id, started.name, text, signature)
        case "reasoning":
            return Reasoning(text, signature, started.redacted)
        case "refused":
            return Refused(text)
        case "text":
            return Text(text)


def merged(answer: Answer, *, by_kind: bool) -> Answer:
    """Join parts that say one thing in two; `by_kind` also where a protocol has one place for each kind."""
    parts = list(answer.parts)
    if by_kind:
        order = (Reasoning, Text, Refused, ToolCall)
        parts.sort(key=lambda part: order.index(type(part)))
    joined: list[Part] = []
    for part in parts:
        before = joined[-1] if joined else None
        if (
            type(before) is type(part)
            and isinstance(part, Text | Refused | Reasoning)
            and isinstance(before, type(part))
        ):
            joined[-1] = msgspec.structs.replace(before, text=before.text + part.text)
        else:
            joined.append(part)
    return msgspec.structs.replace(answer, parts=tuple(joined))
