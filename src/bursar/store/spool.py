"""Append what must not be lost to local files, fast enough to do it before every answer.

A segment is a file of fixed size, allocated in full and mapped into memory: an entry is written by copying its bytes
and is safe from the death of the process from then on, without a system call. (`sync` makes it safe from loss of
power.) A frame is `length, crc32, payload`; one that was cut short has another checksum, so it is not there.

A few segments are always allocated ahead. Calls begin only while these spares are whole, so that the settlement of a
call that was sent finds room whatever becomes of the disk and the database.

Readers see the same files: the journal in this process, and whoever replays them after a crash.
"""

import contextlib
import mmap
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from bursar.core.errors import BooksError
from bursar.ledger.journal import Entry, Intent
from bursar.store.spool_before import decode_earlier

SEGMENT_BYTES: Final = 8 * 1024 * 1024
BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
"""What a spool may hold before it refuses more: hours of calls while the database is away."""

SPARES: Final = 2
"""Segments kept for the settlements of calls under way: more than a kilobyte for each of ten thousand."""

RECENT_MAX: Final = 8_192
"""Entries kept in memory for the journal; when it falls behind further it reads the files."""

_HEADER: Final = struct.Struct("<II")
_SUFFIX: Final = ".spool"
_SPARE_SUFFIX: Final = ".spare"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Position(msgspec.Struct, frozen=True, order=True):
    """Point between two entries of a spool."""

    segment: int = 0
    offset: int = 0


class SpoolFull(BooksError):
    """Say that the spool is full, or its disk."""


class Segment:
    """Hold one file of the spool, mapped."""

    __slots__ = ("_file", "map", "number", "path")

    def __init__(self, path: Path, number: int = 0) -> None:
        self.number = number
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Allocated now, so that a full disk is an error here and not a signal in the middle of a copy.
            os.posix_fallocate(self._file, 0, SEGMENT_BYTES)
            self.map = mmap.mmap(self._file, SEGMENT_BYTES)
        except OSError as error:
            os.close(self._file)
            raise SpoolFull(f"cannot allocate a spool segment of {SEGMENT_BYTES} bytes: {error.strerror}") from error

    def put_to_use(self, number: int) -> None:
        """Make a spare the segment of a number."""
        path = self.path.with_name(_file_name(number))
        self.path.rename(path)
        self.number, self.path = number, path

    def close(self) -> None:
        """Unmap and close the file."""
        self.map.close()
        os.close(self._file)


class Spool:
    """Append entries to the newest segment and read any of them back."""

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._segments_max = max(1, bytes_max // SEGMENT_BYTES - SPARES)
        self._segments = {number: Segment(folder / _file_name(number), number) for number in _numbers(folder)}
        self._spares: list[Segment] = []
        self._spares_made = 0
        self._for_settlements = False  # there is room for these alone
        self._left_unsynced: deque[Path] = deque()  # segments that are no longer the newest
        for left in folder.glob(f"*{_SPARE_SUFFIX}"):  # by a last life
            left.unlink()
        if not self._segments:
            self._make_spare()
            self._open_segment(1)
        self._newest = self._segments[max(self._segments)]
        self._map = self._newest.map
        self._offset = _end_of(self._newest.map)
        _clear_from(self._newest.map, self._offset)
        self._refill()
        _sync_folder(folder)
        self._recent: deque[tuple[Entry, int, int]] = deque()
        self._recent_from = self.end

    def append(self, entry: Entry) -> None:
        """Write one entry. Raises `SpoolFull` when there is no room, with nothing written.

        A call's intent is refused while there is room for settlements yet.
        """
        if self._for_settlements and isinstance(entry, Intent):
            self._check_room()
        payload = _encode(entry)
        start = self._offset
        end = start + 8 + len(payload)
        if end > SEGMENT_BYTES - 8:
            self._begin_segment(entry, len(payload))
            start, end = 0, 8 + len(payload)
        self._map[start:end] = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        self._offset = end
        self._recent.append((entry, self._newest.number, end))
        if len(self._recent) > RECENT_MAX:
            self._recent.clear()
            self._recent_from = self.end

    def read(self, position: Position, count_max: int) -> tuple[list[Entry], Position]:
        """Return up to `count_max` entries from a position on, and the position after them.

        Entries written lately are kept as they are and given out once; older ones are read from the files.
        """
        entries: list[Entry] = []
        recent = self._recent
        if position == self._recent_from:
            number, offset = position.segment, position.offset
            while recent and len(entries) < count_max:
                entry, number, offset = recent.popleft()
                entries.append(entry)
            position = self._recent_from = Position(number, offset)
            return entries, position
        for entry, after in islice(self.scan(position), count_max):
            if after > self._recent_from:
                break
            entries.append(entry)
            position = after
        return entries, position if len(entries) == count_max else self._recent_from

    def scan(self, position: Position) -> Iterator[tuple[Entry, Position]]:
        """Yield each entry from a position on, with the position after it, up to the newest."""
        number, offset = position.segment, position.offset
        while True:
            segment = self._segments.get(number)
            payload = _frame_at(segment.map, offset) if segment is not None else None
            if payload is not None:
                offset += 8 + len(payload)
                yield _read(payload), Position(number, offset)
            elif later := [other for other in self._segments if other > number]:
                number, offset = min(later), 0
            else:
                return

    @property
    def segment(self) -> int:
        """Return the number of the newest segment."""
        return self._newest.number

    @property
    def start(self) -> Position:
        """Return the position of the oldest entry that is kept."""
        return Position(min(self._segments), 0)

    @property
    def end(self) -> Position:
        """Return the position after the newest entry."""
        return Position(self._newest.number, self._offset)

    @property
    def bytes_on_disk(self) -> int:
        """Count the bytes of all segments, the spares among them."""
        return (len(self._segments) + len(self._spares)) * SEGMENT_BYTES

    def bytes_after(self, position: Position) -> int:
        """Count the bytes written since a position, to within what was left of each segment."""
        return (self._newest.number - position.segment) * SEGMENT_BYTES + self._offset - position.offset

    def begin_after(self, position: Position) -> None:
        """Begin a segment beyond a position whose entries are gone from the files: it is never reached again."""
        self._open_segment(max(position.segment, self._newest.number) + 1)
        self._recent.clear()
        self._recent_from = self.end

    def drop_before(self, position: Position) -> None:
        """Delete the segments that lie wholly before a position."""
        for number in [number for number in self._segments if number < position.segment]:
            segment = self._segments.pop(number)
            segment.close()
            segment.path.unlink()

    def sync(self) -> None:
        """Make everything written so far safe from loss of power. Blocks: run it in a thread, one at a time.

        Files are opened anew: the loop may drop a segment meanwhile, whose entries are in the books then.
        """
        if self._left_unsynced:
            _sync_folder(self._folder)
        while self._left_unsynced:
            _sync_file(self._left_unsynced[0])
            self._left_unsynced.popleft()
        _sync_file(self._newest.path)

    def close(self) -> None:
        """Close every file, and delete the spares."""
        for segment in self._segments.values():
            segment.close()
        for spare in self._spares:
            spare.close()
            spare.path.unlink(missing_ok=True)
        self._segments.clear()
        self._spares.clear()

    def _begin_segment(self, entry: Entry, payload_len: int) -> None:
        if payload_len > SEGMENT_BYTES - 16:
            raise SpoolFull(f"an entry of {payload_len} bytes does not fit a segment of {SEGMENT_BYTES}")
        if isinstance(entry, Intent):
            self._check_room(more=1)
        elif not self._spares:
            self._make_spare()
        self._open_segment(self._newest.number + 1)
        self._refill()

    def _open_segment(self, number: int) -> None:
        if not self._spares:
            self._make_spare()
        segment = self._spares.pop()
        segment.put_to_use(number)
        if self._segments:
            self._left_unsynced.append(self._newest.path)
        self._segments[number] = segment
        self._newest, self._map, self._offset = segment, segment.map, 0

    def _check_room(self, more: int = 0) -> None:
        """Check that calls may begin in this segment, or in so many more. Raises `SpoolFull`."""
        if len(self._segments) + more > self._segments_max:
            raise SpoolFull(
                f"the spool holds {len(self._segments) * SEGMENT_BYTES} bytes the database has not taken yet"
            )
        while len(self._spares) < SPARES + more:
            self._make_spare()
        self._for_settlements = False

    @property
    def takes_calls(self) -> bool:
        """Tell whether there is room for calls to begin."""
        if self._for_settlements:
            self._refill()
        return not self._for_settlements

    def _refill(self) -> None:
        """Find out whether calls may begin, and have the spares whole for that."""
        self._for_settlements = True
        with contextlib.suppress(SpoolFull):
            self._check_room()

    def _make_spare(self) -> None:
        self._spares_made += 1
        path = self._folder / f"{self._spares_made}{_SPARE_SUFFIX}"
        try:
            self._spares.append(Segment(path))
        except SpoolFull:
            path.unlink(missing_ok=True)
            raise


def _read(payload: bytes) -> Entry:
    try:
        return _decode(payload)
    except msgspec.ValidationError:
        return decode_earlier(payload)


def _file_name(number: int) -> str:
    return f"{number:012d}{_SUFFIX}"


def _sync_file(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # dropped
        return
    try:
        os.fdatasync(file)
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _numbers(folder: Path) -> Iterator[int]:
    return (int(path.stem) for path in sorted(folder.glob(f"*{_SUFFIX}")))


def _frame_at(data: mmap.mmap, offset: int) -> bytes | None:
    """Return the payload of the frame at an offset; None where there is none, or none that is whole."""
    if offset + 8 > SEGMENT_BYTES:
        return None
    length, checksum = _HEADER.unpack_from(data, offset)
    if length == 0 or offset + 8 + length > SEGMENT_BYTES:
        return None
    payload = data[offset + 8 : offset + 8 + length]
    return payload if zlib.crc32(payload) == checksum else None


def _clear_from(data: mmap.mmap, offset: int) -> None:
    """Clear what is left of a segment beyond its end: after a loss of power old frames may stand behind a lost one.

    A new frame of the lost one's length would bring them back.
    """
    rest = SEGMENT_BYTES - offset
    if data[offset:].count(0) != rest:
        data[offset:] = bytes(rest)


def _end_of(data: mmap.mmap) -> int:
    offset = 0
    while (payload := _frame_at(data, offset)) is not None:
        offset += 8 + len(payload)
    return offset
