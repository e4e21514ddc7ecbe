"""Read Gemini's generateContent into the neutral form, and write it from there: requests."""

import re
from collections import defaultdict, deque
from typing import Any, Final, Literal

import msgspec

from bursar.core.errors import BadRequest
from bursar.wires.fields import Fields, Silent, image_of, sound_kind
from bursar.wires.gemini import camel_case
from bursar.wires.gemini_schema import json_schema
from bursar.wires.naming import made_id
from bursar.wires.neutral import (
    BUDGETS_TOKENS,
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
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Turns,
    effort_of,
    readable_arguments,
    said,
)

LEFT_BEHIND: Final[Silent] = {
    "behavior": ("BLOCKING", "UNSPECIFIED"),
    "candidateCount": (1,),
    "displayName": (),
    "labels": (),
    "mediaResolution": (),
    "model": (),
    "responseLogprobs": (False,),
    "responseModalities": ([], ["TEXT"]),
    "safetySettings": ([],),
    "serviceTier": ("standard", "unspecified"),
    "store": (False,),
    "thoughtSignature": (),
}
_SKIPS_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google takes in place of a signature for calls of tools that another model made."""
_SIGNS_CALLS: Final = re.compile(r"gemini-(?![12]\b)")
_THINKS_BY_BUDGET: Final = re.compile(r"gemini-[12]\b")
_LEVELS: Final = ("minimal", "low", "medium", "high")
_encode: Final = msgspec.json.Encoder().encode


class GeminiFields(Fields):
    """Hold an object's fields, which Google lets be spelled in either of two ways."""

    def spelled(self, given: JsonObject) -> JsonObject:
        """Return the fields that are given, in camel case."""
        named = super().spelled(given)
        return {camel_case(name) if "_" in name.strip("_") else name: each for name, each in named.items()}


class Calls:
    """Find the call that a result answers; older models gave calls no ids, so results are told by name and order."""

    def __init__(self, answer_id: str = "") -> None:
        self._answer_id = answer_id
        self._waiting: defaultdict[str, deque[str]] = defaultdict(deque)
        self._answered: set[str] = set()
        self._count = 0

    def asked(self, call_id: str, name: str) -> str:
        """Note a call, and return its id, which is made where it has none."""
        call_id = call_id or made_id(self._answer_id, self._count)
        self._count += 1
        self._waiting[name].append(call_id)
        return call_id

    def answered(self, call_id: str, name: str) -> str | None:
        """Return the id of the call that a result answers; none when there is no such call."""
        waiting = self._waiting[name]
        while not call_id and waiting:
            first = waiting.popleft()
            call_id = "" if first in self._answered else first
        self._answered.add(call_id)
        return call_id or None


def read_request(body: bytes) -> Request:
    """Read a request. Raises `BadRequest` naming the field, `CannotBeCarried` for one without a neutral form."""
    fields = GeminiFields(msgspec.json.decode(body), "", LEFT_BEHIND)
    config = fields.object("generationConfig") or GeminiFields({}, "generationConfig", LEFT_BEHIND)
    config.leave("maxOutputTokens")
    choice, strict = _read_choice(fields.object("toolConfig"))
    tools = [tool for each in fields.objects("tools") for tool in _read_tools(each, strict=strict)]
    request = Request(
        system=_read_system(fields.object("systemInstruction")),
        turns=_read_contents(fields.objects("contents")),
        tools=tuple(tools),
        tool_choice=choice,
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.whole("topK"),
        stop=config.texts("stopSequences"),
        seed=config.whole("seed"),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
        format=_read_format(config),
        thinking=_read_thinking(config.object("thinkingConfig")),
    )
    config.end()
    fields.end()
    return request


def _read_system(given: Fields | None) -> tuple[str, ...]:
    if given is None:
        return ()
    given.leave("role")
    texts: list[str] = []
    for part in given.objects("parts"):
        texts.append(part.text("text"))
        part.end()
    given.end()
    return tuple(texts)


def _read_contents(contents: list[GeminiFields]) -> tuple[Turn, ...]:
    """Read contents; a user's is split where results of tools and words of the user meet."""
    turns, calls = Turns(), Calls()
    for content in contents:
        role = content.text("role", "user")
        if role not in ("user", "model", "function"):
            raise CannotBeCarried(content.at("role"), "the role is none of user, model")
        before: Role | None = None
        for fields in content.objects("parts"):
            part = read_part(fields, calls)
            fields.end()
            speaker: Role = "assistant"
            if role != "model":
                speaker = "tool" if isinstance(part, ToolResult) else "user"
            turns.add(speaker, (part,), joins=speaker == before)
            before = speaker
        if before is None:
            turns.add("assistant" if role == "model" else "user", ())
        content.end()
    return turns.all()


def read_part(part: Fields, calls: Calls) -> Part:
    """Read one part of a content."""
    signature = part.text("thoughtSignature", "")
    if part.has("functionCall"):
        call = part.object("functionCall")
        assert call is not None
        name, arguments = call.text("name"), call.plain("args") or {}
        call_id = calls.asked(call.text("id", ""), name)
        call.end()
        written = _encode(arguments).decode()
        return ToolCall(call_id, name, written, "" if signature == _SKIPS_SIGNATURE else signature)
    if part.has("functionResponse"):
        return _read_result(part, calls)
    if part.has("inlineData") or part.has("fileData"):
        return _read_media(part)
    if not part.has("text"):
        part.end()
        raise part.wrong("text", "a text")
    text = part.text("text")
    return Reasoning(text, signature) if part.flag("thought") else Text(text)


def _read_result(part: Fields, calls: Calls) -> ToolResult:
    result = part.object("functionResponse")
    assert result is not None
    name = result.text("name")
    call_id = calls.answered(result.text("id", ""), name)
    if call_id is None:
        raise BadRequest(f"expected an earlier call of this name in `{result.at('name')}`", param=result.at("name"))
    response = result.plain("response") or {}
    parts: list[Any] = [_read_media(each) for each in result.objects("parts")]
    result.leave("willContinue", "scheduling")
    result.end()
    failed = response.keys() == {"error"}
    told = response.get("error") if failed else response
    if not failed and response.keys() in ({"output"}, {"result"}):
        told = next(iter(response.values()))
    text = told if isinstance(told, str) else _encode(told).decode()
    return ToolResult(call_id, (Text(text), *parts), failed)


def _read_media(part: Fields) -> Image | Document | Sound:
    inline, file = part.object("inlineData"), part.object("fileData")
    given = inline or file
    if given is None:
        part.end()
        raise part.wrong("inlineData", "an object")
    media_type, name = given.text("mimeType", ""), given.text("displayName", "")
    data = given.text("data").translate(_STANDARD) if inline else ""
    url = "" if inline else given.text("fileUri")
    if url.startswith("https://generativelanguage.googleapis.com/"):
        raise CannotBeCarried(given.at("fileUri"), "a file kept at one provider cannot be read by another")
    if media_type.startswith("image/"):
        image = image_of(url, "", given.at("fileUri")) if url else Image(data=data, media_type=media_type)
        given.end()
        return image
    if media_type.lower().startswith("audio/") and inline:
        kind = sound_kind(media_type[6:].partition(";")[0], given.at("mimeType"))
        given.end()
        return Sound(data, kind, given.at("mimeType"))
    if media_type.lower().startswith(("audio/", "video/")) or not (media_type or url):
        raise CannotBeCarried(
            given.at("mimeType"), "media other than images, documents and recordings have no neutral form"
        )
    given.end()
    return Document(url=url, data=data, media_type=media_type, name=name)


_STANDARD: Final = str.maketrans("-_", "+/")
"""Google takes base64 in either alphabet, others in the standard one."""


def _read_tools(given: Fields, *, strict: bool) -> list[Tool]:
    tools: list[Tool] = []
    for tool in given.objects("functionDeclarations"):
        name, description = tool.text("name"), tool.text("description", "")
        own, schema = tool.plain("parameters"), tool.plain("parametersJsonSchema")
        schema = json_schema(own) if schema is None and own is not None else schema
        tools.append(Tool(name, description, schema, True if strict else None))
        tool.end()
    given.end()
    return tools


def _read_choice(given: Fields | None) -> tuple[ToolChoice | None, bool]:
    config = given.object("functionCallingConfig") if given else None
    if given is not None:
        given.end()
    if config is None:
        return None, False
    mode, names = config.text("mode", "AUTO").upper(), config.texts("allowedFunctionNames")
    if mode not in _MODES:
        raise CannotBeCarried(config.at("mode"), "the mode is none of AUTO, ANY, NONE, VALIDATED")
    config.end()
    return ToolChoice(_MODES[mode], names), mode == "VALIDATED"


_MODES: Final[dict[str, Literal["auto", "none", "required"]]] = {
    "MODE_UNSPECIFIED": "auto",
    "AUTO": "auto",
    "ANY": "required",
    "NONE": "none",
    "VALIDATED": "auto",
}


def _read_format(config: Fields) -> Format | None:
    kind = config.text("responseMimeType", "text/plain")
    own = config.plain("responseSchema")
    schema, also = config.plain("responseJsonSchema"), config.plain("_responseJsonSchema")
    schema = also if schema is None else schema
    if kind == "text/plain":
        return None
    if kind != "application/json":
        raise CannotBeCarried(config.at("responseMimeType"), "the answer is neither text nor JSON")
    return Format(json_schema(own) if schema is None and own is not None else schema)


def _read_thinking(given: Fields | None) -> Thinking | None:
    if given is None:
        return None
    level = given.text("thinkingLevel", "").lower()
    if level not in ("", "thinking_level_unspecified", *_LEVELS):
        raise CannotBeCarried(given.at("thinkingLevel"), "the level is none of minimal, low, medium, high")
    tokens, shown = given.whole("thinkingBudget"), given.flag("includeThoughts")
    given.end()
    return Thinking(level if level in _LEVELS else "", tokens, shown)


def write_request(request: Request, sending: Sending) -> bytes:
    """Write a request. Raises `CannotBeCarried` for what generateContent has no place for."""
    if request.parallel_tools is False and request.tools:
        raise CannotBeCarried("parallel_tools", "Gemini may always call several tools at once")
    if request.verbosity not in ("", "medium"):
        raise CannotBeCarried("verbosity", "Gemini does not have it")
    if not request.turns:
        raise CannotBeCarried("turns", "Gemini is asked by the user")
    config: JsonObject = {
        "maxOutputTokens": sending.cap,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "stopSequences": request.stop or None,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
    }
    if request.format is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": request.format.schema}
    if request.thinking is not None:
        config["thinkingConfig"] = _write_thinking(request.thinking, sending.model) or None
    fields: JsonObject = {
        "contents": _write_contents(request.turns, sending.model),
        "systemInstruction": {"parts": [{"text": text} for text in request.system]} if request.system else None,
        "tools": [{"functionDeclarations": [_write_tool(tool) for tool in request.tools]}] if request.tools else None,
        "toolConfig": _write_choice(request),
        "generationConfig": {name: value for name, value in config.items() if value is not None},
    }
    return _encode({name: value for name, value in fields.items() if value is not None})


def _write_contents(turns: tuple[Turn, ...], model: str) -> list[JsonObject]:
    contents: list[JsonObject] = []
    names: dict[str, str] = {}
    for turn in turns:
        if turn.role == "system":
            raise CannotBeCarried("turns", "Gemini is instructed at the beginning alone")
        parts = [_write_said(part, names) for part in turn.parts]
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None and _SIGNS_CALLS.search(model):
            first.setdefault("thoughtSignature", _SKIPS_SIGNATURE)
        contents.append({"role": "model" if turn.role == "assistant" else "user", "parts": parts})
    return contents


def _write_said(part: Part, names: dict[str, str]) -> JsonObject:
    """Write a part; `names` collects what calls were called, for results tell it."""
    if isinstance(part, ToolResult):
        return {"functionResponse": _write_result(part, names)}
    if isinstance(part, ToolCall):
        names[part.call_id] = part.name
    if isinstance(part, Image | Document | Sound):
        return write_media(part)
    return write_part(part)


def write_part(part: Text | Refused | Reasoning | ToolCall) -> JsonObject:
    """Write what a model said."""
    if isinstance(part, Text | Refused):
        return {"text": part.text}
    signature: JsonObject = {"thoughtSignature": part.signature} if part.signature else {}
    if isinstance(part, Reasoning):
        return {"text": part.text, "thought": True} | signature
    arguments = readable_arguments(part.arguments)
    if arguments is None:
        raise CannotBeCarried("turns", "the arguments of a tool call are no JSON object")
    return {"functionCall": {"id": part.call_id, "name": part.name, "args": arguments}} | signature


def write_media(part: Image | Document | Sound) -> JsonObject:
    """Write an image, document or recording."""
    if isinstance(part, Sound):
        return {"inlineData": {"mimeType": f"audio/{part.kind}", "data": part.data}}
    name = {"displayName": part.name} if isinstance(part, Document) and part.name else {}
    if part.data:
        return {"inlineData": {"mimeType": part.media_type, "data": part.data} | name}
    ending = part.url.partition("?")[0].rpartition(".")[2].lower()
    kind = part.media_type or _KINDS.get(ending, "")
    return {"fileData": {"fileUri": part.url} | ({"mimeType": kind} if kind else {}) | name}


_KINDS: Final = {
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "webp": "image/webp",
}
"""Media types by the ending of an address: Gemini wants to be told."""


def _write_result(part: ToolResult, names: dict[str, str]) -> JsonObject:
    if part.call_id not in names:
        raise CannotBeCarried("turns", "a tool's result answers no call before it")
    media = [each for each in part.parts if not isinstance(each, Text)]
    result: JsonObject = {"id": part.call_id, "name": names[part.call_id]}
    result["response"] = {"error" if part.failed else "output": said(part.parts)}
    if any(not each.data for each in media):
        raise CannotBeCarried("turns", "Gemini takes media of a tool's result by their bytes alone")
    return result | ({"parts": [write_media(each) for each in media]} if media else {})


def _write_tool(tool: Tool) -> JsonObject:
    given = {"name": tool.name, "description": tool.description or None, "parametersJsonSchema": tool.schema}
    return {name: value for name, value in given.items() if value is not None}


def _write_choice(request: Request) -> JsonObject | None:
    choice = request.tool_choice
    strict = any(tool.strict for tool in request.tools)
    if choice is None and not strict:
        return None
    mode, names = (choice.mode, choice.names) if choice else ("auto", ())
    written = {"none": "NONE", "required": "ANY"}.get(mode, "VALIDATED" if strict or names else "AUTO")
    config: JsonObject = {"mode": written} | ({"allowedFunctionNames": names} if names else {})
    return {"functionCallingConfig": config}


def _write_thinking(thinking: Thinking, model: str) -> JsonObject:
    written: JsonObject = {} if thinking.shown is None else {"includeThoughts": thinking.shown}
    effort = effort_of(thinking)
    if thinking.tokens is not None:
        written["thinkingBudget"] = thinking.tokens
    elif _THINKS_BY_BUDGET.search(model) and effort:
        written["thinkingBudget"] = 0 if effort == "none" else BUDGETS_TOKENS[effort]
    elif effort:
        nearest = {"none": "minimal", "xhigh": "high", "max": "high"}.get(effort, effort)
        written["thinkingLevel"] = nearest.upper()
    return written
