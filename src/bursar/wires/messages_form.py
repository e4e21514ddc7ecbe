"""Read Anthropic messages into the neutral form, and write them from it."""

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from typing import Any, Final, Literal

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.usage import Usage
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES, usage_from_report
from bursar.wires.fields import Fields, Silent, image_of
from bursar.wires.messages_thinking import EFFORTS, read_thinking, write_thinking
from bursar.wires.naming import call_id_in
from bursar.wires.neutral import (
    Answer,
    CannotBeCarried,
    Document,
    Format,
    Image,
    JsonObject,
    Part,
    Reasoning,
    Refused,
    Request,
    Role,
    Sending,
    Sound,
    Stop,
    Telling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Turns,
    readable_arguments,
)
from bursar.wires.wire import believed

CALL_ID: Final = r"[a-zA-Z0-9_-]+"
"""What Anthropic takes as the id of a tool use."""

LEFT_BEHIND: Final[Silent] = {
    "allowed_callers": (["direct"],),
    "cache_control": (),
    "caller": ({"type": "direct"},),
    "citations": ([], {"enabled": False}),
    "context_management": ({"edits": []}, {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}),
    "defer_loading": (False,),
    "eager_input_streaming": (),
    "inference_geo": ("global",),
    "mcp_servers": ([],),
    "metadata": (),
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
}
STOPS: Final = {
    "end_turn": Stop.end,
    "max_tokens": Stop.length,
    "model_context_window_exceeded": Stop.length,
    "tool_use": Stop.tools,
    "stop_sequence": Stop.sequence,
    "refusal": Stop.filtered,
}
STOP_WORDS: Final = {
    Stop.end: "end_turn",
    Stop.length: "max_tokens",
    Stop.tools: "tool_use",
    Stop.sequence: "stop_sequence",
    Stop.filtered: "refusal",
}
_PARALLEL: Final = "disable_parallel_tool_use"
_encode: Final = msgspec.json.Encoder().encode


def read_request(body: bytes) -> Request:
    """Read a request. Raises `BadRequest` naming the field, `CannotBeCarried` for one without a neutral form."""
    fields = Fields(msgspec.json.decode(body), "", LEFT_BEHIND)
    fields.leave("model", "max_tokens", "stream")
    effort, wanted = _read_output(fields.object("output_config"))
    thinking = read_thinking(fields.object("thinking"), effort)
    choice, parallel = _read_choice(fields.object("tool_choice"))
    request = Request(
        system=tuple(part.text for part in _read_parts(fields, "system", ("text",))),
        turns=_read_messages(fields.objects("messages")),
        tools=tuple(_read_tool(tool) for tool in fields.objects("tools")),
        tool_choice=choice,
        parallel_tools=parallel,
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        stop=fields.texts("stop_sequences"),
        format=wanted,
        thinking=thinking,
    )
    fields.end()
    return request


def _read_output(output: Fields | None) -> tuple[str, Format | None]:
    if output is None:
        return "", None
    effort = output.word("effort", EFFORTS)
    given = output.object("format")
    output.end()
    if given is None:
        return effort, None
    if given.text("type") != "json_schema":
        raise CannotBeCarried(given.at("type"), "the format is not json_schema")
    wanted = Format(given.plain("schema") or {}, strict=True)
    given.end()
    return effort, wanted


_USER_BLOCKS: Final = ("text", "image", "document", "tool_result")
_ASSISTANT_BLOCKS: Final = ("text", "thinking", "redacted_thinking", "tool_use")
_RESULT_BLOCKS: Final = ("text", "image", "document")


def _read_messages(messages: list[Fields]) -> tuple[Turn, ...]:
    """Read messages; a user's is split where results of tools and words of the user meet."""
    turns = Turns()
    for message in messages:
        role = message.text("role")
        if role == "assistant":
            turns.add("assistant", _read_parts(message, "content", _ASSISTANT_BLOCKS))
        elif role == "system":
            turns.add("system", _read_parts(message, "content", ("text",)))
        elif role == "user":
            _split(turns, _read_parts(message, "content", _USER_BLOCKS))
        else:
            raise CannotBeCarried(message.at("role"), "the role is none of user, assistant, system")
        message.end()
    return turns.all()


def _split(turns: Turns, parts: tuple[Part, ...]) -> None:
    before: Role | None = None
    for part in parts:
        role: Role = "tool" if isinstance(part, ToolResult) else "user"
        turns.add(role, (part,), joins=role == before)
        before = role
    if not parts:
        turns.add("user", ())


def _read_parts(owner: Fields, name: str, kinds: tuple[str, ...]) -> tuple[Any, ...]:
    """Read content: a text, or blocks of the kinds that may stand there."""
    content = owner.content(name)
    if isinstance(content, str):
        return (Text(content),) if content else ()
    parts: list[Part] = []
    for block in content:
        kind = block.text("type")
        if kind not in kinds:
            raise CannotBeCarried(block.at("type"), "a block of this type has no form in other protocols here")
        parts.append(_read_block(kind, block))
        block.end()
    return tuple(parts)


def _read_block(kind: str, block: Fields) -> Part:
    if kind == "text":
        return Text(block.text("text"))
    if kind == "image":
        return _read_image(block)
    if kind == "document":
        return _read_document(block)
    if kind == "thinking":
        return Reasoning(block.text("thinking"), block.text("signature", ""))
    if kind == "redacted_thinking":
        return Reasoning("", block.text("data"), redacted=True)
    if kind == "tool_use":
        return _read_use(block)
    parts = _read_parts(block, "content", _RESULT_BLOCKS)
    return ToolResult(block.text("tool_use_id"), parts, bool(block.flag("is_error")))


def _read_use(block: Fields) -> ToolCall:
    arguments = block.plain("input")
    return ToolCall(block.text("id"), block.text("name"), _encode(arguments or {}).decode())


def _source(block: Fields) -> tuple[str, Fields]:
    source = block.object("source")
    if source is None:
        raise block.wrong("source", "an object")
    return source.text("type"), source


def _read_image(block: Fields) -> Image:
    kind, source = _source(block)
    if kind == "base64":
        image = Image(data=source.text("data"), media_type=source.text("media_type"))
    elif kind == "url":
        image = image_of(source.text("url"), "", source.at("url"))
    else:
        raise CannotBeCarried(source.at("type"), "a file kept at one provider cannot be read by another")
    source.end()
    return image


def _read_document(block: Fields) -> Document:
    kind, source = _source(block)
    name = block.text("title", "")
    if kind == "base64":
        document = Document(data=source.text("data"), media_type=source.text("media_type"), name=name)
    elif kind == "text":
        data = b64encode(source.text("data").encode()).decode()
        document = Document(data=data, media_type=source.text("media_type", "text/plain"), name=name)
    elif kind == "url":
        document = Document(url=source.text("url"), name=name)
    else:
        raise CannotBeCarried(source.at("type"), "a document is carried as base64, text or its address")
    source.end()
    return document


def _read_tool(tool: Fields) -> Tool:
    if tool.text("type", "custom") != "custom":
        raise CannotBeCarried(tool.at("type"), "a tool of Anthropic's own has no form in other protocols")
    name, description = tool.text("name"), tool.text("description", "")
    read = Tool(name, description, tool.plain("input_schema"), tool.flag("strict"))
    tool.end()
    return read


_MODES: Final[dict[str, Literal["auto", "none", "required"]]] = {
    "auto": "auto",
    "any": "required",
    "tool": "required",
    "none": "none",
}
_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}


def _read_choice(given: Fields | None) -> tuple[ToolChoice | None, bool | None]:
    if given is None:
        return None, None
    kind = given.text("type")
    if kind not in _MODES:
        raise CannotBeCarried(given.at("type"), "the choice is none of auto, any, tool, none")
    single = given.flag(_PARALLEL)
    names = (given.text("name"),) if kind == "tool" else ()
    given.end()
    return ToolChoice(_MODES[kind], names), None if single is None else not single


def write_request(request: Request, sending: Sending) -> bytes:
    """Write a request. Raises `CannotBeCarried` for what messages has no place for."""
    _check(request)
    fields: JsonObject = {
        "model": sending.model,
        "max_tokens": sending.cap,
        "messages": _write_messages(request.turns),
        "system": [{"type": "text", "text": text} for text in request.system if text] or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": request.stop or None,
        "tools": [_write_tool(tool) for tool in request.tools] or None,
        "tool_choice": _write_choice(request),
        "stream": True if sending.stream else None,
    }
    thinking, effort = write_thinking(request.thinking or Thinking(), request.turns, sending)
    output: JsonObject = {"effort": effort} if effort else {}
    if request.format is not None:
        output["format"] = {"type": "json_schema", "schema": request.format.schema}
    fields |= {"thinking": thinking, "output_config": output or None}
    return _encode({name: value for name, value in fields.items() if value is not None})


def _check(request: Request) -> None:
    for name in ("seed", "presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            raise CannotBeCarried(name, "messages does not have it")
    if request.verbosity not in ("", "medium"):
        raise CannotBeCarried("verbosity", "messages does not have it")
    if request.temperature is not None and request.temperature > 1:
        raise CannotBeCarried("temperature", "in messages it is at most 1")
    if request.format is not None and request.format.schema is None:
        raise CannotBeCarried("format", "messages writes JSON by a schema alone")
    if not request.turns or request.turns[0].role != "user":
        raise CannotBeCarried("turns", "in messages the user speaks first")


def _write_messages(turns: tuple[Turn, ...]) -> list[JsonObject]:
    """Write turns as messages of alternating roles: results of tools and words of the user are one message."""
    messages: list[JsonObject] = []
    for turn in turns:
        role = "user" if turn.role == "tool" else turn.role
        blocks = [_write_block(part) for part in turn.parts if part != Text("")]
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})
    return messages


def _write_block(part: Part) -> JsonObject:
    if isinstance(part, Text | Refused):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        base64 = {"type": "base64", "media_type": part.media_type, "data": part.data}
        return {"type": "image", "source": {"type": "url", "url": part.url} if part.url else base64}
    if isinstance(part, Sound):
        raise CannotBeCarried(part.where, "a recording has no place in messages: Anthropic's models hear none")
    if isinstance(part, Document):
        block: JsonObject = {"type": "document", "source": _document_source(part)}
        return block | ({"title": part.name} if part.name else {})
    if isinstance(part, Reasoning):
        return _write_reasoning(part)
    if isinstance(part, ToolCall):
        return _write_use(part)
    result: JsonObject = {"type": "tool_result", "tool_use_id": call_id_in(CALL_ID, part.call_id)}
    if content := [_write_block(each) for each in part.parts if each != Text("")]:
        result["content"] = content
    return result | ({"is_error": True} if part.failed else {})


def _document_source(document: Document) -> JsonObject:
    if document.url:
        return {"type": "url", "url": document.url}
    if document.media_type == "application/pdf":
        return {"type": "base64", "media_type": document.media_type, "data": document.data}
    if not document.media_type.startswith("text/"):
        raise CannotBeCarried("turns", "in messages a document is PDF or text")
    try:
        text = b64decode(document.data, validate=True).decode()
    except (BadBase64, UnicodeDecodeError):
        raise BadRequest("expected base64 of a text in UTF-8 in a document's data") from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _write_reasoning(part: Reasoning) -> JsonObject:
    if part.redacted:
        return {"type": "redacted_thinking", "data": part.signature}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _write_use(call: ToolCall) -> JsonObject:
    arguments = readable_arguments(call.arguments)
    if arguments is None:
        raise CannotBeCarried("turns", "the arguments of a tool call are no JSON object")
    return {"type": "tool_use", "id": call_id_in(CALL_ID, call.call_id), "name": call.name, "input": arguments}


def _write_tool(tool: Tool) -> JsonObject:
    given: JsonObject = {
        "name": tool.name,
        "description": tool.description or None,
        "input_schema": {"type": "object", "properties": {}} if tool.schema is None else tool.schema,
        "strict": tool.strict,
    }
    return {name: value for name, value in given.items() if value is not None}


def _write_choice(request: Request) -> JsonObject | None:
    choice, parallel = request.tool_choice, request.parallel_tools
    if choice is None:
        return {"type": "auto", _PARALLEL: True} if parallel is False and request.tools else None
    if choice.names and (choice.mode != "required" or len(choice.names) > 1):
        raise CannotBeCarried("tool_choice", "messages cannot choose among some of the tools")
    written: JsonObject = {"type": _CHOICES[choice.mode]}
    if choice.names:
        written = {"type": "tool", "name": choice.names[0]}
    if parallel is not None and choice.mode != "none":
        written[_PARALLEL] = not parallel
    return written


def read_answer(body: bytes) -> Answer:
    """Read a whole answer. Raises `BadRequest` for one that cannot be read."""
    fields = Fields(msgspec.json.decode(body), "", LEFT_BEHIND)
    blocks = fields.objects("content")
    return Answer(
        answer_id=fields.text("id", ""),
        model=fields.text("model", ""),
        parts=tuple(_read_answered(block) for block in blocks),
        stop=stop_of(fields.text("stop_reason", "end_turn")),
        stop_sequence=fields.text("stop_sequence", ""),
        usage=believed(fields.plain("usage"), usage_from_report),
    )


def _read_answered(block: Fields) -> Part:
    kind = block.text("type")
    if kind not in _ASSISTANT_BLOCKS:
        raise BadRequest(f"expected a known type in `{block.at('type')}`", param=block.at("type"))
    return _read_block(kind, block)


def stop_of(word: str) -> Stop:
    """Read why an answer ended."""
    stop = STOPS.get(word)
    if stop is None:
        raise BadRequest("expected a known reason in `stop_reason`", param="stop_reason")
    return stop


def write_answer(answer: Answer, telling: Telling) -> bytes:
    """Write a whole answer. A tool call that the output cap cut off is left out: half of one cannot be written."""
    cut = answer.stop is Stop.length
    parts = [part for part in answer.parts if not (cut and _is_half(part))]
    usage = answer.usage or telling.usage or Usage()
    return _encode(
        {
            "id": answer.answer_id or telling.call_name,
            "type": "message",
            "role": "assistant",
            "model": telling.model or answer.model,
            "content": [_write_block(part) for part in parts],
            "stop_reason": STOP_WORDS[answer.stop],
            "stop_sequence": answer.stop_sequence or None,
            "usage": ANTHROPIC_MESSAGES.usage_report(usage),
        }
    )


def _is_half(part: Part) -> bool:
    return isinstance(part, ToolCall) and readable_arguments(part.arguments) is None
