"""Read what a file is from its first bytes: text, an image of so many pixels, or sound of so many seconds."""

import io
import warnings
from enum import StrEnum
from typing import Final

import msgspec

from bursar.core.errors import ConfigError
from bursar.wires.recordings import read_recording

_IMAGES: Final = ("PNG", "JPEG", "GIF", "WEBP")


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
    if content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or content[8:12] == b"WEBP":
        width, height = _pixels(content)
        return Media(MediaKind.image, width_px=width, height_px=height)
    if (sound := _sound(content)) is not None:
        return sound
    try:
        return Media(MediaKind.text, text=content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"it is no text in UTF-8 (byte {error.start} is {content[error.start]:#04x}) and no image or sound that is"
            " read here: give PNG, JPEG, GIF, WebP, WAV, MP3, FLAC, Ogg or M4A"
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


def _sound(content: bytes) -> Media | None:
    """Read a recording's length; None where it is none, or a text that begins like one."""
    found = read_recording(content)
    if found is None or (found.kind == "MP3" and not content.startswith(b"ID3") and _is_text(content)):
        return None
    if not found.milliseconds:
        why = f": {found.why}" if found.why else ": it does not say how long it is"
        raise ConfigError(f"the sound cannot be read{why}; give WAV with PCM samples, MP3, FLAC, Ogg or M4A")
    return Media(MediaKind.audio, milliseconds=found.milliseconds)
