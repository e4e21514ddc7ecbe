"""Speak OpenAI's audio: text to speech, and recordings to text.

Speech is billed by the characters of its text, or by tokens, which only a stream of events reports: where a client asks
for the bare sound of such a model, the provider is asked for events and the sound is taken out of them as they come.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.money import div_ceil
from bursar.core.records import Protocol, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.form import read_form
from bursar.wires.plain import FormWire, PlainWire, read_request
from bursar.wires.recordings import length_of
from bursar.wires.sse import event_data
from bursar.wires.wire import (
    NO_MEDIA,
    UNREADABLE,
    Answer,
    BadAnswer,
    Facts,
    Seen,
    UsageReport,
    believable,
    check_model,
    count_of,
    edit_body,
    is_report,
    nested,
    unknown_counts,
    utf8_len,
)

SPEECH_CHARS_MAX: Final = 4_096
"""Characters of one request for speech ("Create speech", checked 2026-11-22)."""

SPOKEN_TOKENS_A_CHAR_MAX: Final = 5
"""Speech of 21 tokens a second (0.015 USD a minute at 12 USD a million) has more than 4 characters in one."""

HEARD_TOKENS_A_S_MAX: Final = 25
"""Recordings take 17 tokens a second (0.006 USD a minute at 6 USD a million; "Pricing", checked 2026-11-22)."""

WRITTEN_TOKENS_A_S_MAX: Final = 10
"""More than anybody says in a second."""

_SPEAKS_IN_EVENTS: Final = "gpt-"
"""How the names of models begin whose speech is billed by tokens."""

_BILLED_BY_CHARACTERS: Final = ("input_characters",)
_BILLED_BY_TOKENS: Final = ("input_tokens", "output_tokens")
_SPEECH: Final = Traits(meters=(_BILLED_BY_CHARACTERS, _BILLED_BY_TOKENS))
_HEARING: Final = Traits(media=True, meters=(("input_audio_seconds",), _BILLED_BY_TOKENS))
_FORMATS: Final = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/opus",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
_KNOWN: Final = frozenset(
    (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "input_token_details.text_tokens",
        "input_token_details.audio_tokens",
    )
)
_TELL_NOTHING: Final = ("text", "srt", "vtt")
"""Formats of a text that say nothing of what is billed."""


class _Speech(msgspec.Struct):
    model: str
    input: str
    instructions: str | None = None
    response_format: str | None = None
    speed: float | None = None
    stream_format: str | None = None


class _Event(msgspec.Struct):
    type: str = ""
    audio: str = ""
    usage: UsageReport | None = None


class _Text(msgspec.Struct):
    usage: UsageReport | None = None
    duration: float | None = None


_speech: Final = msgspec.json.Decoder(_Speech)
_event: Final = msgspec.json.Decoder(_Event)
_text: Final = msgspec.json.Decoder(_Text)


class AudioReader:
    """Read the events of speech that is made, or of a recording that is written down; the last has the usage."""

    def __init__(self) -> None:
        self._answer = Answer(None, "", "", 0, whole=False)

    def see(self, event: bytes) -> Seen:
        """Take in one event."""
        data = event_data(event)
        if not data or (b".done" not in data[:64] and b'"usage"' not in data):
            return Seen.content
        try:
            self._answer = _answer_of(_event.decode(data).usage, None)
        except UNREADABLE:
            self._answer = msgspec.structs.replace(self._answer, note="an event of the stream could not be read")
        return Seen.closing

    def answer(self) -> Answer:
        """Return what the stream has said so far."""
        return self._answer


class Sound:
    """Take the sound out of a stream of events, for a client that asked for nothing else."""

    def __init__(self, content_type: bytes) -> None:
        self.content_type = content_type

    def feed(self, event: bytes) -> bytes:
        """Return the sound of one whole event. Raises `BadAnswer` for one that cannot be read."""
        data = event_data(event)
        if not data:
            return b""
        try:
            return b64decode(_event.decode(data).audio, validate=True)
        except (*UNREADABLE, Base64Error) as error:
            raise BadAnswer(f"not an event of speech: {error}") from error

    def end(self) -> bytes:
        """Return what comes last: nothing."""
        return b""


class OpenAISpeech(PlainWire):
    """Be the protocol by which text is spoken."""

    protocol: ClassVar = Protocol.openai_speech
    route: ClassVar = "/v1/audio/speech"
    meters: ClassVar = _SPEECH.meters
    estimates: ClassVar = False

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        request: _Speech = read_request(_speech, body)
        characters = len(request.input)
        if not 0 < characters <= SPEECH_CHARS_MAX:
            raise BadRequest(f"expected 1 to {SPEECH_CHARS_MAX} characters in `input`, got {characters}", param="input")
        if (request.response_format or "mp3") not in _FORMATS:
            raise BadRequest(f"expected one of {', '.join(_FORMATS)} in `response_format`", param="response_format")
        speed = request.speed or 1.0
        if not 0.25 <= speed <= 4:
            raise BadRequest("expected a number from 0.25 to 4 in `speed`", param="speed")
        size = utf8_len(request.input) + utf8_len(request.instructions or "")
        in_events = request.stream_format == "sse"
        return Facts(
            request.model,
            in_events,
            in_events,
            round(SPOKEN_TOKENS_A_CHAR_MAX * characters / min(1.0, speed)) + 1,
            1,
            Segments(user=size),
            size,
            NO_MEDIA,
            _SPEECH,
            counts=(("input_characters", characters),),
        )

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, with the model as decided, in events where they alone tell usage."""
        edits = {"model": model}
        if not facts.wants_usage and model.startswith(_SPEAKS_IN_EVENTS):
            edits["stream_format"] = "sse"
        return edit_body(body, edits)

    def answer(self, body: bytes) -> Answer:  # noqa: ARG002
        """Return that nothing is known of sound but that it came."""
        return Answer(None, "", "", 0)

    def reader(self) -> Any:
        """Return a reader for one stream."""
        return AudioReader()

    def bare(self, body: bytes, facts: Facts) -> Sound | None:
        """Return what takes the sound out of a stream; None for a client that asked for the events."""
        if facts.wants_usage:
            return None
        return Sound(_FORMATS[_speech.decode(body).response_format or "mp3"])


class OpenAITranscriptions(FormWire):
    """Be the protocol by which recordings are written down."""

    protocol: ClassVar = Protocol.openai_transcriptions
    route: ClassVar = "/v1/audio/transcriptions"
    meters: ClassVar = _HEARING.meters

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a form. Raises `BadRequest` naming the field and the kind of value expected."""
        form = read_form(body)
        model, prompt = form.field("model"), form.field("prompt", "")
        check_model(model)
        files = form.files("file")
        if len(files) != 1:
            raise BadRequest(f"expected one file `file` in the form, got {len(files)}", param="file")
        length = length_of(files[0].data)
        most_s = div_ceil(length.most_ms, 1_000)
        seconds = most_s if length.counted_ms is None else billed_seconds(length.counted_ms)
        kind = form.field("response_format", "json")
        if kind in _TELL_NOTHING and length.counted_ms is None:
            raise BadRequest(
                f"response_format {kind!r} does not say how long the recording is, by which it is billed: ask for"
                " `json` or `verbose_json`, or send WAV or MP3",
                code="unmetered",
                param="response_format",
            )
        size = utf8_len(prompt)
        heard = HEARD_TOKENS_A_S_MAX * most_s + size
        return Facts(
            model,
            form.flag("stream"),
            True,  # noqa: FBT003
            WRITTEN_TOKENS_A_S_MAX * most_s,
            1,
            Segments(user=size),
            heard,
            NO_MEDIA,
            _HEARING,
            counts=(("input_audio_seconds", seconds),),
            form=form.layout,
        )

    def answer(self, body: bytes) -> Answer:
        """Read a whole answer; one that is no JSON is a text that says nothing of usage."""
        if body[:1] != b"{":
            return Answer(None, "", "", 0)
        try:
            read = _text.decode(body)
        except UNREADABLE as error:
            raise BadAnswer(f"not a transcription: {error}") from error
        return _answer_of(read.usage, read.duration)

    def reader(self) -> Any:
        """Return a reader for one stream."""
        return AudioReader()


class OpenAITranslations(OpenAITranscriptions):
    """Be the protocol by which recordings are written down in English."""

    protocol: ClassVar = Protocol.openai_translations
    route: ClassVar = "/v1/audio/translations"


def billed_seconds(milliseconds: int) -> int:
    """Round a length as recordings are billed: to the nearest second."""
    return round(milliseconds / 1_000)


def audio_usage(report: UsageReport) -> Usage:
    """Turn the usage of speech or of a transcription into disjoint leaves; seconds are rounded as they are billed.

    Raises `UsageContradiction` for a field of the wrong kind.
    """
    heard_s = report.get("prompt_audio_seconds")  # Mistral's name for it
    if report.get("type") == "duration" or heard_s is not None:
        seconds = report.get("seconds") if heard_s is None else heard_s
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
            raise UsageContradiction(f"usage field seconds is {type(seconds).__name__}, expected a number")
        return Usage(other={"input_audio_seconds": round(seconds)})
    if not report.keys() >= {"input_tokens", "output_tokens"}:
        raise UsageContradiction("usage says neither seconds nor input_tokens and output_tokens")
    given = count_of(report, "input_tokens")
    heard = count_of(nested(report, "input_token_details"), "audio_tokens")
    other = {"input_audio_tokens": heard} if heard else {}
    unknown = {name: count for name, count in unknown_counts(report, _KNOWN).items() if count}
    made = count_of(report, "output_tokens")
    return believable(Usage(given - heard, output_tokens=made, other=other, unknown=unknown))


def _answer_of(report: UsageReport | None, duration_s: float | None) -> Answer:
    try:
        if is_report(report):
            return Answer(audio_usage(report), "", "", 0)
        if duration_s is not None:
            return Answer(audio_usage({"type": "duration", "seconds": duration_s}), "", "", 0)
    except UsageContradiction as error:
        return Answer(None, "", "", 0, note=str(error))
    return Answer(None, "", "", 0)


OPENAI_SPEECH: Final = OpenAISpeech()
OPENAI_TRANSCRIPTIONS: Final = OpenAITranscriptions()
OPENAI_TRANSLATIONS: Final = OpenAITranslations()
