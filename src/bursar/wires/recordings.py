"""Read how long a recording is: what it says of itself, as far as its size allows that.

A WAV with samples of PCM, and the frames of an MP3, leave no room for another length: what a player makes of them is
counted. FLAC, Ogg and MP4 tell theirs in a head (`STREAMINFO`; the last page; `mvhd`) that may tell less than there is
to hear. RFC 9639, RFC 3533 and 7845, ISO/IEC 14496-12, ISO/IEC 11172-3.
"""

import io
import wave
from typing import Final

import msgspec

from bursar.core.money import div_ceil

BYTES_A_SECOND_LEAST: Final = 750
"""Opus at its lowest rate, 6 kbit/s (RFC 6716): of what is coded with loss none that is understood is longer."""

_MILLI: Final = 1_000
_BESIDE_BYTES_MAX: Final = 65_536
"""More than what stands in a WAV or an MP3 beside its sound and its tag: where it is more, it may be sound as well."""

_STEPS_MAX: Final = 50_000
"""Frames, and places that might be one, that are looked at beside calls: 21 minutes at 44.1 kHz, some hundredths of a
second of reading."""

_BOXES_MAX: Final = 1_000
_BELIEVED_MS_MAX: Final = 24 * 3_600_000
"""Longer than anything a request has room for: a head that says more is not believed, and its file goes by its size."""

_OPUS_HZ: Final = 48_000
_RATE_HZ_MAX: Final = 10_000_000

# MPEG audio: samples a frame and kilobits a second, by version (bits 19 and 20 of a frame's head), of layer III.
_MP3_SAMPLES: Final = {3: 1_152, 2: 576, 0: 576}
_MP3_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class Recording(msgspec.Struct, frozen=True):
    """Hold what a recording is (WAV, MP3, FLAC, Ogg or MP4), and its length.

    `counted` tells that a player makes that of it; else its head says so. What has no length that can be read has 0,
    and `why` says more of that where it is known.
    """

    kind: str
    milliseconds: int
    counted: bool = False
    why: str = ""


def read_recording(content: bytes, *, steps_max: int | None = None) -> Recording | None:
    """Tell what a recording says of its length; None for what is none of those that are read here.

    Of an MP3 `steps_max` frames are looked at; where there are more, it is not counted.
    """
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return _wav(content)
    if content.startswith(b"fLaC"):
        return Recording("FLAC", _flac_milliseconds(content))
    if content.startswith(b"OggS"):
        return Recording("Ogg", _ogg_milliseconds(content))
    if content[4:8] == b"ftyp":
        return Recording("MP4", _mp4_milliseconds(content))
    if content.startswith(b"ID3") or _frame(content, 0):
        return _mp3(content, steps_max)
    return None


class Length(msgspec.Struct, frozen=True):
    """How long a recording lasts: counted, where more than a head tells it, and the most it can be, in milliseconds."""

    counted_ms: int | None
    most_ms: int


def length_of(content: bytes) -> Length:
    """Read how long a recording lasts, once. It can last what is counted, else the more of its head and of its size."""
    found = read_recording(content, steps_max=_STEPS_MAX)
    by_size = max(1, div_ceil(len(content) * _MILLI, BYTES_A_SECOND_LEAST))
    if found is None or not 0 < found.milliseconds <= _BELIEVED_MS_MAX:
        return Length(None, by_size)
    if found.counted:
        return Length(found.milliseconds, found.milliseconds)
    return Length(None, max(found.milliseconds, by_size))


def _wav(content: bytes) -> Recording:
    if not _sound_is_near(content):
        return Recording("WAV", 0, why=f"its sound is not among its first {_BOXES_MAX} chunks")
    try:
        with wave.open(io.BytesIO(content)) as sound:
            frames, rate = sound.getnframes(), sound.getframerate()
            size = frames * sound.getnchannels() * sound.getsampwidth()
    except (wave.Error, EOFError, ValueError, RuntimeError, OSError, ZeroDivisionError) as error:
        return Recording("WAV", 0, why=str(error))  # RuntimeError: a chunk beyond the end
    if not 0 < rate <= _RATE_HZ_MAX or not frames:
        return Recording("WAV", 0, why="it has no samples")
    told = size <= len(content) <= size + _BESIDE_BYTES_MAX  # else the head says less than there is to hear, or more
    return Recording("WAV", div_ceil(frames * _MILLI, rate), told)


def _sound_is_near(content: bytes) -> bool:
    """Tell whether a WAV's sound, or its end, comes before more chunks than are looked at beside calls."""
    at = 12
    for _ in range(_BOXES_MAX):
        if at + 8 > len(content) or content[at : at + 4] == b"data":
            return True
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + size + (size & 1)
    return False


def _flac_milliseconds(content: bytes) -> int:
    """Read STREAMINFO, which stands first: 20 bits of rate, 8 of other things, 36 of samples."""
    head = content[8:42]
    if len(head) < 34 or content[4] & 0x7F:
        return 0
    bits = int.from_bytes(head[10:18])
    rate, samples = bits >> 44, bits & (1 << 36) - 1
    return div_ceil(samples * _MILLI, rate) if rate else 0


def _ogg_milliseconds(content: bytes) -> int:
    """Read the place of the last sample from the last page, in samples of the rate the first one tells."""
    if len(content) < 28:
        return 0
    begun = 27 + content[26]
    first = content[begun : begun + 19]
    rate, skipped = 0, 0
    if first.startswith(b"OpusHead"):
        rate, skipped = _OPUS_HZ, int.from_bytes(first[10:12], "little")
    elif first.startswith(b"\x01vorbis"):
        rate = int.from_bytes(first[12:16], "little")
    last = content.rfind(b"OggS")
    while last >= 0 and content[last + 6 : last + 14] == b"\xff" * 8:  # a page on which nothing ends
        last = content.rfind(b"OggS", 0, last)
    samples = int.from_bytes(content[last + 6 : last + 14], "little") - skipped if last >= 0 else 0
    return div_ceil(samples * _MILLI, rate) if 0 < rate <= _RATE_HZ_MAX and 0 < samples < 1 << 63 else 0


def _mp4_milliseconds(content: bytes) -> int:
    """Read the movie's duration from `mvhd`, which stands in `moov`."""
    inside = _box(content, b"moov", 0, len(content))
    found = _box(content, b"mvhd", *inside) if inside is not None else None
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
    return div_ceil(duration * _MILLI, scale)


def _box(content: bytes, name: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Find a box of a name among those of a stretch: where its content begins and ends."""
    for _ in range(_BOXES_MAX):
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


def _mp3(content: bytes, steps_max: int | None) -> Recording:
    """Add up the frames of layer III, each of its own rate; what stands between them is passed over."""
    begun = at = _after_tag(content)
    steps = framed = 0
    by_rate: dict[int, int] = {}
    while (at := content.find(b"\xff", at)) >= 0:
        if steps == steps_max:
            break
        steps += 1
        found = _frame(content, at)
        if found is None:
            at += 1
            continue
        size, samples, rate = found
        by_rate[rate] = by_rate.get(rate, 0) + samples
        framed += size
        at += size
    told = at < 0 and len(content) - begun <= framed + _BESIDE_BYTES_MAX
    milliseconds = sum(div_ceil(samples * _MILLI, rate) for rate, samples in by_rate.items())
    return Recording("MP3", milliseconds, told, "it has no frame of MP3" if not milliseconds else "")


def _after_tag(content: bytes) -> int:
    """Return where the sound begins: behind an ID3 tag, whose size is in four bytes of seven bits."""
    if not content.startswith(b"ID3") or len(content) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))


def _frame(content: bytes, at: int) -> tuple[int, int, int] | None:
    """Return the bytes, samples and rate of the frame that begins here; None where none does."""
    head = content[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # layer III alone
        return None
    version, kbits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or kbits in (0, 15) or rate == 3:
        return None
    bits, rate_hz = (_MP3_KBITS_1 if version == 3 else _MP3_KBITS_2)[kbits], _MP3_RATES_HZ[version][rate]
    samples = _MP3_SAMPLES[version]
    return samples // 8 * bits * 1_000 // rate_hz + (head[2] >> 1 & 1), samples, rate_hz
