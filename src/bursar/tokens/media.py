"""Read what a file is from its first bytes: text, an image of so many pixels, or sound of so many seconds."""

import io
import warnings
import wave
from enum import StrEnum
from typing import Final

import msgspec

from bursar.core.errors import ConfigError
from bursar.core.money import div_ceil

_IMAGES: Final = ("PNG", "JPEG", "GIF", "WEBP")

# MPEG audio: samples a frame and kilobits a second, by version (bits 19 and 20 of a frame's head), of layer III.
_MP3_SAMPLES: Final = {3: 1_152, 2: 576, 0: 576}
_MP3_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class MediaKind(StrEnum):
    """Say what a file holds."""

    text = "text"
    image = "image"
    audio = "audio"


class Media(msgspec.Struct, frozen=True):
    """Hold what a file is: a text, or the size of an image in pixels, or the length of a sound in milliseconds."""

    kind: MediaKind
    text: str = ""
    width_px: int = 0
    height_px: int = 0
    milliseconds: int = 0


def read_media(content: bytes) -> Media:
    """Tell what some bytes are. Raises `ConfigError` for a PDF, for what cannot be read, and for what is no text."""
    if content.startswith(b"%PDF-"):
        raise ConfigError("a PDF takes what its provider makes of its pages, which no rule tells; count its text alone")
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return Media(MediaKind.audio, milliseconds=_wav_milliseconds(content))
    if content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or content[8:12] == b"WEBP":
        width, height = _pixels(content)
        return Media(MediaKind.image, width_px=width, height_px=height)
    if content.startswith(b"ID3") or (_frame(content, 0) and not _is_text(content)):
        return Media(MediaKind.audio, milliseconds=_mp3_milliseconds(content))
    try:
        return Media(MediaKind.text, text=content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"it is no text in UTF-8 (byte {error.start} is {content[error.start]:#04x}) and no image or sound that is"
            " read here: give PNG, JPEG, GIF, WebP, WAV or MP3"
        ) from None


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _pixels(content: bytes) -> tuple[int, int]:
    try:
        from PIL import Image, UnidentifiedImageError  # of the extra: nothing else needs it
    except ImportError:
        raise ConfigError("images are read with the extra `tokens`: install bursar[tokens]") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only its head is read
            with Image.open(io.BytesIO(content), formats=_IMAGES) as image:
                return image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"the image cannot be read: {' '.join(str(error).split())}") from None


def _wav_milliseconds(content: bytes) -> int:
    try:
        with wave.open(io.BytesIO(content)) as sound:
            frames, rate = sound.getnframes(), sound.getframerate()
    except (wave.Error, EOFError, ValueError, RuntimeError, OSError) as error:  # RuntimeError: a chunk beyond the end
        why = f": {error}" if str(error) else ""
        raise ConfigError(f"the sound cannot be read{why}; give WAV with PCM samples, or MP3") from None
    if not rate or not frames:
        raise ConfigError("the sound cannot be read: it has no samples")
    return div_ceil(frames * 1_000, rate)


def _mp3_milliseconds(content: bytes) -> int:
    """Add up the frames of layer III, each of its own rate; what stands between them is passed over."""
    at = _after_tag(content)
    by_rate: dict[int, int] = {}
    while (at := content.find(b"\xff", at)) >= 0:
        found = _frame(content, at)
        if found is None:
            at += 1
            continue
        size, samples, rate = found
        by_rate[rate] = by_rate.get(rate, 0) + samples
        at += size
    milliseconds = sum(div_ceil(samples * 1_000, rate) for rate, samples in by_rate.items())
    if not milliseconds:
        raise ConfigError("the sound cannot be read: it has no frame of MP3")
    return milliseconds


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
