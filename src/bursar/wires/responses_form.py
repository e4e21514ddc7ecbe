"""Read OpenAI responses into the neutral form, and write them from it."""

from typing import Any, Final, Literal

import msgspec

from bursar.core.errors import BadRequest
from bursar.wires.fields import Fields, Silent, data_uri, image_of, media_of, read_input_audio, write_input_audio
from bursar.wires.naming import call_id_in, made_id
from bursar.wires.neutral import (
    EFFORTS,
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
    effort_of,
)
from bursar.wires.openai_responses import OPENAI_RESPONSES, usage_from_report
from bursar.wires.wire import believed

CALL_ID: Final = r"[\x21-\x7e]{1,64}"
"""What OpenAI takes as the id of a function call."""

LEFT_BEHIND: Final[Silent] = {
    "annotations": (),
    "background": (False,),
    "context": ("auto",),
    "id": (),
    "include": ([], ["reasoning.encrypted_content"]),
    "logprobs": (),
    "max_tool_calls": (),
    "metadata": (),
    "mode": ("standard",),
    "phase": (),
    "prompt_cache_breakpoint": (),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "safety_identifier": (),
    "service_tier": ("auto", "default"),
    "status": (),
    "store": (False,),
    "stream_options": (),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "user": (),
}
STATUSES: Final = {
    Stop.end: "completed",
    Stop.tools: "completed",
    Stop.sequence: "completed",
    Stop.length: "incomplete",
    Stop.filtered: "incomplete",
}
REASONS: Final = {Stop.length: "max_output_tokens", Stop.filtered: "content_filter"}
_SUMMARIES: Final = ("auto", "concise", "detailed")
_DETAILS: Final = ("auto", "low", "high", "original")
_encode: Final = msgspec.json.Encoder().encode


def read_request(body: bytes) -> Request:
    """Read a request. Raises `BadRequest` naming the field, `CannotBeCarried` for one without a neutral form."""
    fields = Fields(msgspec.json.decode(body), "", LEFT_BEHIND)
    fields.leave("model", "stream", "max_output_tokens")
    instructions = fields.text("instructions", "")
    system, turns = _read_input(fields.content("input"))
    wanted, verbosity = _read_text(fields.object("text"))
    request = Request(
        system=(*((instructions,) if instructions else ()), *system),
        turns=turns,
        tools=tuple(_read_tool(tool) for tool in fields.objects("tools")),
        tool_choice=_read_choice(fields),
        parallel_tools=fields.flag("parallel_tool_calls"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        format=wanted,
        verbosity=verbosity,
        thinking=_read_reasoning(fields.object("reasoning")),
    )
    fields.end()
    return request


def _read_input(given: str | list[Fields]) -> tuple[tuple[str, ...], tuple[Turn, ...]]:
    if isinstance(given, str):
        return (), (Turn("user", (Text(given),)),)
    system: list[str] = []
    turns = Turns()
    for item in given:
        role, parts = _read_item(item)
        item.end()
        if role == "system" and not turns:
            system += (part.text for part in parts if isinstance(part, Text))
        else:
            turns.add(role, parts, joins=role in ("assistant", "tool"))
    return tuple(system), turns.all()


def _read_item(item: Fields) -> tuple[Literal["system", "user", "assistant", "tool"], tuple[Any, ...]]:
    kind = item.text("type", "message")
    if kind == "function_call":
        return "assistant", (_read_call(item),)
    if kind == "function_call_output":
        return "tool", (ToolResult(item.text("call_id"), _read_parts(item, "output", _INPUT_PARTS)),)
    if kind == "reasoning":
        return "assistant", (_read_thought(item),)
    if kind != "message":
        raise CannotBeCarried(item.at("type"), "an item of this type has no form in other protocols here")
    role = item.text("role")
    if role in ("system", "developer"):
        return "system", _read_parts(item, "content", ("input_text",))
    if role == "user":
        return "user", _read_parts(item, "content", _SAID_PARTS)
    if role == "assistant":
        return "assistant", _read_parts(item, "content", _OUTPUT_PARTS)
    raise CannotBeCarried(item.at("role"), "the role is none of system, developer, user, assistant")


_INPUT_PARTS: Final = ("input_text", "input_image", "input_file")
_SAID_PARTS: Final = (*_INPUT_PARTS, "input_audio")
_OUTPUT_PARTS: Final = ("output_text", "refusal")


def _read_parts(item: Fields, name: str, kinds: tuple[str, ...]) -> tuple[Any, ...]:
    content = item.content(name)
    if isinstance(content, str):
        return (Text(content),)
    parts: list[Part] = []
    for part in content:
        kind = part.text("type")
        if kind not in kinds:
            raise CannotBeCarried(part.at("type"), "a part of this type has no form in other protocols here")
        parts.append(_read_part(kind, part))
        part.end()
    return tuple(parts)


def _read_part(kind: str, part: Fields) -> Part:
    if kind in ("input_text", "output_text"):
        return Text(part.text("text"))
    if kind == "refusal":
        return Refused(part.text("refusal"))
    if kind == "input_audio":
        return read_input_audio(part)
    if part.has("file_id"):
        raise CannotBeCarried(part.at("file_id"), "a file kept at one provider cannot be read by another")
    detail = part.word("detail", _DETAILS)
    if kind == "input_image":
        return image_of(part.text("image_url"), detail, part.at("image_url"))
    name = part.text("filename", "")
    if part.has("file_url"):
        return Document(url=part.text("file_url"), name=name)
    media_type, data = media_of(part.text("file_data"), part.at("file_data"))
    return Document(data=data, media_type=media_type, name=name)


def _read_call(item: Fields) -> ToolCall:
    return ToolCall(item.text("call_id"), item.text("name"), item.text("arguments", "") or "{}")


def _read_thought(item: Fields) -> Reasoning:
    """Read a reasoning item: what is told of it, in full or in summary."""
    told = [part.text("text") for part in item.objects("summary")]
    whole = [part.text("text") for part in item.objects("content")]
    return Reasoning("\n\n".join(told or whole), item.text("encrypted_content", ""))


def _read_tool(tool: Fields) -> Tool:
    if tool.text("type") != "function":
        raise CannotBeCarried(tool.at("type"), "other protocols have tools of JSON arguments alone")
    name, description = tool.text("name"), tool.text("description", "")
    read = Tool(name, description, tool.plain("parameters"), tool.flag("strict"))
    tool.end()
    return read


def _read_choice(fields: Fields) -> ToolChoice | None:
    if not fields.has("tool_choice"):
        return None
    value = fields.any("tool_choice")
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    choice = Fields(value, fields.at("tool_choice"), LEFT_BEHIND)
    kind = choice.text("type")
    if kind == "function":
        read = ToolChoice("required", (choice.text("name"),))
    elif kind == "allowed_tools":
        mode = "required" if choice.word("mode", ("auto", "required")) == "required" else "auto"
        read = ToolChoice(mode, tuple(_allowed(tool) for tool in choice.objects("tools")))
    else:
        raise CannotBeCarried(choice.at("type"), "a choice of this type has no form in other protocols here")
    choice.end()
    return read


def _allowed(tool: Fields) -> str:
    if tool.text("type") != "function":
        raise CannotBeCarried(tool.at("type"), "other protocols have tools of JSON arguments alone")
    name = tool.text("name")
    tool.end()
    return name


def _read_text(text: Fields | None) -> tuple[Format | None, str]:
    if text is None:
        return None, ""
    given, verbosity = text.object("format"), text.text("verbosity", "")
    text.end()
    kind = given.text("type") if given else "text"
    if given is None or kind == "text":
        return None, verbosity
    if kind == "json_object":
        wanted = Format()
    elif kind == "json_schema":
        name, description = given.text("name"), given.text("description", "")
        wanted = Format(given.plain("schema") or {}, name, description, given.flag("strict"))
    else:
        raise CannotBeCarried(given.at("type"), "the format is none of text, json_object, json_schema")
    given.end()
    return wanted, verbosity


def _read_reasoning(given: Fields | None) -> Thinking | None:
    if given is None:
        return None
    effort = given.word("effort", EFFORTS)
    summary = given.word("summary", _SUMMARIES) or given.word("generate_summary", _SUMMARIES)
    given.end()
    return Thinking(effort, shown=True if summary else None) if effort or summary else None


def write_request(request: Request, sending: Sending) -> bytes:
    """Write a request. Raises `CannotBeCarried` for what responses has no place for."""
    for name in ("seed", "presence_penalty", "frequency_penalty", "top_k", "stop"):
        if getattr(request, name):
            raise CannotBeCarried(name, "responses does not have it")
    alone = len(request.system) == 1
    items: list[JsonObject] = [] if alone else [{"role": "system", "content": text} for text in request.system]
    fields: JsonObject = {
        "model": sending.model,
        "instructions": request.system[0] if alone else None,
        "input": items + [item for turn in request.turns for item in _write_turn(turn)],
        "max_output_tokens": sending.cap,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "tools": [_write_tool(tool) for tool in request.tools] or None,
        "parallel_tool_calls": request.parallel_tools,
        "text": _write_text(request) or None,
        "store": False,  # a client of another protocol did not ask for its words to be kept
        "stream": True if sending.stream else None,
    }
    if request.thinking is not None:
        shown = {"summary": "auto"} if request.thinking.shown else {}
        effort = effort_of(request.thinking)
        fields["reasoning"] = (({"effort": effort} if effort else {}) | shown) or None
    if request.tool_choice is not None:
        fields["tool_choice"] = _write_choice(request.tool_choice)
    return _encode({name: value for name, value in fields.items() if value is not None})


def _write_turn(turn: Turn) -> list[JsonObject]:
    if turn.role in ("user", "system"):
        return [{"role": turn.role, "content": _write_content(turn.parts)}]
    items: list[JsonObject] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            call_id, output = call_id_in(CALL_ID, part.call_id), _write_result(part)
            items.append({"type": "function_call_output", "call_id": call_id, "output": output})
        else:
            _add_output(items, part)
    return items


def _write_result(result: ToolResult) -> str | list[JsonObject]:
    if sound := next((part for part in result.parts if isinstance(part, Sound)), None):
        raise CannotBeCarried(sound.where, "a recording a tool gave has no place in responses")
    return _write_content(result.parts)


def _add_output(items: list[JsonObject], part: Part) -> None:
    """Add what an assistant said: words that follow one another are parts of one message."""
    if isinstance(part, ToolCall):
        items.append(write_call(part))
    elif isinstance(part, Reasoning):
        items.append(write_thought(part))
    elif isinstance(part, Text | Refused):
        if not items or items[-1]["type"] != "message":
            items.append({"type": "message", "role": "assistant", "content": []})
        items[-1]["content"].append(write_words(part))
    else:
        raise CannotBeCarried("turns", "an image, document or recording the assistant gave has no place in responses")


def write_words(part: Text | Refused) -> JsonObject:
    """Write words of an answer."""
    if isinstance(part, Refused):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}


def write_call(call: ToolCall) -> JsonObject:
    """Write a tool call as an item."""
    call_id = call_id_in(CALL_ID, call.call_id)
    return {"type": "function_call", "call_id": call_id, "name": call.name, "arguments": call.arguments}


def write_thought(part: Reasoning) -> JsonObject:
    """Write reasoning as an item."""
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    item: JsonObject = {"type": "reasoning", "summary": summary}
    return item | ({"encrypted_content": part.signature} if part.signature else {})


def _write_content(parts: tuple[Part, ...]) -> str | list[JsonObject]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_write_input(part) for part in parts]


def _write_input(part: Part) -> JsonObject:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        url = part.url or data_uri(part.media_type, part.data)
        return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
    if isinstance(part, Sound):
        return write_input_audio(part)
    if not isinstance(part, Document):
        raise CannotBeCarried("turns", "a part of this kind has no place in what a user says")
    file: JsonObject = {"type": "input_file"} | ({"filename": part.name} if part.name else {})
    if part.url:
        return file | {"file_url": part.url}
    return file | {"file_data": data_uri(part.media_type, part.data)}


def _write_tool(tool: Tool) -> JsonObject:
    given: JsonObject = {"type": "function", "name": tool.name, "parameters": tool.schema}
    given |= {"description": tool.description} if tool.description else {}
    return given | {"strict": bool(tool.strict)}  # responses takes it for true when nothing is said


def _write_choice(choice: ToolChoice) -> str | JsonObject:
    if not choice.names:
        return choice.mode
    named: list[JsonObject] = [{"type": "function", "name": name} for name in choice.names]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": named}


def _write_text(request: Request) -> JsonObject:
    text: JsonObject = {"verbosity": request.verbosity} if request.verbosity else {}
    wanted = request.format
    if wanted is None:
        return text
    if wanted.schema is None:
        return text | {"format": {"type": "json_object"}}
    given: JsonObject = {"type": "json_schema", "name": wanted.name or "answer", "schema": wanted.schema}
    given |= {"description": wanted.description} if wanted.description else {}
    return text | {"format": given | ({} if wanted.strict is None else {"strict": wanted.strict})}


def read_answer(body: bytes) -> Answer:
    """Read a whole answer. Raises `BadRequest` for one that cannot be read."""
    return answer_of(Fields(msgspec.json.decode(body), "", LEFT_BEHIND))


def answer_of(fields: Fields) -> Answer:
    """Read a response."""
    parts: list[Part] = []
    for item in fields.objects("output"):
        kind = item.text("type")
        if kind == "message":
            parts += _read_parts(item, "content", _OUTPUT_PARTS)
        elif kind == "function_call":
            parts.append(_read_call(item))
        elif kind == "reasoning":
            parts.append(_read_thought(item))
        else:
            raise BadRequest(f"expected a known type in `{item.at('type')}`", param=item.at("type"))
    return Answer(
        answer_id=fields.text("id", ""),
        model=fields.text("model", ""),
        parts=tuple(parts),
        stop=stop_of(fields, called=any(isinstance(part, ToolCall) for part in parts)),
        usage=believed(fields.plain("usage"), usage_from_report),
    )


def stop_of(fields: Fields, *, called: bool) -> Stop:
    """Read why a response ended."""
    status = fields.text("status", "completed")
    if status == "completed":
        return Stop.tools if called else Stop.end
    if status == "incomplete":
        details = fields.object("incomplete_details")
        reason = details.text("reason", "") if details else ""
        return Stop.filtered if reason == "content_filter" else Stop.length
    error = fields.object("error")
    raise BadRequest(error.text("message", "the provider failed") if error else f"the response is {status!r}")


def write_answer(answer: Answer, telling: Telling) -> bytes:
    """Write a whole answer."""
    response_id = answer.answer_id or telling.call_name
    items: list[JsonObject] = []
    for part in answer.parts:
        _add_output(items, part)
    output = [finished(item, response_id, index) for index, item in enumerate(items)]
    return _encode(response(answer, telling, output))


_ID_PREFIXES: Final = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


def finished(item: JsonObject, response_id: str, index: int) -> JsonObject:
    """Return an item of an answer as it is when nothing more comes: with its id and status."""
    prefix = _ID_PREFIXES[item["type"]]
    return item | {"id": made_id(response_id, index, prefix), "status": "completed"}


def response(answer: Answer, telling: Telling, output: list[JsonObject], status: str = "") -> JsonObject:
    """Return a response object; what of the request OpenAI repeats in it is as if nothing had been said."""
    usage = answer.usage or telling.usage
    reason = REASONS.get(answer.stop)
    ended = not status
    return {
        "id": answer.answer_id or telling.call_name,
        "object": "response",
        "created_at": telling.created_s,
        "status": status or STATUSES[answer.stop],
        "error": None,
        "incomplete_details": {"reason": reason} if reason and ended else None,
        "instructions": None,
        "metadata": {},
        "model": telling.model or answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": OPENAI_RESPONSES.usage_report(usage) if usage and ended else None,
    }
