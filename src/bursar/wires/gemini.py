"""Speak Gemini: generateContent and streamGenerateContent.

Model and method stand in the path, `{model}:{method}`. Fields are read as proto3's JSON reads them:
`system_instruction` is `systemInstruction`, null is absent, and where a list is expected one object stands for a list
of one.
"""

import re
from typing import Any, ClassVar, Final, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from bursar.core.errors import BadRequest, Refusal
from bursar.core.records import TEXT_METERS, Protocol, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.gemini_usage import report_of, usage_from_report
from bursar.wires.kept_files import files_in_contents
from bursar.wires.sound_frames import Steps
from bursar.wires.sounds import base64_ms, check_once, meters_of
from bursar.wires.sse import event_bytes, event_data
from bursar.wires.wire import (
    NO_MEDIA,
    TOOLS_OVERHEAD_TOKENS,
    UNREADABLE,
    Answer,
    BadAnswer,
    Facts,
    Media,
    Seen,
    UsageReport,
    bad_request,
    check_cap,
    check_model,
    joined,
    merge_reports,
    read_fields,
    unmetered,
    utf8_len,
    write_fields,
)

T = TypeVar("T")

WHOLE_METHOD: Final = "generateContent"
STREAM_METHOD: Final = "streamGenerateContent"
CHOICES_MAX: Final = 8
_NAME_CHARS_MAX: Final = 64

Fields: TypeAlias = dict[str, msgspec.Raw]

_NULL: Final = b"null"
# Kinds of parts whose tokens their bytes bound.
_BOUNDED_PARTS: Final = ("thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata")
_ASKED_PARTS: Final = ("functionCall", "executableCode", "toolCall")
_RESULT_PARTS: Final = ("functionResponse", "codeExecutionResult", "toolResponse")
_SEARCH_TOOLS: Final = ("googleSearch", "googleSearchRetrieval")
# A prompt that was grounded is billed once up to Gemini 2.5, and each query from Gemini 3 on ("Gemini Developer API
# pricing", checked 2026-11-22).
_BILLED_BY_PROMPT: Final = re.compile(r"gemini-[12]\b")


class _Content(msgspec.Struct):
    role: str | None = None
    parts: list[Fields] | Fields | None = None


class _Inline(msgspec.Struct):
    data: str = ""


class _AnswerPart(msgspec.Struct, rename="camel"):
    text: str | None = None
    inline_data: _Inline | None = None
    function_call: msgspec.Raw = msgspec.Raw(b"")
    executable_code: msgspec.Raw = msgspec.Raw(b"")
    code_execution_result: msgspec.Raw = msgspec.Raw(b"")


class _AnswerContent(msgspec.Struct):
    parts: list[_AnswerPart] | None = None


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: list[str] | None = None
    image_search_queries: list[str] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    index: int | None = None
    content: _AnswerContent | None = None
    finish_reason: str | None = None
    grounding_metadata: _Grounding | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: UsageReport | None = None
    model_version: str | None = None
    prompt_feedback: _Feedback | None = None


_answer = msgspec.json.Decoder(_Answer)
_fields = msgspec.json.Decoder(Fields)
_contents = msgspec.json.Decoder(list[_Content])
_content = msgspec.json.Decoder(_Content)
_objects = msgspec.json.Decoder(list[Fields])
_words = msgspec.json.Decoder(list[str])
_text = msgspec.json.Decoder(str)
_number = msgspec.json.Decoder(int, strict=False)  # proto3's JSON takes "100" for 100
_encode = msgspec.json.Encoder().encode


class ContentReader:
    """Read the chunks of one stream. There is no end mark: once each candidate has finished, any may be the last."""

    def __init__(self) -> None:
        self._report: UsageReport | None = None
        self._model = ""
        self._output_bytes = self._spoken_bytes = 0
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._queries: set[str] = set()
        self._blocked = False
        self._final = False
        self._note = ""

    def see(self, event: bytes) -> Seen:
        """Take in one chunk."""
        data = event_data(event)
        if not data:
            return Seen.content
        try:
            chunk = _answer.decode(data)
        except UNREADABLE:
            self._output_bytes += len(data)
            self._note = "an event of the stream could not be read"
            return Seen.content
        self._model = chunk.model_version or self._model
        for candidate in chunk.candidates or ():
            self._take(candidate)
        self._blocked = self._blocked or _is_blocked(chunk)
        whole = self._whole
        if chunk.usage_metadata:
            self._final = whole
            self._report = merge_reports(self._report, chunk.usage_metadata)
        return Seen.closing if whole else Seen.content

    def _take(self, candidate: _Candidate) -> None:
        index = candidate.index or 0
        self._begun.add(index)
        self._output_bytes += _answer_len(candidate)
        self._spoken_bytes += _sound_len(candidate)
        self._queries |= _queries(candidate)
        if candidate.finish_reason:
            self._finished.add(index)

    @property
    def _whole(self) -> bool:
        return self._blocked or (bool(self._begun) and self._begun == self._finished)

    def answer(self) -> Answer:
        """Return what the stream has said so far."""
        answer = _answer_of(self._report, self._model, self._queries, self._output_bytes, whole=self._whole)
        note, spoken = answer.note or self._note, self._spoken_bytes
        return msgspec.structs.replace(answer, final=self._final, note=note, spoken_bytes=spoken)


def _is_blocked(answer: _Answer) -> bool:
    """Tell whether the prompt was refused: then there is no candidate, and the prompt is billed all the same."""
    return answer.prompt_feedback is not None and bool(answer.prompt_feedback.block_reason)


def _answer_len(candidate: _Candidate) -> int:
    total = 0
    for part in (candidate.content.parts if candidate.content is not None else None) or ():
        total += len(part.function_call) + len(part.executable_code) + len(part.code_execution_result)
        total += utf8_len(part.text or "")
    return total


def _sound_len(candidate: _Candidate) -> int:
    """Return the bytes of the sound in a piece of an answer, which is in base64."""
    parts = (candidate.content.parts if candidate.content is not None else None) or ()
    return sum(len(part.inline_data.data) * 3 // 4 for part in parts if part.inline_data is not None)


def _queries(candidate: _Candidate) -> set[str]:
    """Return what was searched for; empty queries are not billed."""
    grounding = candidate.grounding_metadata
    if grounding is None:
        return set()
    return {
        query for query in (*(grounding.web_search_queries or ()), *(grounding.image_search_queries or ())) if query
    }


def _answer_of(report: UsageReport | None, model: str, queries: set[str], output_bytes: int, *, whole: bool) -> Answer:
    if report is None:
        return Answer(None, model, "", output_bytes, whole=whole)
    try:
        usage = usage_from_report(report)
    except UsageContradiction as error:
        return Answer(None, model, "", output_bytes, whole=whole, note=str(error))
    if queries:
        searches = 1 if _BILLED_BY_PROMPT.match(model) else len(queries)
        usage = msgspec.structs.replace(usage, other=usage.other | {"web_searches": searches})
    return Answer(usage, model, "", output_bytes, whole=whole)


class Gemini:
    """Be the protocol."""

    protocol: ClassVar = Protocol.gemini
    route: ClassVar = "/v1beta/models"
    meters: ClassVar = TEXT_METERS
    estimates: ClassVar = True
    multipart: ClassVar = False
    caps: ClassVar = True
    comments: ClassVar = False  # Google's own client takes every line of a stream but `data:` for an error

    def path(self, model: str, *, stream: bool) -> str:
        """Return where calls of a model go; a name never leaves its own place in the path."""
        method = f"{STREAM_METHOD}?alt=sse" if stream else WHOLE_METHOD
        return f"/models/{quote(model, safe='')}:{method}"

    def facts(self, body: bytes, target: str = "") -> Facts:
        """Read a request to `{model}:{method}`. Raises `BadRequest` naming the field and the kind of value expected."""
        model, _, method = target.rpartition(":")
        check_model(model)
        try:
            fields = named(read_fields(body))
        except UNREADABLE as error:
            raise bad_request(error) from None
        if "contents" not in fields:
            raise BadRequest("expected a list of contents in `contents`", param="contents")
        segments, media = _segments(fields)
        cap, choices, speaks = _limits(fields)
        searches, reads_more = _at_provider(fields)
        text_bytes = len(body) - media.body_bytes
        if segments.tools:
            text_bytes += TOOLS_OVERHEAD_TOKENS
        traits = _PLAIN
        if searches or speaks or media is not NO_MEDIA:
            # Google's price of input is for sound as well, unless another is given.
            meters = meters_of(hears=False, speaks=speaks)
            traits = Traits(media=media is not NO_MEDIA or reads_more, searches_web=searches, meters=meters)
        if searches or reads_more:
            media = msgspec.structs.replace(media, others=media.others + 1, unseen=1)
        files = files_in_contents(body)
        tier = _read(_text, fields["serviceTier"], "serviceTier").lower() if "serviceTier" in fields else ""
        return Facts(
            model,
            method == STREAM_METHOD,
            _WANTS_USAGE,
            cap,
            choices,
            segments,
            text_bytes,
            media,
            traits,
            service_tier="" if tier == "unspecified" else tier,
            files=files,
        )

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, with the output cap as decided. The model stands in the path alone."""
        fields: dict[str, Any] = _without_nulls(read_fields(body))
        fields.pop("model", None)
        name = "generation_config" if "generation_config" in fields else "generationConfig"
        config: dict[str, Any] = _without_nulls(read_fields(fields.get(name, b"{}")))
        if cap != facts.output_cap:
            config.pop("max_output_tokens", None)
            config["maxOutputTokens"] = cap
        fields[name] = config
        return write_fields(fields)

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        try:
            answer = _answer.decode(body)
        except UNREADABLE as error:
            raise BadAnswer(f"not a generated content: {error}") from error
        candidates, queries = answer.candidates or (), set[str]()
        for candidate in candidates:
            queries |= _queries(candidate)
        output_bytes = sum(map(_answer_len, candidates))
        read = _answer_of(answer.usage_metadata, answer.model_version or "", queries, output_bytes, whole=True)
        spoken_bytes = sum(map(_sound_len, candidates))
        return msgspec.structs.replace(read, spoken_bytes=spoken_bytes) if spoken_bytes else read

    def reader(self) -> ContentReader:
        """Return a reader for one stream."""
        return ContentReader()

    def error_body(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as Google does; our `code` is the `reason` of its details."""
        status = _STATUSES.get(refusal.status, "INVALID_ARGUMENT" if refusal.status < 500 else "INTERNAL")
        told = refusal.details | {"call_id": call_name} | ({"param": refusal.param} if refusal.param else {})
        kind = "type.googleapis.com/google.rpc."
        details: list[dict[str, Any]] = [
            {"@type": kind + "ErrorInfo", "reason": refusal.code, "domain": "bursar", "metadata": told}
        ]
        if refusal.retry_after_s is not None:
            details.append({"@type": kind + "RetryInfo", "retryDelay": f"{refusal.retry_after_s}s"})
        error = {"code": refusal.status, "message": refusal.message, "status": status, "details": details}
        return _encode({"error": error})

    def error_event(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as the event that ends a stream."""
        return event_bytes(self.error_body(refusal, call_name))

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage the way `usageMetadata` does."""
        return report_of(usage)


_WANTS_USAGE: Final = True  # the protocol reports it always
_PLAIN: Final = Traits()

_STATUSES: Final = {
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def named(fields: Fields) -> Fields:
    """Give fields the names they have in answers, and leave out those that are null.

    Raises `BadRequest` where both spellings of a name are given: which one the provider reads is not known.
    """
    given: Fields = {}
    for name, value in fields.items():
        written = camel_case(name) if "_" in name else name
        if written in given:
            shown = written if written.isidentifier() and len(written) <= _NAME_CHARS_MAX else "a field"
            raise BadRequest(f"`{shown}` is given twice, in two spellings", param=shown)
        if bytes(value) != _NULL:
            given[written] = value
    return given


def camel_case(name: str) -> str:
    """Write a field's name as proto3's JSON does: `inline_data` is `inlineData`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _without_nulls(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if bytes(value) != _NULL}


def _read(decoder: msgspec.json.Decoder[T], value: msgspec.Raw, where: str) -> T:
    """Read a field's value. Raises `BadRequest` naming it."""
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        param = where + path.removesuffix("`")
        raise BadRequest(f"{message} in `{param}`", param=param) from None
    except UNREADABLE as error:
        raise bad_request(error) from None


def _read_list(decoder: msgspec.json.Decoder[list[T]], value: msgspec.Raw, where: str) -> list[T]:
    """Read a field that holds a list, or one object in place of a list of one. Null is an empty list."""
    first = bytes(memoryview(value)[:4])
    if first.startswith(b"["):
        return _read(decoder, value, where)
    return [] if first == _NULL else _read(decoder, msgspec.Raw(b"[%b]" % bytes(value)), where)


def _limits(fields: Fields) -> tuple[int | None, int, bool]:
    """Read the output cap, the number of candidates, and whether the answer is spoken: it is that or text."""
    if "generationConfig" not in fields:
        return None, 1, False
    where = "generationConfig."
    config = named(_read(_fields, fields["generationConfig"], "generationConfig"))
    cap, choices, speaks = None, 1, False
    if "maxOutputTokens" in config:
        cap = _read(_number, config["maxOutputTokens"], where + "maxOutputTokens")
        check_cap(cap, where + "maxOutputTokens")
    if "candidateCount" in config:
        choices = _read(_number, config["candidateCount"], where + "candidateCount")
        if not 1 <= choices <= CHOICES_MAX:
            name = where + "candidateCount"
            raise BadRequest(f"expected an integer from 1 to {CHOICES_MAX} in `{name}`, got {choices}", param=name)
    if "responseModalities" in config:
        asked = _read_list(_words, config["responseModalities"], where + "responseModalities")
        if any(modality.upper() not in ("TEXT", "AUDIO") for modality in asked):
            raise unmetered("an answer that is neither text nor sound", where + "responseModalities")
        speaks = any(modality.upper() == "AUDIO" for modality in asked)
    if "responseFormat" in config:
        formats = _read_list(_objects, config["responseFormat"], where + "responseFormat")
        if any(named(each).keys() - {"text"} for each in formats):
            raise unmetered("an answer that is not text", where + "responseFormat")
    for name in ("routingConfig", "modelSelectionConfig"):
        if name in config:
            raise unmetered("an answer of another model", where + name)
    return cap, choices, speaks


def _at_provider(fields: Fields) -> tuple[bool, bool]:
    """Tell whether the provider may search the web, and whether it may add to the prompt what it reads by itself.

    Raises `Unmetered` for what is billed by anything but tokens and searches.
    """
    if "tools" not in fields:
        return False, False
    searches = reads_more = False
    for tool in _read_list(_objects, fields["tools"], "tools"):
        for name in named(tool):
            if name in _SEARCH_TOOLS:
                searches = True
            elif name == "urlContext":
                reads_more = True
            elif name != "functionDeclarations":
                raise unmetered("a tool of this kind at the provider's", "tools")
    return searches, reads_more


def _measure(given: list[Fields] | Fields | None, steps: Steps) -> tuple[int, int, Media]:
    """Measure the text, the tool results and the media of a list of parts, in bytes."""
    text = results = 0
    found: list[Media] = []
    parts = [given] if isinstance(given, dict) else given or []
    for part in parts:
        for name, value in named(part).items():
            if name == "text":
                text += utf8_len(_read(_text, value, "contents.parts.text"))
            elif name in _ASKED_PARTS:
                text += len(value)
            elif name in _RESULT_PARTS or name == "inlineData":
                inner = _media_of(value, steps) if name != "inlineData" else _inline_media(value, steps)
                results += len(value) - inner.body_bytes
                found.append(inner)
            elif name not in _BOUNDED_PARTS:  # a file, or what is not known here
                found.append(Media(others=1))
    return text, results, joined(found)


def _inline_media(value: msgspec.Raw, steps: Steps) -> Media:
    data = named(_read(_fields, value, "contents.parts.inlineData"))
    kind = _read(_text, data["mimeType"], "contents.parts.inlineData.mimeType") if "mimeType" in data else ""
    if kind.lower().startswith("audio/"):
        where = "contents.parts.inlineData"
        try:
            check_once(value, where)
        except UNREADABLE as error:
            raise bad_request(error) from None
        sound = _read(_text, data["data"], f"{where}.data") if "data" in data else ""
        named_kind = kind[6:].partition(";")[0]
        return Media(body_bytes=len(value), sounds_ms=(base64_ms(sound, named_kind, f"{where}.data", steps),))
    image = kind.lower().startswith("image/")
    return Media(int(image), int(not image), len(value))


def _media_of(value: msgspec.Raw, steps: Steps) -> Media:
    """Measure the media within a tool's result."""
    result = named(_read(_fields, value, "contents.parts"))
    parts = _read_list(_objects, result["parts"], "contents.parts") if "parts" in result else []
    return _measure(parts, steps)[2]


def _segments(fields: Fields) -> tuple[Segments, Media]:
    """Measure each part of the prompt. The last run of user messages is `user`, what precedes it `history`."""
    system = history = retrieved = user = 0
    steps = Steps()
    found = [Media(others=int("cachedContent" in fields))]  # it may hold anything the model takes
    if "systemInstruction" in fields:
        system, _, media = _measure(_read(_content, fields["systemInstruction"], "systemInstruction").parts, steps)
        found.append(media)
    for content in _read_list(_contents, fields["contents"], "contents"):
        size, results, media = _measure(content.parts, steps)
        retrieved += results
        found.append(media)
        if content.role == "model":
            history += size + user
            user = 0
        else:
            user += size
    return Segments(system, len(fields.get("tools", b"")), history, retrieved, user), joined(found)


GEMINI: Final = Gemini()
