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
