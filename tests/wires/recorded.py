"""Make recordings for tests."""

import io
import wave


def wav(milliseconds: int, rate_hz: int = 8_000) -> bytes:
    """Return so much silence."""
    held = io.BytesIO()
    with wave.open(held, "wb") as sound:
        sound.setparams((1, 2, rate_hz, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(2 * (milliseconds * rate_hz // 1_000)))
    return held.getvalue()


def flac(samples: int, rate_hz: int = 48_000, *, sound: int = 0) -> bytes:
    """Return the head of a FLAC that tells so many samples, and so many bytes behind it."""
    told = (rate_hz << 44 | 1 << 41 | 15 << 36 | samples).to_bytes(8)
    return b"fLaC\x80\x00\x00\x22" + bytes(10) + told + bytes(16 + sound)


def page(content: bytes, samples: int) -> bytes:
    """Return a page of Ogg that ends at so many samples."""
    head = b"OggS\x00\x00" + samples.to_bytes(8, "little", signed=True) + bytes(12)
    return head + b"\x01" + bytes([len(content)]) + content


def opus(samples: int, skipped: int = 312) -> bytes:
    """Return an Ogg of Opus that ends at so many samples, of which the first are skipped."""
    head = b"OpusHead\x01\x01" + skipped.to_bytes(2, "little") + bytes(7)
    return page(head, 0) + page(b"sound", samples) + page(b"more", -1)


def vorbis(samples: int, rate_hz: int = 44_100) -> bytes:
    """Return an Ogg of Vorbis."""
    return page(b"\x01vorbis" + bytes(5) + rate_hz.to_bytes(4, "little") + bytes(14), 0) + page(b"sound", samples)


def box(name: bytes, content: bytes) -> bytes:
    """Return a box of MP4."""
    return (8 + len(content)).to_bytes(4) + name + content


def m4a(duration: int, scale: int = 1_000, *, wide: bool = False) -> bytes:
    """Return an MP4 whose movie lasts so long."""
    if wide:
        told = b"\x01" + bytes(19) + scale.to_bytes(4) + duration.to_bytes(8)
    else:
        told = bytes(12) + scale.to_bytes(4) + duration.to_bytes(4)
    return box(b"ftyp", b"M4A ") + box(b"mdat", bytes(40)) + box(b"moov", box(b"udta", b"") + box(b"mvhd", told))


def flac_block(samples: int, number: int = 0, rate_code: int = 0, rate: bytes = b"") -> bytes:
    """Return a block of FLAC whose sound is one constant, of so many samples: 14 bytes or so."""
    head = bytes([0xFF, 0xF8, 0x70 | rate_code, 0x08, number]) + (samples - 1).to_bytes(2) + rate
    left = 0
    for byte in head:
        left ^= byte
        for _ in range(8):
            left = left << 1 ^ (0x107 if left & 0x80 else 0)
    return head + bytes([left]) + bytes(5)


def aac(frames: int, rate_code: int = 4, size: int = 100) -> bytes:
    """Return so many frames of AAC with a head of ADTS, of 1,024 samples each; code 4 is 44.1 kHz."""
    head = bytes([0xFF, 0xF1, 0x40 | rate_code << 2, 0x40 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5, 0])
    return (head + bytes(size - 7)) * frames


def aiff(milliseconds: int, rate_hz: int = 8_000) -> bytes:
    """Return so much silence as AIFF."""
    frames = milliseconds * rate_hz // 1_000
    top = rate_hz.bit_length() - 1
    rate = (16_383 + top).to_bytes(2) + (rate_hz << 63 - top).to_bytes(8)
    told = b"\x00\x01" + frames.to_bytes(4) + b"\x00\x10" + rate
    chunks = box4(b"COMM", told) + box4(b"SSND", bytes(8 + 2 * frames))
    return b"FORM" + (4 + len(chunks)).to_bytes(4) + b"AIFF" + chunks


def box4(name: bytes, content: bytes) -> bytes:
    """Return a chunk of AIFF."""
    return name + len(content).to_bytes(4) + content


def opus_pages(packets: list[bytes], told: int = 0, skipped: int = 0) -> bytes:
    """Return an Ogg of Opus with such packets behind its heads, up to 255 a page."""
    pages = page(b"OpusHead\x01\x01" + skipped.to_bytes(2, "little") + bytes(7), 0) + page(b"OpusTags" + bytes(8), 0)
    for at in range(0, len(packets), 255):
        some = packets[at : at + 255]
        head = b"OggS\x00\x00" + told.to_bytes(8, "little", signed=True) + bytes(12)
        pages += head + bytes([len(some)]) + bytes(map(len, some)) + b"".join(some)
    return pages
