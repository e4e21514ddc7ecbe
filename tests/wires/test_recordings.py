"""A recording is as long as a player makes it, or as its head and its size allow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wires.recordings import BYTES_A_SECOND_LEAST, length_of, read_recording
from tests.wires.recorded import box, flac, m4a, opus, page, vorbis, wav

FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # MPEG 1, layer III, 128 kbit/s, 44.1 kHz: 417 bytes, 1,152 samples
TAG = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)


def counted_ms(content: bytes) -> int | None:
    return length_of(content).counted_ms


def most_ms(content: bytes) -> int:
    return length_of(content).most_ms


@pytest.mark.parametrize(
    ("content", "kind", "milliseconds", "counted"),
    [
        (wav(3_001), "WAV", 3_001, True),
        (FRAME * 100, "MP3", 2_613, True),
        (TAG + FRAME * 100, "MP3", 2_613, True),
        (flac(96_001), "FLAC", 2_001, False),
        (opus(48_312), "Ogg", 1_000, False),
        (vorbis(88_200), "Ogg", 2_000, False),
        (m4a(1_500), "MP4", 1_500, False),
        (m4a(3 * 44_100, 44_100, wide=True), "MP4", 3_000, False),
    ],
)
def test_each_kind_tells_its_length(content: bytes, kind: str, milliseconds: int, counted: bool) -> None:
    found = read_recording(content)
    assert found is not None
    assert (found.kind, found.milliseconds, found.counted) == (kind, milliseconds, counted)


@pytest.mark.parametrize(
    "content",
    [
        flac(0),  # which is to say that it is not known
        flac(5, 0),
        flac(5)[:30],
        b"fLaC\x84\x00\x00\x22" + bytes(34),  # another block stands first
        opus(48_312)[:20],
        opus(5),
        page(b"Speex   ", 5),
        m4a(2**32 - 1),
        m4a(5, 0),
        m4a(5)[:60],
        box(b"ftyp", b"M4A "),
        box(b"ftyp", b"M4A ") + bytes(8),
        wav(0),
        wav(500)[:30],
        TAG,
    ],
)
def test_what_does_not_tell_its_length_is_bounded_by_its_size(content: bytes) -> None:
    found = read_recording(content)
    assert found is not None
    assert found.milliseconds == 0
    assert most_ms(content) == -(-len(content) * 1_000 // 750)
    assert counted_ms(content) is None


@pytest.mark.parametrize("told", [0, 16, 10**6])
def test_a_wav_that_says_less_or_more_than_there_is_to_hear_is_not_counted(told: int) -> None:
    sound = wav(9_000)
    lying = sound[:40] + told.to_bytes(4, "little") + sound[44:]
    assert counted_ms(sound) == 9_000
    assert counted_ms(lying) is None
    assert most_ms(lying) >= 9_000


def test_a_head_that_tells_less_than_the_size_allows_lowers_nothing() -> None:
    assert most_ms(flac(1, sound=75_000)) > 100_000
    assert most_ms(m4a(1) + bytes(75_000)) > 100_000
    assert most_ms(page(b"OpusHead" + bytes(11), 0) + page(b"s", 48) + bytes(75_000)) > 100_000


def test_a_head_that_tells_more_than_the_size_allows_is_believed() -> None:
    assert most_ms(flac(48_000 * 3_600)) == 3_600_000  # an hour of silence takes next to nothing


def test_frames_before_what_is_no_frame_lower_nothing() -> None:
    assert counted_ms(FRAME + bytes(75_000)) is None
    assert most_ms(FRAME + bytes(75_000)) > 100_000
    assert most_ms(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + FRAME * 1_000) > 26_000


def test_what_is_made_to_be_slow_is_not_read_to_its_end() -> None:
    began = time.process_time()
    assert counted_ms(b"ID3" + b"\xff" * 20_000_000) is None
    assert most_ms(FRAME[:104].replace(b"\x90", b"\x10") * 300_000) > 1_000_000
    assert time.process_time() - began < 5


@given(st.binary(max_size=120), st.integers(0, 60), st.sampled_from([wav(100)[:200], flac(9), opus(99), m4a(9), FRAME]))
def test_no_noise_stops_the_reader(noise: bytes, at: int, sound: bytes) -> None:
    assert most_ms(sound[:at] + noise + sound[at:]) >= 1


def test_a_head_that_says_more_than_a_day_is_not_believed() -> None:
    for seconds in (86_401, 1 << 40, 1 << 62):
        head = bytes([1, 0, 0, 0]) + bytes(16) + (1).to_bytes(4) + seconds.to_bytes(8) + bytes(80)
        box = (8 + len(head)).to_bytes(4) + b"mvhd" + head
        lies = (16).to_bytes(4) + b"ftypM4A " + bytes(4) + (8 + len(box)).to_bytes(4) + b"moov" + box
        assert most_ms(lies) == -(-len(lies) * 1_000 // BYTES_A_SECOND_LEAST)
        assert counted_ms(lies) is None


def test_a_wav_of_nothing_but_chunks_is_not_walked_to_its_end() -> None:
    chunks = b"RIFF" + bytes(4) + b"WAVE" + b"junk\0\0\0\0" * 100_000
    assert counted_ms(chunks) is None
    assert most_ms(chunks) == -(-len(chunks) * 1_000 // BYTES_A_SECOND_LEAST)
