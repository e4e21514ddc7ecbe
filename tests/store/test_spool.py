"""What was appended is read back whole and in order, whatever happened to the process that wrote it."""

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
from bursar.store.spool import Position, Spool, SpoolFull

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
    arms=st.dictionaries(texts, texts, max_size=2),
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
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"{number:012d}.spool" for number in range(1, spool.segment + 1)]
    assert spool.segment == 5
    spool.drop_before(Position(4, 10))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000004.spool", "000000000005.spool"]
    assert spool.start == Position(4, 0)
    assert everything(spool) == [card(200, mark) for mark in range(6, 10)]
    spool.close()


def test_a_full_spool_refuses_without_a_trace_and_takes_more_once_the_books_have_some(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=3 * SMALL_BYTES)
    written = [card(150, mark) for mark in range(9)]
    for entry in written:
        spool.append(entry)
    end = spool.end
    with pytest.raises(SpoolFull, match="holds 1536 bytes the database has not taken yet"):
        spool.append(card(150, 99))
    assert spool.end == end
    assert everything(spool) == written
    spool.drop_before(Position(2, 0))
    spool.append(card(150, 99))
    assert everything(spool) == [*written[3:], card(150, 99)]
    spool.close()


def test_an_entry_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(SpoolFull, match="does not fit"):
        spool.append(card(SMALL_BYTES))
    assert spool.end == Position(1, 0)
    spool.close()


def test_a_full_disk_is_an_error_and_not_a_signal(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(card(400, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES // 2, hard))  # as good as no space left
    try:
        with pytest.raises(SpoolFull, match="cannot allocate"):
            spool.append(card(400, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything(spool) == [card(400, 1)]
    spool.append(card(400, 3))
    assert everything(spool) == [card(400, 1), card(400, 3)]
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
