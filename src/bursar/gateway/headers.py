"""Read the headers a call brings, and choose those that go on in either direction."""

from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from bursar.core.errors import BadRequest, TooLarge
from bursar.core.times import SECOND_US, from_datetime
from bursar.core.words import TAGS_MAX, WORD_CHARS_MAX, is_word
from bursar.gateway.connection import Headers
from bursar.savings.compress.setting import Setting, read_word

# To the provider: what changes the meaning of a call in its own protocol, and nothing that names the client.
_FORWARDED: Final = (b"anthropic-version", b"anthropic-beta", b"openai-beta")
_OWN: Final = (
    b"x-bursar-run",
    b"x-bursar-parent",
    b"x-bursar-tags",
    b"x-bursar-lane",
    b"x-bursar-max-cost-usd",
    b"x-bursar-timeout-s",
    b"x-bursar-compress",
)
_RARE: Final = frozenset((*_FORWARDED, *_OWN, b"idempotency-key", b"traceparent"))
# To the client: what its SDK acts on. Everything else a provider says stays here.
_RETURNED: Final = frozenset(
    (
        b"content-type",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"x-request-id",
        b"request-id",
        b"openai-processing-ms",
    )
)
_RETURNED_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-")


TIMEOUT_S_MAX: Final = 86_400
_WAIT_S_MAX: Final = 1e9  # what is beyond is no number of seconds anybody meant


class CallHeaders(msgspec.Struct):
    """Hold what the headers of a call say."""

    secret: str = ""
    content_length: int = -1
    run: str = ""
    parent: str = ""
    tags: dict[str, str] = {}
    lane: str = ""
    max_cost_usd: str | None = None
    timeout_us: int = 0  # 0: as long as the model's calls may take
    idempotency_key: bytes = b""
    forwarded: bytes = b""  # header lines for the provider
    target: str = ""  # the end of the path, where a protocol says there what others say in the body
    as_array: bool = False  # a stream is to be one JSON array
    traceparent: bytes = b""
    anthropic: bool = False
    compress: Setting | None = None  # None: as the key, the model or the configuration says


def read_headers(headers: Headers) -> CallHeaders:
    """Read a call's headers; of a name given twice the last counts. Raises `BadRequest` naming the header."""
    given = dict(headers)
    read = CallHeaders(secret_of(given))
    if (value := given.get(b"content-length")) is not None:
        read.content_length = int(value)
    if not given.keys().isdisjoint(_RARE):
        _read_rare(read, given)
    return read


def secret_of(given: dict[bytes, bytes]) -> str:
    """Return the secret that headers bring, wherever a client puts it; empty without one."""
    if (value := given.get(b"authorization")) is not None and value[:7].lower() == b"bearer ":
        return value[7:].decode("latin-1").strip()
    if (value := given.get(b"x-api-key") or given.get(b"x-goog-api-key")) is not None:
        return value.decode("latin-1").strip()
    return ""


def read_query(read: CallHeaders, query: bytes) -> None:
    """Read what Gemini's clients say in a query: their key, and how they want a stream."""
    read.secret = read.secret or secret_in(query)
    asked = _asked(query)
    read.as_array = asked.get("alt", asked.get("$alt")) != "sse"


def secret_in(query: bytes) -> str:
    """Return the secret that a query brings, as Gemini's does; empty without one."""
    return _asked(query).get("key", "").strip() if query else ""


def pass_in(query: bytes) -> str:
    """Return the pass that the address of an upload under way holds; empty without one."""
    return _asked(query).get("upload_id", "") if query else ""


def _asked(query: bytes) -> dict[str, str]:
    return dict(parse_qsl(query.decode("latin-1")))


def _read_rare(read: CallHeaders, given: dict[bytes, bytes]) -> None:
    """Read the headers most calls do not bring."""
    for name in _FORWARDED:
        if (value := given.get(name)) is not None:
            read.forwarded += b"%b: %b\r\n" % (name, value)
            read.anthropic = read.anthropic or name == b"anthropic-version"
    if (value := given.get(b"idempotency-key")) is not None:
        if len(value) > 255:
            raise TooLarge("Idempotency-Key exceeds 255 bytes", param="Idempotency-Key")
        if not value:
            raise BadRequest("Idempotency-Key is empty: give one, or leave it out", param="Idempotency-Key")
        read.idempotency_key = value
    read.traceparent = given.get(b"traceparent", b"")
    for name in _OWN:
        if (value := given.get(name)) is not None:
            _read_own(read, name[9:].decode("latin-1"), value.decode("latin-1"))


def _read_own(read: CallHeaders, name: str, value: str) -> None:
    if name == "tags":
        read.tags = read_tags(value)
    elif name == "run":
        read.run = _word(value, "x-bursar-run")
    elif name == "parent":
        read.parent = _word(value, "x-bursar-parent")
    elif name == "max-cost-usd":
        read.max_cost_usd = value
    elif name == "timeout-s":
        read.timeout_us = _timeout_us(value)
    elif name == "lane":
        read.lane = value
    elif name == "compress":
        read.compress = _setting(value)


def read_tags(text: str, where: str = "x-bursar-tags") -> dict[str, str]:
    """Read tags such as `feature=search,team=blue`. Raises `BadRequest` naming what is wrong."""
    tags: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name or not is_word(name) or not is_word(value):
            raise BadRequest(
                f"{where}: expected name=value pairs of up to {WORD_CHARS_MAX} letters, digits and _.:/@+- each",
                param=where,
            )
        tags[name] = value
    if len(tags) > TAGS_MAX:
        raise BadRequest(f"{where}: expected at most {TAGS_MAX} tags, got {len(tags)}", param=where)
    return tags


def _word(value: str, where: str) -> str:
    if not is_word(value):
        raise BadRequest(f"{where}: expected up to {WORD_CHARS_MAX} letters, digits and _.:/@+-", param=where)
    return value


def _setting(value: str) -> Setting:
    try:
        return read_word(value)
    except ValueError as error:
        raise BadRequest(f"x-bursar-compress: {error}", param="x-bursar-compress") from None


def _timeout_us(value: str) -> int:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= TIMEOUT_S_MAX:
        raise BadRequest(
            f"x-bursar-timeout-s: expected seconds from 0.001 to {TIMEOUT_S_MAX}, got {value!r}",
            param="x-bursar-timeout-s",
        )
    return round(seconds * SECOND_US)


def wait_asked_s(headers: Headers, now_us: int) -> float | None:
    """Return the pause a provider asks for, by `retry-after-ms` or `retry-after`; None without, or none to be read."""
    given = dict(headers)
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        value = given.get(name)
        if value is not None and (seconds := _seconds(value.decode("latin-1"), unit_s, now_us)) is not None:
            return seconds
    return None


def _seconds(text: str, unit_s: float, now_us: int) -> float | None:
    try:
        seconds = float(text) * unit_s
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (from_datetime(at) - now_us) / SECOND_US if at.tzinfo is not None else -1.0
        return max(0.0, seconds)
    return seconds if 0.0 <= seconds < _WAIT_S_MAX else None


def should_not_retry(headers: Headers) -> bool:
    """Tell whether a provider says that asking it again is of no use."""
    return (b"x-should-retry", b"false") in headers


def returned_headers(headers: Headers) -> Headers:
    """Choose the provider's headers that the client gets to see."""
    return [(name, value) for name, value in headers if name in _RETURNED or name.startswith(_RETURNED_PREFIXES)]
