"""Read what of a call in turns is sound: how long the recordings of a prompt can last, and whether it asks for speech.

A call that brings recordings, or asks for speech, can be priced only where its model has a price for that: a rate of
text says nothing of what sound costs.
"""

import json
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.records import TEXT_METERS, Meters
from bursar.wires.recordings import length_of
from bursar.wires.sound_frames import Steps
from bursar.wires.wire import OFF, UNREADABLE, Resold, bad_request

HEARD: Final = "input_audio_tokens"
SPOKEN: Final = "output_audio_tokens"

SPEECH_FORMATS: Final = ("wav", "aac", "mp3", "flac", "opus", "pcm16")
"""What chat completions speak in ("Create chat completion", checked 2026-11-23)."""


class _Given(msgspec.Struct):
    data: str
    format: str = ""


class _Voice(msgspec.Struct):
    voice: msgspec.Raw
    format: str


_flat: Final = msgspec.json.Decoder(dict[str, str | int | float | bool | None])  # so that reading it takes no time
_given: Final = msgspec.json.Decoder(_Given)
_voice: Final = msgspec.json.Decoder(_Voice)


def meters_of(*, hears: bool, speaks: bool) -> Meters:
    """Return what must have a price for a call in turns that brings recordings, or asks for speech."""
    more = (HEARD,) * hears + (SPOKEN,) * speaks
    return tuple((*leaves, *more) for leaves in TEXT_METERS) if more else TEXT_METERS


KINDS: Final = {
    "wav": "WAV",
    "x-wav": "WAV",
    "wave": "WAV",
    "mp3": "MP3",
    "mpeg": "MP3",
    "aiff": "AIFF",
    "x-aiff": "AIFF",
    "aac": "AAC",
    "ogg": "Ogg",
    "flac": "FLAC",
    "x-flac": "FLAC",
}
"""What a recording is, by the names OpenAI's `format` and the second half of a media type have for it."""


def base64_ms(data: str, named: str, where: str, steps: Steps) -> int:
    """Return how many milliseconds a recording in base64, `named` a kind by its sender, can last.

    `steps` are those left to the call. Raises `BadRequest` for what is no recording.
    """
    return length_of(sound_of(data, where), steps=steps, kind=KINDS.get(named.lower(), "")).most_ms


def sound_of(data: str, where: str) -> bytes:
    """Read a recording in base64, of either alphabet. Raises `BadRequest` for what is none."""
    try:
        sound = b64decode(data.translate(_STANDARD), validate=True)
    except (Base64Error, ValueError):
        raise BadRequest(f"expected base64 in `{where}`", param=where) from None
    if not sound:
        raise BadRequest(f"expected a recording in `{where}`, got none", param=where)
    return sound


_STANDARD: Final = str.maketrans("-_", "+/")


def input_audio_ms(part: msgspec.Raw, where: str, steps: Steps) -> int:
    """Return how many milliseconds the recording of OpenAI's `input_audio` can last. Raises `BadRequest`."""
    try:
        given = _given.decode(part)
        check_once(part, where)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{str(error).partition(' - at')[0]} in `{where}`", param=where) from None
    except UNREADABLE as error:
        raise bad_request(error) from None
    return base64_ms(given.data, given.format, f"{where}.data", steps)


def check_once(value: msgspec.Raw, where: str) -> None:
    """Check that an object names no field twice. Raises `BadRequest` naming the field.

    Which of two recordings a provider hears is not known, and both of them would be sent on.
    """
    _flat.decode(value)
    twice: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        twice.extend(name for name in ("data", "format", "mimeType", "mime_type") if names.count(name) > 1)

    json.loads(bytes(value), object_pairs_hook=note)
    if twice:
        field = f"{where}.{twice[0]}"
        raise BadRequest(f"`{field}` is given twice; give it once", param=field)


def asks_for_speech(request: Resold) -> bool:
    """Tell whether a chat completion may be spoken. Raises `BadRequest` where it does not say in which voice."""
    asks = "audio" in (request.modalities or ())
    given = bytes(request.audio) not in OFF
    if asks and not given:
        raise BadRequest("expected an object with `voice` and `format` in `audio`", param="audio")
    if not given:
        return False
    try:
        voice = _voice.decode(request.audio)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{str(error).partition(' - at')[0]} in `audio`", param="audio") from None
    except UNREADABLE as error:
        raise bad_request(error) from None
    if voice.format not in SPEECH_FORMATS:
        raise BadRequest(f"expected one of {', '.join(SPEECH_FORMATS)} in `audio.format`", param="audio.format")
    return True
