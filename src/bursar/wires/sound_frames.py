"""Add up the frames of coded sound: MP3, AAC, FLAC, and the packets of Opus and Vorbis in Ogg.

A head may tell less than there is to hear; frames cannot, for a player makes of each what its own head says. ISO/IEC
11172-3 and 13818-3 (MP3), 13818-7 (ADTS), RFC 9639 (FLAC), 3533 (Ogg), 6716 and 7845 (Opus), and "Vorbis I".
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from bursar.core.money import div_ceil

BYTES_A_SECOND_LEAST: Final = 25
"""Of whatever kind: a packet of Opus of two bytes lasts 120 ms (RFC 6716, 3.2.5), and its place in a container takes
one more. AMR's least is 50 (a byte each 20 ms without speech, RFC 4867), Speex's 269 and Codec 2's 56 to 400."""

MP3_BYTES_A_SECOND_LEAST: Final = 1_000
"""8 kbit/s, the lowest rate a frame of layer III can name (ISO/IEC 13818-3, 2.4.2.3)."""

STEPS_MAX: Final = 200_000
"""Frames, and places that might be one, that are looked at for one call: 87 minutes of MP3 at 44.1 kHz, 66 of Opus in
packets of 20 ms; one to two tenths of a second of reading."""

MILLI: Final = 1_000


class Steps:
    """Hold how many more places are looked at: those of all recordings of one call."""

    __slots__ = ("left",)

    def __init__(self, left: int = STEPS_MAX) -> None:
        self.left = left

    def take(self, steps: int = 1) -> bool:
        """Take steps, and tell whether there were so many."""
        self.left = max(-1, self.left - steps)
        return self.left >= 0


class Framed(msgspec.Struct):
    """Hold what frames add up to: samples by their rate, and the bytes that are no frame and no tag."""

    samples: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    beside: int = 0
    unread: int = 0  # bytes that were not looked at any more

    @property
    def milliseconds(self) -> int:
        """Return how long the frames last."""
        return sum(div_ceil(samples * MILLI, rate_hz) for rate_hz, samples in self.samples.items())

    def add(self, samples: int, rate_hz: int) -> None:
        """Add a frame."""
        self.samples[rate_hz] = self.samples.get(rate_hz, 0) + samples


Frame = tuple[int, int, int]
"""The bytes, samples and rate of one frame."""


def by_size(size: int, bytes_a_second: int = BYTES_A_SECOND_LEAST) -> int:
    """Return how many milliseconds so many bytes can last."""
    return div_ceil(size * MILLI, bytes_a_second)


def chained(content: bytes, frame: Callable[[bytes, int], Frame | None], steps: Steps) -> Framed:
    """Add up frames that each tell their size, of MP3 or AAC, between the tags of a file."""
    found = Framed()
    at, end = _within_tags(content)
    while at < end:
        if not steps.take():
            found.unread = end - at
            break
        head = frame(content, at)
        if head is None:
            after = content.find(b"\xff", at + 1, end)
            after = end if after < 0 else after
            found.beside += after - at
            at = after
            continue
        size, samples, rate_hz = head
        found.add(samples, rate_hz)
        at += size
    return found


def _within_tags(content: bytes) -> tuple[int, int]:
    """Return where the sound begins and ends: between ID3's tags.

    The size of the first is in four bytes of seven bits; the one at the end has 128 bytes.
    """
    begun, end = 0, len(content)
    if content.startswith(b"ID3") and len(content) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
        begun = 10 + size + (10 if content[5] & 0x10 else 0)
    if end - begun >= 128 and content[-128:-125] == b"TAG":
        end -= 128
    return begun, end


# MPEG audio: samples a frame and kilobits a second, by version (bits 19 and 20 of a frame's head), of layer III.
_MP3_SAMPLES: Final = {3: 1_152, 2: 576, 0: 576}
_MP3_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def mp3_frame(content: bytes, at: int) -> Frame | None:
    """Read the frame of layer III that begins here; None where none does."""
    head = content[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # layer III alone
        return None
    version, kbits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or kbits in (0, 15) or rate == 3:
        return None
    bits, rate_hz = (_MP3_KBITS_1 if version == 3 else _MP3_KBITS_2)[kbits], _MP3_RATES_HZ[version][rate]
    samples = _MP3_SAMPLES[version]
    return samples // 8 * bits * 1_000 // rate_hz + (head[2] >> 1 & 1), samples, rate_hz


_AAC_RATES_HZ: Final = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)


def aac_frame(content: bytes, at: int) -> Frame | None:
    """Read the frame of AAC, with a head of ADTS, that begins here; None where none does."""
    head = content[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate, size = head[2] >> 2 & 15, (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_AAC_RATES_HZ) or size < 7:
        return None
    return size, 1_024 * ((head[6] & 3) + 1), _AAC_RATES_HZ[rate]


_FLAC_SYNC: Final = re.compile(rb"\xff[\xf8\xf9]")
_FLAC_RATES_HZ: Final = (
    *(0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050),
    *(24_000, 32_000, 44_100, 48_000, 96_000),
)
_FLAC_RATES_TOLD: Final = {12: (1, 1_000), 13: (2, 1), 14: (2, 10)}  # bytes behind the number, and their unit
_FLAC_HEAD_MOST: Final = 16
_FLAC_FRAME_LEAST: Final = 11
_FLAC_BLOCK_MOST: Final = 65_536
_FLAC_STEPS: Final = 8
"""What a place that might be a frame of FLAC takes of the steps, for its head is checked byte by byte."""


def flac_frames(content: bytes, rate_hz: int, steps: Steps) -> Framed:
    """Add up every frame there may be: a block of silence takes a dozen bytes, so size bounds nothing.

    What is no frame and looks like one adds to it, by chance once in eight million bytes.
    """
    found = Framed()
    for place in _FLAC_SYNC.finditer(content):
        at = place.start()
        if not steps.take(_FLAC_STEPS):
            found.add(((len(content) - at) // _FLAC_FRAME_LEAST + 1) * _FLAC_BLOCK_MOST, rate_hz)
            break
        head = _flac_head(content[at : at + _FLAC_HEAD_MOST])
        if head is not None:
            found.add(head[0], min(rate_hz, head[1] or rate_hz))
    return found


def _flac_head(head: bytes) -> tuple[int, int] | None:
    """Return a block's samples and its rate, 0 for that of the stream; None for what is no head of a frame."""
    if len(head) < 6 or head[3] & 1:
        return None
    block, rate = head[2] >> 4, head[2] & 15
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # the number of the frame takes so many bytes, or one
    if not block or rate == 15 or ones in (1, 8):
        return None
    at = 4 + max(1, ones)
    samples = 192 if block == 1 else 576 << block - 2 if block < 6 else 256 << block - 8 if block > 7 else 0
    if not samples:
        size = block - 5
        samples = int.from_bytes(head[at : at + size]) + 1
        at += size
    rate_hz = _FLAC_RATES_HZ[rate] if rate < 12 else 0
    if rate >= 12:
        size, unit = _FLAC_RATES_TOLD[rate]
        rate_hz = int.from_bytes(head[at : at + size]) * unit
        at += size
    return (samples, rate_hz) if at < len(head) and _crc8(head[:at]) == head[at] else None


def _crc8(content: bytes) -> int:
    """Return the check of a frame's head: x^8 + x^2 + x + 1, from 0."""
    left = 0
    for byte in content:
        left = _CRC8[left ^ byte]
    return left


def _crc8_of(byte: int) -> int:
    for _ in range(8):
        byte = byte << 1 ^ (0x107 if byte & 0x80 else 0)
    return byte


_CRC8: Final = tuple(map(_crc8_of, range(256)))


class _Stream:
    """Hold one stream of an Ogg: how its packets are read, and whether its last one goes on."""

    __slots__ = ("heads", "most", "open", "packets", "rate_hz", "skipped")

    def __init__(self, first: bytes) -> None:
        self.packets = self.most = self.rate_hz = self.skipped = 0
        self.open = False
        self.heads = 2
        if first.startswith(b"OpusHead"):
            self.rate_hz, self.skipped = _OPUS_HZ, int.from_bytes(first[10:12], "little")
        elif first.startswith(b"\x01vorbis") and len(first) > 28:
            self.rate_hz, self.heads = int.from_bytes(first[12:16], "little"), 3
            self.most = 1 << (first[28] >> 4) >> 1  # a packet gives half of the longer block at most

    def samples(self, packet: bytes) -> int:
        """Return the most samples a packet gives; those at the beginning are heads."""
        self.packets += 1
        return 0 if self.packets <= self.heads else self.most or opus_samples(packet)


class Paged(msgspec.Struct):
    """Hold what the packets of an Ogg add up to, what its pages tell, and whether all of it was understood."""

    framed: Framed = msgspec.field(default_factory=Framed)
    told_ms: int = 0
    understood: bool = True


def ogg_packets(content: bytes, steps: Steps) -> Paged:
    """Add up the packets of every stream of Opus or Vorbis, page by page."""
    found, streams = Paged(), dict[bytes, _Stream]()
    framed = found.framed
    at, end = 0, len(content)
    while at < end:
        if not steps.take():
            framed.unread = end - at
            break
        if content[at : at + 4] != b"OggS" or at + 27 > end:
            after = content.find(b"OggS", at + 1)
            after = end if after < 0 else after
            framed.beside += after - at
            at = after
            continue
        lacing = content[at + 27 : at + 27 + content[at + 26]]
        begun = at + 27 + len(lacing)
        name = content[at + 14 : at + 18]
        if content[at + 5] & 2 or name not in streams:
            streams[name] = _Stream(content[begun : begun + 32])
        stream = streams[name]
        found.understood = found.understood and 0 < stream.rate_hz <= RATE_HZ_MAX
        steps.take(len(lacing))
        _add_page(framed, stream, content, begun, lacing)
        told = int.from_bytes(content[at + 6 : at + 14], "little", signed=True) - stream.skipped
        if found.understood and told > 0:  # -1 where no packet ends
            found.told_ms = max(found.told_ms, div_ceil(told * MILLI, stream.rate_hz))
        at = begun + sum(lacing)
    return found


def _add_page(framed: Framed, stream: _Stream, content: bytes, at: int, lacing: bytes) -> None:
    """Add the packets that begin on a page; 255 in its table says that a packet goes on."""
    going_on = stream.open and bool(content[at - len(lacing) - 22] & 1)
    for size in lacing:
        if not going_on:
            framed.add(stream.samples(content[at : at + min(2, size)]), stream.rate_hz or 1)
        going_on = size == 255
        at += size
    stream.open = going_on


RATE_HZ_MAX: Final = 10_000_000
_OPUS_HZ: Final = 48_000
_OPUS_PACKET_MOST: Final = 5_760
_OPUS_FRAMES: Final = (*(480, 960, 1_920, 2_880) * 3, *(480, 960) * 2, *(120, 240, 480, 960) * 4)


def opus_samples(packet: bytes) -> int:
    """Return the samples at 48 kHz of a packet of Opus, which its first two bytes tell."""
    if not packet:
        return 0
    kind = packet[0] & 3
    frames = (1, 2, 2)[kind] if kind < 3 else packet[1] & 63 if len(packet) > 1 else 0
    return min(_OPUS_PACKET_MOST, frames * _OPUS_FRAMES[packet[0] >> 3])
