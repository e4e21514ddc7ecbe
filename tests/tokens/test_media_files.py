"""A file is told by its first bytes: text, an image's pixels, a sound's length; what cannot be read says why."""

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bursar.core.errors import ConfigError
from bursar.tokens.audio import audio_tokens
from bursar.tokens.media import Media, MediaKind, read_media


def picture(kind: str, width: int = 30, height: int = 20) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, kind)
    return file.getvalue()


def sound(frames: int, rate: int = 8_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(b"\0\0" * frames)
    return file.getvalue()


MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # MPEG 1, layer III, 128 kbit/s, 44.1 kHz: 417 bytes, 1,152 samples


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_an_image_is_read_by_its_head(kind: str) -> None:
    assert read_media(picture(kind)) == Media(MediaKind.image, width_px=30, height_px=20)


def test_a_sound_is_as_long_as_its_samples() -> None:
    assert read_media(sound(8_001)) == Media(MediaKind.audio, milliseconds=1_001)


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)])
def test_an_mp3_is_as_long_as_its_frames(tag: bytes) -> None:
    found = read_media(tag + MP3_FRAME * 100)
    assert (found.kind, found.milliseconds) == (MediaKind.audio, 2_613)  # 115,200 samples at 44,100 a second


@pytest.mark.parametrize("text", ["", "hello", "你好", "RIFF and ID", "%PDF"])
def test_what_is_no_other_is_text(text: str) -> None:
    assert read_media(text.encode()) == Media(MediaKind.text, text=text)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"%PDF-1.7 ...", "a PDF"),
        (picture("PNG")[:20], "the image cannot be read"),
        (b"\x89PNG", "the image cannot be read"),
        (b"GIF89a", "the image cannot be read"),
        (sound(0), "no samples"),
        (sound(8_000)[:30], "the sound cannot be read"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00nothing", "no frame of MP3"),
        (b"\xfe\xfd\x00\x01", "byte 0 is 0xfe"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_media(content)


@given(
    st.binary(max_size=400),
    st.sampled_from(
        [b"", b"ID3", b"\xff\xfb", b"\x89PNG\r\n\x1a\n", b"RIFF0000WAVE", b"GIF89a", b"\xff\xd8\xff", b"RIFF0000WEBP"]
    ),
)
def test_whatever_the_bytes_it_is_something_or_an_error_of_one_line(content: bytes, head: bytes) -> None:
    try:
        told = read_media(head + content).kind.value
    except ConfigError as error:
        told = str(error)
    assert told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("model", "milliseconds", "tokens"),
    [
        ("gemini-2.5-flash", 60_000, 1_920),  # Google's own example
        ("gemini-3.8-flash", 1, 1),
        ("gpt-4o-audio-preview", 1_000, 10),
        ("openai/gpt-audio-mini", 1_001, 11),
        ("voxtral-small-24b-2507", 1_000, 375),
        ("voxtral-small-24b-2507", 30_001, 750),
    ],
)
def test_sound_takes_its_models_rate(model: str, milliseconds: int, tokens: int) -> None:
    assert audio_tokens(model, milliseconds).tokens == tokens


@pytest.mark.parametrize(
    ("model", "milliseconds", "why"), [("whisper-1", 1_000, "no rate"), ("gemini-2.5-pro", 0, "length")]
)
def test_sound_without_a_rate_or_a_length_is_refused(model: str, milliseconds: int, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        audio_tokens(model, milliseconds)
