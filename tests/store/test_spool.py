"""What was appended is read back whole and in order, whatever happened to the process that wrote it."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bursar.core.records import (
    Assignment,
    Attempt,
    AttemptStatus,
    Call,
    CallStatus,
    Line,
    Protocol,
    Record,
    Segments,
    UsageSource,
)
from bursar.core.usage import Usage
from bursar.ledger.journal import CardUsed, Closed, Debt, Entry, Intent, Settled
from bursar.store import spool as spool_module
from bursar.store.spool import SPARES, Position, Spool, SpoolFull

SMALL_BYTES = 512
"""A segment of the tests, so that a few entries fill several."""


@pytest.fixture(autouse=True, scope="module")
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "SEGMENT_BYTES", SMALL_BYTES)
        patch.setattr(spool_module, "RECENT_MAX", 5)
        yield


def card(size: int, mark: int = 0) -> CardUsed:
    """Make an entry of about `size` bytes."""
    return CardUsed(f"{mark}", b"r" * size, "", "", mark)


def everything(spool: Spool) -> list[Entry]:
    return [entry for entry, _ in spool.scan(spool.start)]


class SpoolMachine(RuleBasedStateMachine):
    """Append, read, drop and reopen in any order: a reader meets each entry once, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.spool = Spool(Path(self._folder.name))
        self.written: list[Entry] = []
        self.read_count = 0
        self.position = Position(1, 0)

    def teardown(self) -> None:
        self.spool.close()
        self._folder.cleanup()

    @rule(sizes=st.lists(st.integers(0, SMALL_BYTES - 60), max_size=8))
    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            entry = card(size, len(self.written))
            self.spool.append(entry)
            self.written.append(entry)

    @rule(count=st.integers(1, 6))
    def read(self, count: int) -> None:
        entries, self.position = self.spool.read(self.position, count)
        self.expect(entries, count)
        self.read_count += len(entries)

    @rule(count=st.integers(1, 4))
    def read_and_fail(self, count: int) -> None:
        """Read as a commit does that then does not happen: the position stays, and the entries come again."""
        entries, _ = self.spool.read(self.position, count)
        self.expect(entries, count)

    def expect(self, entries: list[Entry], count: int) -> None:
        """Expect what comes next; it may be less than was asked for, but not nothing as long as there is more."""
        rest = self.written[self.read_count :]
        assert entries == rest[: len(entries)]
        assert min(1, len(rest)) <= len(entries) <= count

    @rule()
    def drop_what_was_read(self) -> None:
        self.spool.drop_before(self.position)
        assert self.spool.start.segment == self.position.segment

    @rule()
    def die_and_open_again(self) -> None:
        self.spool.close()
        self.spool = Spool(Path(self._folder.name))

    @invariant()
    def a_scan_gives_the_rest(self) -> None:
        assert [entry for entry, _ in self.spool.scan(self.position)] == self.written[self.read_count :]


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

counts = st.integers(0, 2**63 - 1)
ids = st.binary(min_size=16, max_size=16)
texts = st.text(max_size=12)
usages = st.builds(Usage, *[counts] * 6, other=st.dictionaries(texts, counts, max_size=2))
lines = st.builds(Line, texts, counts, counts, st.just(1_000_000), counts)
attempts = st.builds(
    Attempt,
    texts,
    texts,
    st.sampled_from(AttemptStatus),
    st.integers(0, 599),
    *[counts] * 3,
    usage=usages,
    usage_source=st.sampled_from(UsageSource),
    price_id=texts,
    lines=st.lists(lines, max_size=2).map(tuple),
    cost_nano=counts,
    reported_cost_nano=st.integers(-1, 2**63 - 1),
    error=texts,
)
calls = st.builds(
    Call,
    ids,
    st.integers(1, 2**31 - 1),
    texts,
    st.sampled_from(Protocol),
    texts,
    st.booleans(),
    counts,
    st.builds(Segments, *[counts] * 5),
    run=texts,
    tags=st.dictionaries(texts, texts, max_size=3),
    idempotency_key=st.binary(max_size=32),
)
records = st.builds(
    Record,
    calls,
    st.sampled_from(CallStatus),
    st.lists(attempts, min_size=1, max_size=3).map(tuple),
    *[counts] * 5,
    arms=st.lists(st.builds(Assignment, texts, texts, texts, counts), max_size=2).map(tuple),
)
entries = st.one_of(
    st.builds(Intent, calls, texts, *[counts] * 5),
    st.builds(Settled, records, *[counts] * 4, st.lists(st.builds(Debt, counts, counts), max_size=2).map(tuple)),
    st.builds(CardUsed, texts, st.binary(max_size=50), texts, texts, counts),
    st.builds(Closed, counts),
)


@settings(deadline=None)
@given(written=st.lists(entries, min_size=1, max_size=4))
def test_every_kind_of_entry_survives_the_file(written: list[Entry]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "SEGMENT_BYTES", 64 * 1024)
        spool = Spool(Path(folder))
        for entry in written:
            spool.append(entry)
        spool.close()
        again = Spool(Path(folder))
        assert everything(again) == written
        again.close()


@pytest.mark.parametrize("kept", [0, 1, 8, 20, 29, 30, 33, 36])
def test_an_entry_cut_short_is_not_there_and_the_next_takes_its_place(tmp_path: Path, kept: int) -> None:
    spool = Spool(tmp_path)
    spool.append(card(10, 1))
    before = spool.end
    spool.append(card(20, 2))
    frame_bytes = spool.end.offset - before.offset
    assert kept < frame_bytes
    spool.close()
    # The payload is copied before its header, so whatever was cut, the header's eight bytes are the last to come.
    with (tmp_path / "000000000001.spool").open("r+b") as file:
        file.seek(before.offset)
        frame = file.read(frame_bytes)
        payload_kept = min(kept, frame_bytes - 8)
        header_kept = kept - payload_kept
        file.seek(before.offset)
        torn = frame[:header_kept].ljust(8, b"\0") + frame[8 : 8 + payload_kept]
        file.write(torn.ljust(frame_bytes, b"\0"))
    again = Spool(tmp_path)
    assert everything(again) == [card(10, 1)]
    assert again.end == before
    again.append(card(5, 3))
    again.append(card(6, 4))
    assert everything(again) == [card(10, 1), card(5, 3), card(6, 4)]
    again.close()


def test_entries_behind_a_lost_one_do_not_come_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(card(30, 1))
    lost = spool.end.offset
    spool.append(card(30, 2))
    after = spool.end.offset
    spool.append(card(30, 3))
    spool.close()
    path = tmp_path / "000000000001.spool"
    data = bytearray(path.read_bytes())
    data[lost:after] = bytes(after - lost)  # a page that was not on disk yet when the power went
    path.write_bytes(data)
    again = Spool(tmp_path)
    again.append(card(30, 4))
    assert everything(again) == [card(30, 1), card(30, 4)]
    again.close()
    once_more = Spool(tmp_path)
    assert everything(once_more) == [card(30, 1), card(30, 4)]
    once_more.close()


def test_an_entry_with_one_changed_byte_is_not_believed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(card(30, 1))
    spool.append(card(30, 2))
    spool.close()
    path = tmp_path / "000000000001.spool"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    again = Spool(tmp_path)
    assert everything(again) == []
    again.close()


def test_segments_follow_one_another_and_only_those_before_a_position_are_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for mark in range(10):
        spool.append(card(200, mark))
    files = sorted(path.name for path in tmp_path.glob("*.spool"))
    assert files == [f"{number:012d}.spool" for number in range(1, spool.segment + 1)]
    assert spool.segment == 5
    spool.drop_before(Position(4, 10))
    assert sorted(path.name for path in tmp_path.glob("*.spool")) == ["000000000004.spool", "000000000005.spool"]
    assert spool.start == Position(4, 0)
    assert everything(spool) == [card(200, mark) for mark in range(6, 10)]
    spool.close()


def intent(size: int, mark: int = 0) -> Intent:
    """Make a call's intent of about `size` bytes."""
    call = Call(bytes(16), 1, "k" * size, Protocol.openai_chat, "", False, mark, Segments())
    return Intent(call, "", 1, 2, 3, 4, 5)


def settled(size: int, mark: int = 0) -> Settled:
    """Make a settlement of about `size` bytes."""
    attempt = Attempt("", "", AttemptStatus.ok, 200, 0, 0, 0)
    record = Record(intent(size, mark).call, CallStatus.ok, (attempt,), 0, 0, 0, 0, mark)
    return Settled(record, 1, 2, 3, 4, ())


def test_a_full_spool_refuses_calls_without_a_trace_and_takes_more_once_the_books_have_some(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=(3 + SPARES) * SMALL_BYTES)
    written: list[Entry] = [intent(100, mark) for mark in range(9)]
    for entry in written:
        spool.append(entry)
    end = spool.end
    with pytest.raises(SpoolFull, match="holds 1536 bytes the database has not taken yet"):
        spool.append(intent(100, 99))
    assert spool.end == end
    assert everything(spool) == written
    spool.drop_before(Position(2, 0))
    spool.append(intent(100, 99))
    assert everything(spool) == [*written[3:], intent(100, 99)]
    spool.close()


def test_a_full_spool_takes_the_settlements_of_calls_that_were_sent(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=(1 + SPARES) * SMALL_BYTES)
    written: list[Entry] = [intent(100, mark) for mark in range(3)]
    for entry in written:
        spool.append(entry)
    for mark in range(3):
        with pytest.raises(SpoolFull):
            spool.append(intent(100))
        written.append(settled(80, mark))
        spool.append(written[-1])
    with pytest.raises(SpoolFull):  # though the newest segment has room for it
        spool.append(intent(0))
    assert everything(spool) == written
    spool.close()


def test_a_full_disk_leaves_room_for_settlements_and_calls_begin_again_with_the_disk_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    written: list[Entry] = [intent(100, mark) for mark in range(3)]
    for entry in written:
        spool.append(entry)

    def fails(*_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("os.posix_fallocate", fails)
        for size in (100, 0):
            with pytest.raises(SpoolFull, match="cannot allocate a spool segment of 512 bytes: No space left"):
                spool.append(intent(size))
            written += [settled(280, 1), settled(20, 2)]
            spool.append(written[-2])
            spool.append(written[-1])
        assert everything(spool) == written
    spool.append(intent(100))
    assert everything(spool) == [*written, intent(100)]
    spool.close()


def test_a_spool_opened_on_a_full_disk_is_read_and_begins_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    spool.append(intent(50))
    spool.close()
    real = os.posix_fallocate

    def fails(file: int, start: int, length: int) -> None:
        if os.fstat(file).st_size < length:
            raise OSError(28, "No space left on device")
        real(file, start, length)

    monkeypatch.setattr("os.posix_fallocate", fails)
    again = Spool(tmp_path)
    assert everything(again) == [intent(50)]
    with pytest.raises(SpoolFull):
        again.append(intent(50))
    again.append(settled(50))
    assert everything(again) == [intent(50), settled(50)]
    again.close()
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001.spool"]


def test_spares_a_killed_gateway_left_are_not_taken_for_its_entries(tmp_path: Path) -> None:
    (tmp_path / "1.spare").write_bytes(b"x" * SMALL_BYTES)
    spool = Spool(tmp_path)
    written = [card(300, mark) for mark in range(5)]
    for entry in written:
        spool.append(entry)
    assert everything(spool) == written
    spool.close()


def test_a_sync_reaches_every_segment_written_since_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fdatasync

    def watched(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        real(file)

    monkeypatch.setattr("os.fdatasync", watched)
    spool = Spool(tmp_path)
    for mark in range(6):
        spool.append(card(200, mark))
    spool.sync()
    assert synced == [f"{number:012d}.spool" for number in (1, 2, 3)]
    spool.append(card(1))
    spool.sync()
    assert synced[3:] == ["000000000003.spool"]
    for mark in range(4):
        spool.append(card(200, mark))
    spool.drop_before(Position(5, 0))  # those in the books need no sync
    spool.sync()
    assert synced[4:] == ["000000000005.spool"]
    spool.close()


def test_an_entry_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(SpoolFull, match="does not fit"):
        spool.append(card(SMALL_BYTES))
    assert spool.end == Position(1, 0)
    spool.close()


def test_a_full_disk_is_an_error_and_not_a_signal(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES // 2, hard))  # as good as no space left
    try:
        with pytest.raises(SpoolFull, match="cannot allocate"):
            Spool(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    spool = Spool(tmp_path)
    spool.append(card(400, 3))
    assert everything(spool) == [card(400, 3)]
    spool.sync()
    spool.close()


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    Spool(folder).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "000000000001.spool").stat().st_mode & 0o777 == 0o600


def test_what_was_appended_outlives_a_kill(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from bursar.ledger.journal import Closed\n"
        "from bursar.store.spool import Spool\n"
        "spool, count = Spool(pathlib.Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    spool.append(Closed(count))\n"
        "    count += 1\n"
        "    if count % 500 == 0: print(count, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(20)][-1]
    child.kill()
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "SEGMENT_BYTES", 8 * 1024 * 1024)
        spool = Spool(tmp_path)
        found = [msgspec.to_builtins(entry)[1] for entry in everything(spool)]
        spool.close()
    assert len(found) >= told
    assert found == list(range(len(found)))
