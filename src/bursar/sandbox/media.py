"""Answer with images and sound: tiny ones, the same for the same request, with the usage a provider would report."""

import io
import wave
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.sandbox.play import IMAGE_TOKENS, Play, tokens_of
from bursar.wires.form import read_form
from bursar.wires.openai_audio import billed_seconds
from bursar.wires.openai_images import OPENAI_IMAGES
from bursar.wires.recordings import read_recording
from bursar.wires.sse import event_bytes

IMAGE_OUT_TOKENS: Final = 272
"""Tokens of an image here, whatever its size: as a small one of low quality."""

SPOKEN_TOKENS_A_CHAR: Final = 2
_CREATED: Final = 1_700_000_000
_PIXEL: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)
"""A PNG of one point."""
_encode = msgspec.json.Encoder().encode

Fields = dict[str, Any]


class Made(msgspec.Struct, frozen=True):
    """Hold what was made: the usage, an answer in one piece with its type, or the events of a stream."""

    usage: Usage
    body: bytes
    content_type: bytes = b"application/json"
    events: tuple[bytes, ...] = ()


def fields_of(body: bytes) -> tuple[Fields, bytes]:
    """Read a request, JSON or a form: its fields, and all its files in one."""
    if body[:1] == b"{":
        return msgspec.json.decode(body), b""
    form = read_form(body)
    fields: Fields = {part.name: part.data.decode() for part in form.parts if part.file_name is None}
    files = [part.data for part in form.parts if part.file_name is not None]
    return {**fields, "files": len(files)}, b"".join(files)


def image_answer(protocol: Protocol, body: bytes, play: Play) -> Made:
    """Make as many images as were asked for."""
    fields, _ = fields_of(body)
    count = int(fields.get("n") or 1)
    given = {"input_image_tokens": IMAGE_TOKENS * fields["files"]} if "files" in fields else {}
    made = {"output_image_tokens": IMAGE_OUT_TOKENS * count}
    usage = Usage(tokens_of(len(str(fields.get("prompt", "")).encode())), other=given | made)
    image = b64encode(_PIXEL).decode()
    report = {} if play.direction.fault == "silent" else {"usage": OPENAI_IMAGES.usage_report(usage)}
    answer = {"created": _CREATED, "data": [{"b64_json": image} for _ in range(count)]} | report
    kind = "image_edit" if protocol is Protocol.openai_image_edits else "image_generation"
    shown = {"b64_json": image, "created_at": _CREATED, "size": "1024x1024", "quality": "low", "background": "opaque"}
    shown["output_format"] = "png"
    partial = int(fields.get("partial_images") or 0)
    events = [(f"{kind}.partial_image", shown | {"partial_image_index": index}) for index in range(partial)]
    events.append((f"{kind}.completed", shown | report))
    named = tuple(event_bytes(_encode({"type": name} | event), name) for name, event in events)
    return Made(usage, _encode(answer), events=named)


def speech_answer(protocol: Protocol, body: bytes, play: Play) -> Made:
    """Speak a text: silence, as long as the text."""
    del protocol, play
    fields, _ = fields_of(body)
    text = str(fields["input"])
    sound = _silence(len(text))
    if not str(fields["model"]).startswith("gpt-"):
        return Made(Usage(other={"input_characters": len(text)}), sound, b"audio/wav")
    usage = Usage(tokens_of(len(text.encode())), output_tokens=SPOKEN_TOKENS_A_CHAR * len(text))
    events = tuple(_speech_events(sound, usage))
    return Made(usage, sound, b"audio/wav", events if fields.get("stream_format") == "sse" else ())


def transcription_answer(protocol: Protocol, body: bytes, play: Play) -> Made:
    """Write a recording down: the same words for the same sound."""
    del protocol
    fields, sound = fields_of(body)
    seconds = billed_seconds(length_ms(sound))
    text = play.text()
    if not str(fields["model"]).startswith("gpt-"):
        usage, report = Usage(other={"input_audio_seconds": seconds}), {"type": "duration", "seconds": seconds}
    else:
        usage = Usage(0, output_tokens=tokens_of(len(text)), other={"input_audio_tokens": 17 * seconds})
        details = {"input_token_details": {"text_tokens": 0, "audio_tokens": 17 * seconds}}
        counts = {"input_tokens": 17 * seconds, "output_tokens": usage.output_tokens}
        report = {"type": "tokens", "total_tokens": sum(counts.values())} | counts | details
    kind = fields.get("response_format", "json")
    if kind == "text":
        return Made(usage, text.encode() + b"\n", b"text/plain; charset=utf-8")
    told = {} if play.direction.fault == "silent" else {"usage": report}
    more = {"language": "english", "duration": float(seconds)} if kind == "verbose_json" else {}
    pieces = [{"type": "transcript.text.delta", "delta": text}, {"type": "transcript.text.done", "text": text} | told]
    events = tuple(event_bytes(_encode(piece)) for piece in pieces)
    return Made(usage, _encode({"text": text} | more | told), events=events if fields.get("stream") == "true" else ())


def length_ms(sound: bytes) -> int:
    """Return how long a recording is: by what it says, else by its size at 6 kbit/s."""
    found = read_recording(sound)
    return found.milliseconds if found is not None and found.milliseconds else len(sound) * 4 // 3


def _speech_events(sound: bytes, usage: Usage) -> Iterator[bytes]:
    for start in range(0, len(sound), 4_096):
        piece = b64encode(sound[start : start + 4_096]).decode()
        yield event_bytes(_encode({"type": "speech.audio.delta", "audio": piece}))
    report = {"input_tokens": usage.input_total, "output_tokens": usage.output_total}
    report["total_tokens"] = sum(report.values())
    yield event_bytes(_encode({"type": "speech.audio.done", "usage": report}))


def _silence(tenths: int) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as recording:
        recording.setparams((1, 2, 8_000, 0, "NONE", "not compressed"))
        recording.writeframes(bytes(2 * 800 * tenths))
    return held.getvalue()
