"""A recording is as long as a player makes it, or as its head and its size allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wires.recordings import PACKED_BYTES_A_SECOND_LEAST, length_of, read_recording
from bursar.wires.sound_frames import BYTES_A_SECOND_LEAST, STEPS_MAX, Steps
from tests.wires.recorded import aac, aiff, box, box4, flac, flac_block, m4a, opus, opus_pages, page, vorbis, wav

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
        (aiff(3_001), "AIFF", 3_001, True),
        (aac(100), "AAC", 2_322, True),
        (FRAME * 100 + b"TAG" + bytes(125), "MP3", 2_613, True),
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
        page(b"Speex   ", 5),
        m4a(2**32 - 1),
        m4a(5, 0),
        m4a(5)[:60],
        box(b"ftyp", b"M4A "),
        box(b"ftyp", b"M4A ") + bytes(8),
        wav(0),
        wav(500)[:30],
        b"\x1aE\xdf\xa3" + bytes(400),
        TAG,
    ],
)
def test_what_does_not_tell_its_length_is_bounded_by_its_size(content: bytes) -> None:
    found = read_recording(content)
    assert found is not None
    assert found.milliseconds == 0
    rate = PACKED_BYTES_A_SECOND_LEAST if found.kind in ("MP4", "WebM") else BYTES_A_SECOND_LEAST
    assert most_ms(content) == -(-len(content) * 1_000 // rate)
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


def test_blocks_of_silence_are_counted_whatever_the_head_says() -> None:
    blocks = b"".join(flac_block(65_536, number) for number in range(100))
    quiet = flac(1) + blocks  # 1,400 bytes: two minutes and more, though the head says less than a millisecond
    assert len(quiet) < 1_500
    assert most_ms(quiet) == -(-100 * 65_536 * 1_000 // 48_000)
    assert most_ms(flac(100 * 65_536) + blocks) == most_ms(quiet)
    assert most_ms(flac(48_000 * 900) + blocks) == 900_000  # the head says more
    # A block's own rate is lower than the stream's: it lasts as long as the slower of both.
    slow = flac(1) + b"".join(flac_block(65_536, number, 13, b"\x03\xe8") for number in range(100))
    assert most_ms(slow) == 6_553_600


def test_what_only_looks_like_a_block_is_none() -> None:
    block = flac_block(4_096)
    for at in (2, 3, 4, 5, 6, 7):
        broken = block[:at] + bytes([block[at] ^ 0x10]) + block[at + 1 :]
        assert most_ms(flac(5) + block + broken) == -(-4_096 * 1_000 // 48_000)
    # The example of RFC 9639, appendix D.1: one sample at 44.1 kHz.
    example = bytes.fromhex("fff869180000bf0358fd03128baa9a")
    assert most_ms(flac(1, 44_100) + example * 441) == 10


def test_packets_of_nothing_are_counted_though_they_take_three_bytes() -> None:
    quiet = opus_pages([b"\x1b\x02"] * 1_000)  # two frames of 60 ms, of no bytes
    assert most_ms(quiet) == 120_000
    assert len(quiet) * 1_000 < 120_000 * 30
    speech = opus_pages([b"\x48" + bytes(59)] * 500, 480_000 + 312, 312)
    assert (most_ms(speech), counted_ms(speech)) == (10_000, None)
    assert most_ms(opus_pages([b"\x48"] * 500, 48_000 * 60)) == 60_000  # a head that says more is believed
    assert most_ms(speech + bytes(25)) == 11_000  # what is no page goes by its size


def test_packets_of_vorbis_last_half_a_block() -> None:
    head = b"\x01vorbis" + bytes(5) + (44_100).to_bytes(4, "little") + bytes(12) + b"\xb8\x01"  # 256 and 2,048
    heads = page(head, 0) + page(b"\x03vorbis", 0) + page(b"\x05vorbis", 0)
    assert most_ms(heads + page(b"\x00", 1) * 441) == 10_240


@pytest.mark.parametrize("kind", [b"Speex   ", b"\x7fFLAC", b"\x80theora", b"CELT    "])
def test_an_ogg_of_something_else_goes_by_the_lowest_rate_there_is(kind: bytes) -> None:
    sound = page(kind + bytes(20), 8_000) + page(bytes(200), 16_000)
    assert most_ms(sound) == -(-len(sound) * 1_000 // BYTES_A_SECOND_LEAST)


def test_what_stands_beside_frames_is_counted_by_its_size() -> None:
    assert counted_ms(FRAME * 100 + bytes(1_000)) is None
    assert most_ms(FRAME * 100 + bytes(1_000)) == 2_613 + 40_000
    assert most_ms(aac(100) + bytes(1_000)) == 2_322 + 40_000
    assert most_ms(FRAME * 100 + b"TAG" + bytes(124)) > 2_613 + 5_000  # no tag: a byte is missing
    assert most_ms(wav(1_000) + bytes(16_000)) == -(-len(wav(2_000)) * 1_000 // 16_000)  # it may be samples as well
    assert counted_ms(aiff(1_000) + box4(b"NAME", b"no sound")) == 1_000
    assert counted_ms(aiff(1_000) + box4(b"SSND", bytes(16_008))) is None
    assert most_ms(aiff(1_000) + box4(b"SSND", bytes(16_008))) >= 2_000


def test_what_its_sender_calls_by_another_name_goes_by_its_size() -> None:
    sound = wav(1_000)
    assert length_of(sound, kind="WAV").counted_ms == 1_000
    assert length_of(sound, kind="MP3").counted_ms is None
    assert length_of(sound, kind="MP3").most_ms == len(sound) * 40


def test_frames_before_what_is_no_frame_lower_nothing() -> None:
    assert counted_ms(FRAME + bytes(75_000)) is None
    assert most_ms(FRAME + bytes(75_000)) > 100_000
    assert most_ms(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + FRAME * 1_000) > 26_000


SMALL = FRAME[:104].replace(b"\x90", b"\x10")  # 32 kbit/s: 104 bytes, 26 ms


@pytest.mark.parametrize(
    "content",
    [
        b"ID3" + b"\xff" * 3_000_000,
        SMALL * 250_000,
        flac(1)[:42] + b"\xff\xf8\xc9\x08" * 100_000,
        page(b"OpusHead" + bytes(11), 0) + page(b"sound", -1) * 250_000,
        b"RIFF" + bytes(4) + b"WAVE" + b"junk\0\0\0\0" * 100_000,
        box(b"ftyp", b"M4A ") + box(b"free", b"") * 100_000,
    ],
)
def test_all_recordings_of_a_call_share_one_budget_of_looking(content: bytes) -> None:
    steps = Steps()
    for _ in range(10):
        length = length_of(content, steps=steps)
        assert length.counted_ms is None
        assert length.most_ms > 1_000
    assert steps.left >= -1
    looked = STEPS_MAX - steps.left
    assert looked <= STEPS_MAX + 1


def test_what_is_left_when_the_budget_is_spent_is_bounded_by_the_lowest_rate() -> None:
    all_of_it = SMALL * 1_000
    length = length_of(all_of_it, steps=Steps(100))
    assert length.counted_ms is None
    # What was read, and the rest at 8 kbit/s.
    assert length.most_ms == -(-100 * 1_152_000 // 44_100) + 900 * 104
    assert length_of(all_of_it, steps=Steps(1_000)).counted_ms == -(-1_000 * 1_152_000 // 44_100)


@given(st.binary(max_size=120), st.integers(0, 60), st.sampled_from([wav(100)[:200], flac(9), opus(99), m4a(9), FRAME]))
def test_no_noise_stops_the_reader(noise: bytes, at: int, sound: bytes) -> None:
    assert most_ms(sound[:at] + noise + sound[at:]) >= 1


def test_a_head_that_says_more_than_a_day_is_not_believed() -> None:
    for seconds in (86_401, 1 << 40, 1 << 62):
        head = bytes([1, 0, 0, 0]) + bytes(16) + (1).to_bytes(4) + seconds.to_bytes(8) + bytes(80)
        box = (8 + len(head)).to_bytes(4) + b"mvhd" + head
        lies = (16).to_bytes(4) + b"ftypM4A " + bytes(4) + (8 + len(box)).to_bytes(4) + b"moov" + box
        assert most_ms(lies) == -(-len(lies) * 1_000 // PACKED_BYTES_A_SECOND_LEAST)
        assert counted_ms(lies) is None
