"""Read how long a recording is: what a player makes of it, or what it says of itself as far as its size allows that.

WAV and AIFF with samples of PCM, and the frames of MP3 and AAC, leave no room for another length. FLAC and Ogg tell
theirs in a head (`STREAMINFO`; the last page) that may tell less than there is to hear: their frames and packets bound
it. Of MP4 the head (`mvhd`) and the size do, of WebM and of what is not understood the size alone. RFC 9639, RFC 3533
and 7845, ISO/IEC 14496-12, ISO/IEC 11172-3.
"""

import io
import wave
from typing import Final, Literal

import msgspec

from bursar.core.money import div_ceil
from bursar.wires.sound_frames import (
    BYTES_A_SECOND_LEAST,
    MILLI,
    MP3_BYTES_A_SECOND_LEAST,
    RATE_HZ_MAX,
    Framed,
    Steps,
    aac_frame,
    by_size,
    chained,
    flac_frames,
    mp3_frame,
    ogg_packets,
)

PACKED_BYTES_A_SECOND_LEAST: Final = 750
"""Of MP4 and WebM: Opus at its lowest rate, 6 kbit/s (RFC 6716, 2.1.1); AAC, MP4's usual content, has 8 kbit/s."""

_BOXES_MAX: Final = 1_000
_BELIEVED_MS_MAX: Final = 24 * 3_600_000
"""Longer than anything a request has room for: a head that says more is not believed, and its file goes by its size."""

_UNLIMITED: Final = 1 << 62
_NOTES_WAV: Final = frozenset(
    (
        b"LIST",
        b"JUNK",
        b"junk",
        b"FLLR",
        b"PAD ",
        b"fact",
        b"bext",
        b"id3 ",
        b"ID3 ",
        b"cue ",
        b"PEAK",
        b"iXML",
        b"smpl",
    )
)
_NOTES_AIFF: Final = frozenset(
    (b"MARK", b"INST", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"COMT", b"ID3 ", b"APPL", b"FLLR", b"CHAN", b"MIDI")
)
"""Chunks that hold no sound, whatever plays them."""


class Recording(msgspec.Struct, frozen=True):
    """Hold what a recording is (WAV, AIFF, MP3, AAC, FLAC, Ogg, MP4 or WebM), and its length.

    `counted` tells that a player makes that of it, and `most_ms` the most it can make, where more than its size tells
    it; else its head says so. What has no length that can be read has 0, and `why` says more of that where it is known.
    """

    kind: str
    milliseconds: int
    counted: bool = False
    why: str = ""
    most_ms: int = 0


def read_recording(content: bytes, *, steps: Steps | None = None) -> Recording | None:
    """Tell what a recording says of its length; None for what is none of those that are read here.

    Without `steps` all of it is looked at.
    """
    steps = steps or Steps(_UNLIMITED)
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return _wav(content, steps)
    if content.startswith(b"FORM") and content[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(content, steps)
    if content.startswith(b"fLaC"):
        return _flac(content, steps)
    if content.startswith(b"OggS"):
        return _ogg(content, steps)
    if content[4:8] == b"ftyp":
        return Recording("MP4", _mp4_milliseconds(content, steps))
    if content.startswith(b"\x1aE\xdf\xa3"):
        return Recording("WebM", 0)
    if aac_frame(content, 0):
        return _framed("AAC", chained(content, aac_frame, steps), BYTES_A_SECOND_LEAST)
    if content.startswith(b"ID3") or mp3_frame(content, 0):
        return _framed("MP3", chained(content, mp3_frame, steps), MP3_BYTES_A_SECOND_LEAST)
    return None


class Length(msgspec.Struct, frozen=True):
    """How long a recording lasts: counted, where more than a head tells it, and the most it can be, in milliseconds."""

    counted_ms: int | None
    most_ms: int


def length_of(content: bytes, *, steps: Steps | None = None, kind: str = "") -> Length:
    """Read how long a recording lasts, once; `steps` are those left to the call, which all its recordings share.

    It can last what is counted, else what its frames add up to, else the more of its head and of its size. What its
    sender calls another `kind` than it is goes by its size, for a player may be told so too.
    """
    found = read_recording(content, steps=steps or Steps())
    if found is None or (kind and kind != found.kind):
        return Length(None, max(1, by_size(len(content))))
    if found.counted:
        return Length(found.milliseconds, found.milliseconds)
    if found.most_ms:
        return Length(None, found.most_ms)
    rate = PACKED_BYTES_A_SECOND_LEAST if found.kind in ("MP4", "WebM") else BYTES_A_SECOND_LEAST
    told_ms = found.milliseconds if found.milliseconds <= _BELIEVED_MS_MAX else 0
    return Length(None, max(1, told_ms, by_size(len(content), rate)))


def _wav(content: bytes, steps: Steps) -> Recording:
    chunks = _chunks(content, "little", steps)
    if b"data" not in chunks:
        return Recording("WAV", 0, why=f"its sound is not among its first {_BOXES_MAX} chunks")
    try:
        with wave.open(io.BytesIO(content)) as sound:
            frames, rate = sound.getnframes(), sound.getframerate()
            wide = sound.getnchannels() * sound.getsampwidth()
    except (wave.Error, EOFError, ValueError, RuntimeError, OSError, ZeroDivisionError) as error:
        return Recording("WAV", 0, why=str(error))  # RuntimeError: a chunk beyond the end
    told = chunks.keys() <= _NOTES_WAV | {b"fmt ", b"data"} and chunks[b"data"] == frames * wide
    return _samples("WAV", content, frames, rate, wide if told else -wide)


def _aiff(content: bytes, steps: Steps) -> Recording:
    """Read COMM: channels, frames, bits, and a rate of 80 bits; that of AIFC is read where its samples are PCM."""
    chunks = _chunks(content, "big", steps)
    at = content.find(b"COMM", 12) + 8
    head = content[at : at + 22]
    if b"SSND" not in chunks or b"COMM" not in chunks or len(head) < 18:
        return Recording("AIFF", 0, why="its sound is not among its first chunks")
    if content[8:12] == b"AIFC" and head[18:22] not in (b"NONE", b"sowt", b"twos"):
        return Recording("AIFF", 0, why="its samples are not PCM")
    channels, frames, bits = (int.from_bytes(head[a:b]) for a, b in ((0, 2), (2, 6), (6, 8)))
    shift = 16_383 + 63 - (int.from_bytes(head[8:10]) & 0x7FFF)
    rate = int.from_bytes(head[10:18]) >> shift if 0 <= shift < 64 else 0
    wide = channels * div_ceil(bits, 8)
    told = chunks.keys() <= _NOTES_AIFF | {b"COMM", b"SSND", b"FVER"} and chunks[b"SSND"] == frames * wide + 8
    return _samples("AIFF", content, frames, rate, wide if told else -wide)


def _samples(kind: str, content: bytes, frames: int, rate_hz: int, wide: int) -> Recording:
    """Tell how long samples last, of `wide` bytes together; below 0 where there may be more or less than is told."""
    if not 0 < rate_hz <= RATE_HZ_MAX or not wide or not frames:
        return Recording(kind, 0, why="it has no samples")
    milliseconds = div_ceil(frames * MILLI, rate_hz)
    if wide > 0:
        return Recording(kind, milliseconds, counted=True)
    return Recording(kind, milliseconds, most_ms=by_size(len(content), -wide * rate_hz))


def _chunks(content: bytes, order: Literal["big", "little"], steps: Steps) -> dict[bytes, int]:
    """Return the size of each chunk by its name; under no name what is no chunk, or comes a second time."""
    found: dict[bytes, int] = {}
    at = 12
    for _ in range(_BOXES_MAX):
        if at >= len(content):
            return found
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], order)
        at += 8 + size
        if len(name) < 4 or at > len(content) or (name in _SOUNDS and name in found) or not steps.take():
            break
        found[name] = size
        at += size & 1
    return found | {b"": len(content) - at}


_SOUNDS: Final = (b"data", b"fmt ", b"COMM", b"SSND")


def _flac(content: bytes, steps: Steps) -> Recording:
    """Read STREAMINFO, which stands first: 20 bits of rate, 8 of other things, 36 of samples."""
    head = content[8:42]
    if len(head) < 34 or content[4] & 0x7F:
        return Recording("FLAC", 0)
    bits = int.from_bytes(head[10:18])
    rate, samples = bits >> 44, bits & (1 << 36) - 1
    if not rate:
        return Recording("FLAC", 0)
    told_ms = div_ceil(samples * MILLI, rate)
    framed_ms = flac_frames(content, rate, steps).milliseconds
    believed_ms = told_ms if told_ms <= _BELIEVED_MS_MAX else 0
    return Recording("FLAC", told_ms or framed_ms, most_ms=max(believed_ms, framed_ms) if framed_ms else 0)


def _ogg(content: bytes, steps: Steps) -> Recording:
    """Read the place of the last sample from the last page, and add up the packets."""
    found = ogg_packets(content, steps)
    if not found.understood:
        return Recording("Ogg", 0, why="it is neither Opus nor Vorbis")
    framed = found.framed
    most_ms = framed.milliseconds + by_size(framed.beside + framed.unread) if framed.milliseconds else 0
    told_ms = found.told_ms if found.told_ms <= _BELIEVED_MS_MAX else 0
    return Recording("Ogg", found.told_ms or framed.milliseconds, most_ms=max(told_ms, most_ms) if most_ms else 0)


def _framed(kind: str, found: Framed, bytes_a_second: int) -> Recording:
    """Tell how long frames last: counted where there is nothing else but tags."""
    milliseconds = found.milliseconds
    if not milliseconds:
        return Recording(kind, 0, why=f"it has no frame of {kind}")
    more_ms = by_size(found.beside) + by_size(found.unread, BYTES_A_SECOND_LEAST if found.beside else bytes_a_second)
    return Recording(kind, milliseconds, counted=not more_ms, most_ms=milliseconds + more_ms)


def _mp4_milliseconds(content: bytes, steps: Steps) -> int:
    """Read the movie's duration from `mvhd`, which stands in `moov`."""
    inside = _box(content, b"moov", (0, len(content)), steps)
    found = _box(content, b"mvhd", inside, steps) if inside is not None else None
    if found is None:
        return 0
    at = found[0]
    wide = content[at : at + 1] == b"\x01"
    scale_at, size = (at + 20, 8) if wide else (at + 12, 4)
    scale = int.from_bytes(content[scale_at : scale_at + 4])
    told = content[scale_at + 4 : scale_at + 4 + size]
    duration = int.from_bytes(told)
    if not scale or len(told) < size or told == b"\xff" * size:  # which is to say that it is not known
        return 0
    return div_ceil(duration * MILLI, scale)


def _box(content: bytes, name: bytes, within: tuple[int, int], steps: Steps) -> tuple[int, int] | None:
    """Find a box of a name among those of a stretch: where its content begins and ends."""
    at, end = within
    for _ in range(_BOXES_MAX):
        if not steps.take():
            return None
        size, head = int.from_bytes(content[at : at + 4]), 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16]), 16
        elif size == 0:  # to the end
            size = end - at
        if size < head or at + head > end:
            return None
        if content[at + 4 : at + 8] == name:
            return at + head, min(end, at + size)
        at += size
    return None
