"""Read OpenAI chat completions into the neutral form, and write them from it."""

from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.chat_usage import usage_from_json
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
    said,
)
from bursar.wires.openai_chat import OPENAI_CHAT

CALL_ID: Final = r"[\x21-\x7e]{1,40}"
"""What OpenAI takes as the id of a tool call."""

LEFT_BEHIND: Final[Silent] = {
    "annotations": (),
    "function_call": ("auto", "none"),  # of the tools before tools; a call itself is an object
    "include_obfuscation": (),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": (),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "prompt_cache_breakpoint": (),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "safety_identifier": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "top_logprobs": (0,),
    "user": (),
}
STOPS: Final = {
    "stop": Stop.end,
    "eos": Stop.end,
    "length": Stop.length,
    "model_length": Stop.length,
    "tool_calls": Stop.tools,
    "content_filter": Stop.filtered,
}
STOP_WORDS: Final = {
    Stop.end: "stop",
    Stop.length: "length",
    Stop.tools: "tool_calls",
    Stop.sequence: "stop",
    Stop.filtered: "content_filter",
}
_DETAILS: Final = ("auto", "low", "high", "original")
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def read_request(body: bytes) -> Request:
    """Read a request. Raises `BadRequest` naming the field, `CannotBeCarried` for one without a neutral form."""
    fields = Fields(msgspec.json.decode(body), "", LEFT_BEHIND)
    fields.leave("model", "stream", "max_tokens", "max_completion_tokens")
    if options := fields.object("stream_options"):
        options.leave("include_usage")
        options.end()
    effort = fields.word("reasoning_effort", EFFORTS)
    system, turns = _read_messages(fields.objects("messages"))
    request = Request(
        system=system,
        turns=turns,
        tools=tuple(_read_tool(tool) for tool in fields.objects("tools")),
        tool_choice=_read_choice(fields),
        parallel_tools=fields.flag("parallel_tool_calls"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        stop=fields.texts("stop"),
        seed=fields.whole("seed"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        format=_read_format(fields.object("response_format")),
        verbosity=fields.text("verbosity", ""),
        thinking=Thinking(effort) if effort else None,
    )
    fields.end()
    return request


def _read_messages(messages: list[Fields]) -> tuple[tuple[str, ...], tuple[Turn, ...]]:
    system: list[str] = []
    turns = Turns()
    for message in messages:
        role = message.text("role")
        if role in ("system", "developer"):
            parts = _read_parts(message, "content")
            if turns:
                turns.add("system", parts)
            else:
                system += (part.text for part in parts if isinstance(part, Text))
        elif role == "user":
            turns.add("user", _read_parts(message, "content", media=True))
        elif role == "assistant":
            turns.add("assistant", _read_assistant(message))
        elif role == "tool":
            result = ToolResult(message.text("tool_call_id"), _read_parts(message, "content"))
            turns.add("tool", (result,), joins=True)
        else:
            raise CannotBeCarried(message.at("role"), "the role is none of system, developer, user, assistant, tool")
        message.end()
    return tuple(system), turns.all()


def _read_parts(message: Fields, name: str, *, media: bool = False) -> tuple[Any, ...]:
    """Read content: a text, or parts of text and, where it may have them, of media."""
    content = message.content(name)
    if isinstance(content, str):
        return (Text(content),)
    parts: list[Part] = []
    for part in content:
        kind = part.text("type")
        if kind == "text":
            parts.append(Text(part.text("text")))
        elif kind == "image_url" and media:
            parts.append(_read_image(part))
        elif kind == "file" and media:
            parts.append(_read_file(part))
        elif kind == "input_audio" and media:
            parts.append(read_input_audio(part))
        elif kind == "refusal" and not media:
            parts.append(Refused(part.text("refusal")))
        else:
            raise CannotBeCarried(part.at("type"), "a part of this type has no form in other protocols here")
        part.end()
    return tuple(parts)


def _read_image(part: Fields) -> Image:
    image = part.object("image_url")
    if image is None:
        raise part.wrong("image_url", "an object")
    read = image_of(image.text("url"), image.word("detail", _DETAILS), image.at("url"))
    image.end()
    return read


def _read_file(part: Fields) -> Document:
    file = part.object("file")
    if file is None:
        raise part.wrong("file", "an object")
    if file.has("file_id"):
        raise CannotBeCarried(file.at("file_id"), "a file kept at one provider cannot be read by another")
    media_type, data = media_of(file.text("file_data"), file.at("file_data"))
    document = Document(data=data, media_type=media_type, name=file.text("filename", ""))
    file.end()
    return document


def _read_assistant(message: Fields) -> list[Part]:
    parts: list[Part] = [part for part in _read_parts(message, "content") if part != Text("")]
    if refusal := message.text("refusal", ""):
        parts.append(Refused(refusal))
    message.leave("reasoning", "reasoning_content", "reasoning_details")
    for call in message.objects("tool_calls"):
        parts.append(_read_call(call, call.text("id")))
        call.leave("index", "extra_content")
        call.end()
    return parts


def _read_call(call: Fields, call_id: str) -> ToolCall:
    if call.text("type", "function") != "function":
        raise CannotBeCarried(call.at("type"), "other protocols have tools of JSON arguments alone")
    function = call.object("function")
    if function is None:
        raise call.wrong("function", "an object")
    read = ToolCall(call_id, function.text("name"), function.text("arguments", "") or "{}")
    function.end()
    return read


def _read_tool(tool: Fields) -> Tool:
    if tool.text("type") != "function":
        raise CannotBeCarried(tool.at("type"), "other protocols have tools of JSON arguments alone")
    function = tool.object("function")
    if function is None:
        raise tool.wrong("function", "an object")
    name, description = function.text("name"), function.text("description", "")
    read = Tool(name, description, function.plain("parameters"), function.flag("strict"))
    function.end()
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
        read = ToolChoice("required", (_named(choice),))
    elif kind == "allowed_tools" and (allowed := choice.object("allowed_tools")):
        mode = "required" if allowed.word("mode", ("auto", "required")) == "required" else "auto"
        read = ToolChoice(mode, tuple(_allowed(tool) for tool in allowed.objects("tools")))
        allowed.end()
    else:
        raise CannotBeCarried(choice.at("type"), "a choice of this type has no form in other protocols here")
    choice.end()
    return read


def _named(choice: Fields) -> str:
    function = choice.object("function")
    if function is None:
        raise choice.wrong("function", "an object")
    name = function.text("name")
    function.end()
    return name


def _allowed(tool: Fields) -> str:
    if tool.text("type") != "function":
        raise CannotBeCarried(tool.at("type"), "other protocols have tools of JSON arguments alone")
    name = _named(tool)
    tool.end()
    return name


def _read_format(given: Fields | None) -> Format | None:
    if given is None:
        return None
    kind = given.text("type")
    if kind == "text":
        return None
    if kind == "json_object":
        given.end()
        return Format()
    schema = given.object("json_schema")
    if kind != "json_schema" or schema is None:
        raise CannotBeCarried(given.at("type"), "the format is none of text, json_object, json_schema")
    name, description = schema.text("name"), schema.text("description", "")
    read = Format(schema.plain("schema") or {}, name, description, schema.flag("strict"))
    schema.end()
    given.end()
    return read


def write_request(request: Request, sending: Sending) -> bytes:
    """Write a request. Raises `CannotBeCarried` for what chat completions has no place for."""
    if request.top_k is not None:
        raise CannotBeCarried("top_k", "chat completions does not have it")
    fields: JsonObject = {
        "model": sending.model,
        "messages": [{"role": "system", "content": text} for text in request.system]
        + [message for turn in request.turns for message in _write_turn(turn)],
        sending.cap_field: sending.cap,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": request.stop or None,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "verbosity": request.verbosity or None,
        "tools": [_write_tool(tool) for tool in request.tools] or None,
        "parallel_tool_calls": request.parallel_tools,
    }
    if request.thinking is not None:
        fields["reasoning_effort"] = effort_of(request.thinking) or None
    if request.tool_choice is not None:
        fields["tool_choice"] = _write_choice(request.tool_choice)
    if request.format is not None:
        fields["response_format"] = _write_format(request.format)
    if sending.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return _encode({name: value for name, value in fields.items() if value is not None})


def _write_turn(turn: Turn) -> list[JsonObject]:
    if turn.role == "tool":
        return [
            {
                "role": "tool",
                "tool_call_id": call_id_in(CALL_ID, part.call_id),
                "content": _write_content(part.parts, "a tool's result"),
            }
            for part in turn.parts
            if isinstance(part, ToolResult)
        ]
    if turn.role != "assistant":
        return [{"role": turn.role, "content": _write_content(turn.parts, "")}]
    texts = tuple(part for part in turn.parts if isinstance(part, Text))
    message: JsonObject = {"role": "assistant", "content": _write_content(texts, "") if texts else None}
    if refusals := [part.text for part in turn.parts if isinstance(part, Refused)]:
        message["refusal"] = "".join(refusals)
    calls = [part for part in turn.parts if isinstance(part, ToolCall)]
    if calls:
        message["tool_calls"] = [write_call(call) for call in calls]
    if any(isinstance(part, Image | Document | Sound) for part in turn.parts):
        raise CannotBeCarried(
            "turns", "an image, document or recording the assistant gave has no place in chat completions"
        )
    return [message]


def _write_content(parts: tuple[Part, ...], within: str) -> str | list[JsonObject]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_write_part(part, within) for part in parts]


def _write_part(part: Part, within: str) -> JsonObject:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if within:
        raise CannotBeCarried("turns", f"{within} is text alone in chat completions")
    if isinstance(part, Image):
        image = {"url": part.url or data_uri(part.media_type, part.data)}
        return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
    if isinstance(part, Sound):
        return write_input_audio(part)
    if isinstance(part, Document) and part.data:
        file = {"file_data": data_uri(part.media_type, part.data)}
        return {"type": "file", "file": file | ({"filename": part.name} if part.name else {})}
    raise CannotBeCarried("turns", "a document given by its address has no place in chat completions")


def write_call(call: ToolCall) -> JsonObject:
    """Write a tool call of a message."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call_id_in(CALL_ID, call.call_id), "type": "function", "function": function}


def _write_tool(tool: Tool) -> JsonObject:
    given = {
        "name": tool.name,
        "description": tool.description or None,
        "parameters": tool.schema,
        "strict": tool.strict,
    }
    return {"type": "function", "function": {name: value for name, value in given.items() if value is not None}}


def _write_choice(choice: ToolChoice) -> str | JsonObject:
    if not choice.names:
        return choice.mode
    named: list[JsonObject] = [{"type": "function", "function": {"name": name}} for name in choice.names]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}


def _write_format(wanted: Format) -> JsonObject:
    if wanted.schema is None:
        return {"type": "json_object"}
    given = {
        "name": wanted.name or "answer",
        "description": wanted.description or None,
        "schema": wanted.schema,
        "strict": wanted.strict,
    }
    return {"type": "json_schema", "json_schema": {name: value for name, value in given.items() if value is not None}}


def read_answer(body: bytes) -> Answer:
    """Read a whole answer. Raises `BadRequest` for one that cannot be read."""
    fields = Fields(msgspec.json.decode(body), "", LEFT_BEHIND)
    choices = fields.objects("choices")
    if len(choices) != 1:
        raise BadRequest("expected one choice in `choices`", param="choices")
    message = choices[0].object("message")
    if message is None:
        raise choices[0].wrong("message", "an object")
    answer_id = fields.text("id", "")
    thought = message.text("reasoning_content", "") or message.text("reasoning", "")
    parts: list[Part] = [Reasoning(thought)] if thought else []
    parts += (part for part in _read_parts(message, "content") if part != Text(""))
    if refusal := message.text("refusal", ""):
        parts.append(Refused(refusal))
    calls = [
        _read_call(call, call.text("id", "") or made_id(answer_id, index))
        for index, call in enumerate(message.objects("tool_calls"))
    ]
    return Answer(
        answer_id=answer_id,
        model=fields.text("model", ""),
        parts=(*parts, *calls),
        stop=stop_of(choices[0].text("finish_reason", "stop"), called=bool(calls)),
        usage=read_usage(fields.any("usage")),
    )


def stop_of(word: str, *, called: bool) -> Stop:
    """Read why an answer ended; one that calls tools and ended otherwise regularly waits for them all the same."""
    stop = STOPS.get(word)
    if stop is None:
        raise BadRequest("expected a known reason in `finish_reason`", param="finish_reason")
    return Stop.tools if called and stop is Stop.end else stop


def read_usage(report: object) -> Usage | None:
    """Read a usage report; None when there is none that can be believed."""
    try:
        return usage_from_json(_encode(report))[0] if report is not None else None
    except UsageContradiction:
        return None


def write_answer(answer: Answer, telling: Telling) -> bytes:
    """Write a whole answer."""
    message: JsonObject = {"role": "assistant", "content": said(answer.parts) or None, "refusal": None}
    if thought := "".join(part.text for part in answer.parts if isinstance(part, Reasoning)):
        message["reasoning_content"] = thought
    if refusal := "".join(part.text for part in answer.parts if isinstance(part, Refused)):
        message["refusal"] = refusal
    if calls := [write_call(part) for part in answer.parts if isinstance(part, ToolCall)]:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": STOP_WORDS[answer.stop]}
    fields: JsonObject = {
        "id": answer.answer_id or telling.call_name,
        "object": "chat.completion",
        "created": telling.created_s,
        "model": telling.model or answer.model,
        "choices": [choice],
    }
    usage = answer.usage or telling.usage
    return _encode(fields | ({"usage": OPENAI_CHAT.usage_report(usage)} if usage else {}))
