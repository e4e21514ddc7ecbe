"""Say what a protocol must be able to do, and what is read from a call and its answer."""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, ClassVar, Final, Protocol, TypeGuard

import msgspec

from bursar.core import records
from bursar.core.errors import BadRequest, Refusal, Unmetered
from bursar.core.records import Meters, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.form import Layout

TOOLS_OVERHEAD_TOKENS: Final = 1_000
"""Upper bound of the tokens a provider adds of its own when tools are offered; documented ones are a few hundred."""

UsageReport = dict[str, Any]
"""A provider's usage object as it came."""


class Media(msgspec.Struct, frozen=True, gc=False):
    """Count the parts of a prompt whose tokens its text does not bound."""

    images: int = 0
    others: int = 0  # documents, files, video: bounded by the model's context window only
    body_bytes: int = 0  # what they take in the body
    unseen: int = 0  # of the others: what the provider finds or has kept, of whatever kind
    sounds_ms: tuple[int, ...] = ()  # the most each recording can last, in milliseconds


NO_MEDIA: Final = Media()


class NamedFile(msgspec.Struct, frozen=True, gc=False):
    """Be a file that a prompt names in place of what it holds, and that its provider is to have kept."""

    param: str  # where it is named
    file_id: str
    is_plain: bool = False  # it stands where any kind may, and is read as it is: a text takes no more than its bytes


def joined(found: Iterable[Media]) -> Media:
    """Add up what parts of a prompt hold."""
    parts = [each for each in found if each != NO_MEDIA]
    if not parts:
        return NO_MEDIA
    return Media(
        sum(each.images for each in parts),
        sum(each.others for each in parts),
        sum(each.body_bytes for each in parts),
        sum(each.unseen for each in parts),
        tuple(sound_ms for each in parts for sound_ms in each.sounds_ms),
    )


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading a body may raise: it is not JSON or of another shape, not UTF-8, or nested too deep."""

ABSENT: Final = msgspec.Raw(b"")
"""What a field holds, of those kept as they came, that is not given."""

OFF: Final = (b"", b"null", b"false", b"[]", b"{}")
"""The ways to ask for nothing by such a field."""

MODEL_CHARS_MAX: Final = 256
OUTPUT_CAP_MAX: Final = 10_000_000
"""No model answers with nearly as many tokens. A cap beyond it would hold more money than the books can count."""

# A plain letter written as an escape could hide a word that the hold depends on.
_ESCAPED_LETTER: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u00(?:3[0-9]|[4-7])")
_INT64_MAX: Final = 2**63 - 1
_BELIEVABLE_MAX: Final = 1_000_000_000
"""Tokens of one kind in one call; a report of more is an error of the provider's."""


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Hold what the gateway needs to know of a request; read once from its body."""

    model: str
    stream: bool
    wants_usage: bool  # the client asked to see the usage of its stream
    output_cap: int | None  # tokens per choice, as the client asked
    choices: int
    segments: Segments
    text_bytes: int  # bytes that bound the tokens of the prompt, without its media
    media: Media
    traits: Traits
    predicted_bytes: int = 0  # a predicted output: rejected parts are billed as output beyond the cap
    service_tier: str = ""
    speed: str = ""
    hides_searches: bool = False  # it searches the web, and its answer does not say how often
    recalls: tuple[tuple[str, str], ...] = ()  # what the provider is to have kept: by which field, and its id
    prompts: int = 1  # of which each may fill the model's context
    files: tuple[NamedFile, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()  # the most it can use of what is no token: characters, seconds
    form: Layout | None = None  # of a request that is a form


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Hold what an answer says of itself.

    `usage` is None when the provider gave none, or none that can be believed: then `note` says why. Of an answer that
    is not `whole` its output count is a lower bound.
    """

    usage: Usage | None
    model: str
    service_tier: str
    output_bytes: int  # of what was answered, for our own count when usage is missing or partial
    reported_cost_nano: int = -1
    whole: bool = True  # it came to its regular end
    final: bool = True  # the usage is of all of it, not of its beginning
    note: str = ""
    searches: int = 0  # of the web, seen in an answer whose usage is not known
    spoken_bytes: int = 0  # of sound that was answered, as PCM
    kept: tuple[str, ...] = ()  # ids by which the provider keeps it, and parts of it, for later calls


class Seen(IntEnum):
    """Say what an event of a stream is, as far as the gateway acts on it."""

    content = 0
    usage_only = 1  # to be hidden from a client that did not ask for it
    last = 2  # the protocol's end mark: settled before it is passed on
    closing = 3  # perhaps the last, of a protocol without an end mark: kept back until more comes or the stream ends


class StreamReader(Protocol):
    """Read a stream's events one by one, aside from passing them on."""

    def see(self, event: bytes) -> Seen:
        """Take in one whole SSE event as it came, framing included."""
        ...

    def answer(self) -> Answer:
        """Return what the stream has said so far."""
        ...


class Wire(Protocol):
    """Be one protocol: read requests and answers, patch bodies, write errors. Stateless."""

    protocol: ClassVar[records.Protocol]
    route: ClassVar[str]  # where clients call it, or, of Gemini's, the beginning of that
    meters: ClassVar[Meters]
    estimates: ClassVar[bool]  # whether usage that is not reported can be estimated by the size of what was sent
    multipart: ClassVar[bool]  # whether requests are forms, else they are JSON
    caps: ClassVar[bool]  # whether a request can say how much is to be answered at most
    comments: ClassVar[bool]  # whether its clients pass over the comments of a stream

    def facts(self, body: bytes, target: str = "") -> Facts:
        """Read a request; `target` is the end of its path where a protocol says there what others say in the body.

        Raises `BadRequest` naming the field and the kind expected, `Unmetered` without a meter.
        """
        ...

    def path(self, model: str, *, stream: bool) -> str:
        """Return where below a provider's base address a call of a model goes, with its query."""
        ...

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:
        """Return the body to send: the client's, with model, output cap and usage wish as decided."""
        ...

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        ...

    def reader(self) -> StreamReader:
        """Return a reader for one stream."""
        ...

    def error_body(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal in the protocol's own shape, with its `code`."""
        ...

    def error_event(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as the event that ends a stream which has begun."""
        ...

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage the way a provider of this protocol reports it."""
        ...


class Resold(msgspec.Struct):
    """Hold what OpenAI's protocols and their resellers let a request ask for beside tokens of one model's text."""

    # Resellers' own: other models to answer instead, and searches billed beside the tokens.
    models: msgspec.Raw = ABSENT
    fallbacks: msgspec.Raw = ABSENT
    plugins: msgspec.Raw = ABSENT
    search_parameters: msgspec.Raw = ABSENT
    enable_search: msgspec.Raw = ABSENT
    # Spoken answers, which chat completions alone have.
    audio: msgspec.Raw = ABSENT
    modalities: list[str] | None = None


def check_resold(request: Resold, *, speaks: bool = False) -> None:
    """Check that nothing is asked for that would be billed beside the tokens or at another model's price.

    `speaks` tells that the answer may be spoken.
    """
    r = request
    if r.modalities is not None and not set(r.modalities) <= {"text", *(("audio",) if speaks else ())}:
        raise unmetered("an answer that is not text", "modalities")
    if r.models is r.fallbacks is r.plugins is r.search_parameters is r.enable_search is r.audio is ABSENT:
        return
    for name in ("models", "fallbacks", "plugins", "search_parameters", "enable_search", "audio"):
        if not (speaks and name == "audio") and bytes(getattr(r, name)) not in OFF:
            raise unmetered(f"what `{name}` asks for", name)


class BadAnswer(ValueError):
    """Say that a provider's answer cannot be read."""


def utf8_len(text: str) -> int:
    """Count the UTF-8 bytes of a text."""
    return len(text) if text.isascii() else len(text.encode())


def bad_request(error: Exception) -> BadRequest:
    """Turn what reading raised, which names field and kind but no value, into a refusal."""
    if isinstance(error, UnicodeDecodeError):
        return BadRequest("the body is not valid JSON: it is not UTF-8")
    if isinstance(error, RecursionError):
        return BadRequest("the body is nested too deep")
    text = str(error)
    message, _, path = text.partition(" - at `$.")
    param = path.removesuffix("`") or None
    if isinstance(error, msgspec.ValidationError):
        where = f" in `{param}`" if param else ""
        return BadRequest(f"{message}{where}", param=param)
    return BadRequest(f"the body is not valid JSON: {text}")


def hides_letters(body: bytes) -> bool:
    """Tell whether plain letters of a body are written as escapes, so that looking for a word does not find it."""
    return b"\\u00" in body and _ESCAPED_LETTER.search(body) is not None


def check_model(model: str) -> None:
    """Check that a model's name can be kept in the books and shown. Raises `BadRequest`."""
    if len(model) > MODEL_CHARS_MAX or not model.isprintable():
        raise BadRequest(f"expected up to {MODEL_CHARS_MAX} printable characters in `model`", param="model")


def check_cap(cap: int, field: str) -> None:
    """Check an output cap. Raises `BadRequest` naming its field."""
    if cap < 1:
        raise BadRequest(f"expected an integer of at least 1 in `{field}`", param=field)
    if cap > OUTPUT_CAP_MAX:
        raise BadRequest(f"expected an integer of at most {OUTPUT_CAP_MAX} in `{field}`", param=field)


def believable(usage: Usage) -> Usage:
    """Return usage whose leaves are neither negative nor absurd. Raises `UsageContradiction`."""
    main = usage.main()
    if usage.other or min(main) < 0 or sum(main) > _BELIEVABLE_MAX:
        usage.check()
        if max(usage.input_total, usage.output_total, *usage.other.values()) > _BELIEVABLE_MAX:
            raise UsageContradiction(f"usage is beyond {_BELIEVABLE_MAX} tokens")
    return usage


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


def read_fields(body: bytes) -> dict[str, Any]:
    """Read the top-level fields of a JSON object, their values as they came.

    A field given twice is collapsed to its last value, the one `facts` read: a provider that read the first
    would otherwise serve another model than the one priced.
    """
    return dict(_fields.decode(body))


def write_fields(fields: Mapping[str, Any]) -> bytes:
    """Write a JSON object."""
    return _encoder.encode(fields)


def edit_body(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """Set top-level fields of a JSON object; every other field's bytes stay as they came."""
    return write_fields({**read_fields(body), **changes})


def unmetered(what: str, param: str) -> Unmetered:
    """Refuse what would be billed and cannot be bounded or charged here."""
    return Unmetered(f"{what} would be billed, and there is no meter for it here", code="unmetered", param=param)


def is_report(value: object) -> TypeGuard[UsageReport]:
    """Tell whether a value is an object of a report."""
    return isinstance(value, dict)


def merge_reports(old: UsageReport | None, new: UsageReport) -> UsageReport:
    """Merge a stream's usage reports: per field the last that is not null, never a sum."""
    if old is None:
        return new
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if is_report(value) and is_report(before):
            merged[name] = merge_reports(before, value)
        elif value is not None:
            merged[name] = value
    return merged


def believed(report: UsageReport | None, read: Callable[[UsageReport], Usage]) -> Usage | None:
    """Read a usage report by its protocol's reader; None when there is none that can be believed."""
    try:
        return read(report) if is_report(report) else None
    except UsageContradiction:
        return None


def count_of(report: Mapping[str, Any], name: str) -> int:
    """Read a count from a report: missing and null are 0. Raises `UsageContradiction` for less or another kind."""
    value = report.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageContradiction(f"usage field {name} is {type(value).__name__}, expected an integer")
    if value < 0:
        raise UsageContradiction(f"usage field {name} is {value}")
    return value


def nested(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Read a nested report: missing and null are empty. Raises `UsageContradiction` for another kind."""
    value = report.get(name)
    if value is None:
        return {}
    if not is_report(value):
        raise UsageContradiction(f"usage field {name} is {type(value).__name__}, expected an object")
    return value


def openai_tier(name: str | None) -> str:
    """Return a service tier by the name it is priced and answered under: `fast` is another one for `priority`."""
    return "priority" if name == "fast" else name or ""


def unknown_counts(report: Mapping[str, Any], known: frozenset[str], prefix: str = "") -> dict[str, int]:
    """Collect the integers of a report's objects that stand under no known name, with dotted names; zeros too."""
    found: dict[str, int] = {}
    for name, value in report.items():
        path = prefix + name
        if is_report(value):
            found.update(unknown_counts(value, known, path + "."))
        elif path not in known and isinstance(value, int) and not isinstance(value, bool):
            found[path if path.isprintable() else ascii(path)] = max(-_INT64_MAX, min(value, _INT64_MAX))
    return found
