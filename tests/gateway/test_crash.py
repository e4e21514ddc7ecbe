"""Whatever is killed under load: each call that was answered is in the books, and the books balance."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from bench.harness import LocalBursar, bursar, database
from bursar.budgets.budget import read_limit
from bursar.core.errors import BooksError
from bursar.core.records import CallStatus, UsageSource
from bursar.ledger.chart import Unit
from bursar.ledger.journal import Intent, Settled
from bursar.ledger.transfer import Kind
from bursar.store.holders import BudgetState, Place, budget_states, create_holder, find_holder
from bursar.store.keys import all_keys
from bursar.store.spool import Spool
from tests.asking import SANDBOX

CONFIG = SANDBOX + '[gateway]\ndurability = "{durability}"\n'


class Load:
    """Call as fast as answers come, over several connections, and keep the name of every call answered in full."""

    def __init__(self, local: LocalBursar, key: str, connections: int = 12) -> None:
        self.answered: list[str] = []
        self.refused: list[int] = []
        self._port = local.port
        self._connections = connections
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        body = json.dumps(
            {"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "[[output=5]] hello"}]}
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        self._request = head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()

    def wait(self, more: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more calls were answered."""
        wanted = len(self.answered) + more
        wait_until(lambda: len(self.answered) >= wanted, timeout_s, f"{more} more answers")

    async def _run(self) -> None:
        await asyncio.gather(*(self._call() for _ in range(self._connections)))

    async def _call(self) -> None:
        while not self._stopping:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    while not self._stopping:
                        writer.write(self._request)
                        await asyncio.wait_for(self._answer(reader), 30)
                finally:
                    writer.close()
            await asyncio.sleep(0.01)

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        await reader.readexactly(int(headers["content-length"]))
        if " 200 " in status:
            self.answered.append(headers["x-bursar-call-id"])
        else:
            self.refused.append(int(status.split()[1]))
            await asyncio.sleep(0.02)


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {timeout_s} s"
        time.sleep(0.02)


def missing(local: LocalBursar, answered: list[str]) -> set[str]:
    """Return the answered calls that are not in the books."""
    kept = {f"call_{row['call_id'].hex()}" for row in local.query("select call_id from calls")}
    return set(answered) - kept


def expect_whole_books(local: LocalBursar, answered: list[str]) -> None:
    """Expect every answered call in the books, once the journal has caught up, and the books to balance."""

    def all_there() -> bool:
        with contextlib.suppress(BooksError):  # the database is coming back
            return not missing(local, answered)
        return False

    wait_until(all_there, 30, f"call of {len(answered)} in the books")
    assert len(answered) == len(set(answered))
    assert local.audit().findings == []


def state_of(local: LocalBursar, name: str) -> BudgetState:
    async def work() -> BudgetState:
        async with database(local.database_url) as connection:
            key = next(key for key in await all_keys(connection) if key.name == name)
            return (await budget_states(connection, [key.budget], time.time_ns() // 1_000))[0]

    return asyncio.run(work())


@pytest.fixture(scope="module", params=["fast", "strict"])
def local(request: pytest.FixtureRequest) -> Iterator[LocalBursar]:
    local = LocalBursar(CONFIG.format(durability=request.param))
    try:
        local.start()
        yield local
    finally:
        code = local.stop()
    assert code == 0, local.last_words()
    # Stopped in order, a command finds the books whole in the folder alone.
    command = [sys.executable, "-m", "bursar", "books", "check", "--data", str(local.data)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert checked.stdout.startswith("books balance: "), checked
    local.remove()


def test_a_killed_gateway_has_answered_nothing_that_is_not_in_the_books(local: LocalBursar) -> None:
    with Load(local, local.create_key("gateway killed", "1000.00")) as load:
        load.wait(300)
        local.kill("worker")
        load.wait(300)
    expect_whole_books(local, load.answered)


def test_a_killed_database_loses_no_answered_call(local: LocalBursar) -> None:
    with Load(local, local.create_key("database killed", "1000.00")) as load:
        load.wait(300)
        local.kill("postgres")
        load.wait(300)
    expect_whole_books(local, load.answered)


def test_both_killed_at_once_lose_no_answered_call(local: LocalBursar) -> None:
    with Load(local, local.create_key("both killed", "1000.00")) as load:
        load.wait(200)
        local.kill("postgres")
        local.kill("worker")
        load.wait(200)
    expect_whole_books(local, load.answered)


def test_all_killed_and_started_again_nothing_is_lost_and_the_leases_come_back(local: LocalBursar) -> None:
    with Load(local, local.create_key("all killed", "1000.00")) as load:
        load.wait(300)
        local.kill_all()
    local.start()
    expect_whole_books(local, load.answered)
    state = state_of(local, "all killed")
    assert (state.leased_nano, state.held_nano, state.indeterminate_nano) == (0, 0, 0)
    spent = (
        "select sum(cost_nano)::bigint as nano from calls join keys using (tenant, key_id) where name = 'all killed'"
    )
    assert state.spent_nano == local.query(spent)[0]["nano"]
    with Load(local, local.create_key("after", "1000.00")) as load:
        load.wait(20)
    expect_whole_books(local, load.answered)


def test_a_supervisor_killed_alone_takes_everything_with_it_and_can_be_started_again() -> None:
    with bursar(CONFIG.format(durability="fast")) as local:
        with Load(local, local.create_key("supervisor killed", "1000.00")) as load:
            load.wait(100)
            assert local.process is not None
            local.process.kill()
            local.process.wait()
            wait_until(lambda: not local.ready(), 15, "end of the gateway")
        local.start()
        expect_whole_books(local, load.answered)


@pytest.mark.parametrize("killed", [("worker",), ("postgres", "worker"), ()])
def test_every_budget_of_the_killed_says_what_its_calls_say(local: LocalBursar, killed: tuple[str, ...]) -> None:
    """Count the calls of each budget apart from its accounts: its money, requests and tokens."""
    team, name = f"team of {killed}", f"key of {killed}"
    asyncio.run(_plant(local, team, ["500.00/month rolling", "100000 requests/day", "90000000 tokens/day"]))
    key = local.create_key(name, "100.00", "100000 requests/day rolling", "90000000 tokens/month", parent=team)
    with Load(local, key) as load:
        load.wait(200)
        for role in killed:
            local.kill(role)
        if not killed:
            local.kill_all()
            local.start()
        load.wait(200)
    expect_whole_books(local, load.answered)
    numbers = "count(*) as calls, sum(cost_nano)::bigint as cost, sum(input_tokens + output_tokens)::bigint as tokens"
    unknown = f"count(*) filter (where usage_source = {UsageSource.held.value}) as unknown"
    text = f"select {numbers}, {unknown} from calls join keys using (tenant, key_id) where name = $1"

    def agree(who: str) -> bool:
        (calls,) = local.query(text, name)
        states = {state.budget.terms.unit: state for state in asyncio.run(_states_of(local, who))}
        assert {state.overage_nano for state in states.values()} == {0}
        tokens = states[Unit.token].spent_nano
        known = tokens == calls["tokens"] if not calls["unknown"] else tokens > calls["tokens"]
        money, requests = states[Unit.usd].spent_nano, states[Unit.request].spent_nano
        return known and (money, requests) == (calls["cost"], calls["calls"])

    for who in (name, team):
        wait_until(lambda who=who: agree(who), 30, f"agreement of {who} with its calls")
    assert local.audit().findings == []


async def _plant(local: LocalBursar, name: str, limits: list[str]) -> None:
    terms = [read_limit(limit) for limit in limits]
    async with database(local.database_url) as connection, connection.transaction():
        await create_holder(connection, name, Place("team"), terms, time.time_ns() // 1_000)


async def _states_of(local: LocalBursar, name: str) -> list[BudgetState]:
    async with database(local.database_url) as connection:
        holder = await find_holder(connection, name)
        return await budget_states(connection, holder.budgets, time.time_ns() // 1_000)


def test_calls_under_way_when_the_gateway_is_killed_are_charged_their_hold_and_shown_as_indeterminate(
    local: LocalBursar,
) -> None:
    key = local.create_key("under way", "10.00")
    with contextlib.ExitStack() as stack:
        known = intents(local)
        stack.enter_context(slow_call(local, key))
        # The first call is so old that its hold is in the books, of the second only the spool knows.
        wait_until(lambda: bool(holds(local)), 15, "hold in the books")
        stack.enter_context(slow_call(local, key))
        wait_until(lambda: len(intents(local) - known) == 2, 15, "intent in the spool")
        begun = intents(local) - known
        assert len(holds(local)) == 1
        local.kill("worker")
    wait_until(lambda: len(calls_of(local, begun)) == 2, 30, "settlement of what was under way")
    calls = calls_of(local, begun)
    for call in calls:
        assert CallStatus(call["status"]) is CallStatus.indeterminate
        assert UsageSource(call["usage_source"]) is UsageSource.held
        assert call["cost_nano"] == call["held_nano"] > 0
    assert holds(local) == []
    wait_until(local.ready, 30, "gateway")
    state = state_of(local, "under way")
    assert (state.spent_nano, state.held_nano) == (sum(call["cost_nano"] for call in calls), 0)
    assert (state.leased_nano, state.left_nano) == (0, 10**10 - state.spent_nano)
    assert local.audit().findings == []


def test_a_killed_gateways_lease_goes_back_to_the_budget_it_came_from(local: LocalBursar) -> None:
    key = local.create_key("lease", "10.00")
    with Load(local, key, connections=1) as load:
        load.wait(3)
    expect_whole_books(local, load.answered)
    before = state_of(local, "lease")
    assert before.leased_nano > 0
    local.kill("worker")
    wait_until(lambda: state_of(local, "lease").leased_nano == 0, 30, "lease that came back")
    after = state_of(local, "lease")
    assert (after.spent_nano, after.left_nano, after.held_nano) == (before.spent_nano, before.left_nano, 0)
    wait_until(local.ready, 30, "gateway")


@contextlib.contextmanager
def slow_call(local: LocalBursar, key: str) -> Iterator[None]:
    """Make a call that is still under way when the block ends."""
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[ttft_ms=60000]]"}]})
    url, headers = f"{local.url}/v1/chat/completions", ["-H", f"Authorization: Bearer {key}"]
    client = subprocess.Popen(["curl", "-s", url, *headers, "-d", body], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        client.kill()
        client.wait()


def intents(local: LocalBursar) -> set[bytes]:
    """Return the calls the spool knows of and does not know the end of."""
    open_calls: set[bytes] = set()
    with tempfile.TemporaryDirectory() as folder:  # a spool has one owner
        for file in (local.data / "spool").glob("*.spool"):
            shutil.copy(file, folder)
        spool = Spool(Path(folder))
        for entry, _ in spool.scan(spool.start):
            if isinstance(entry, Intent):
                open_calls.add(entry.call.call_id)
            elif isinstance(entry, Settled):
                open_calls.discard(entry.record.call.call_id)
        spool.close()
    return open_calls


def holds(local: LocalBursar) -> list[bytes]:
    """Return the holds in the books that have not ended."""
    rows = local.query(
        "select transfer_id from transfers as hold where kind = $1"
        " and not exists (select from transfers as ended where ended.hold_id = hold.transfer_id)",
        Kind.hold,
    )
    return [row["transfer_id"] for row in rows]


def calls_of(local: LocalBursar, call_ids: set[bytes]) -> list[dict[str, int]]:
    return local.query("select * from calls where call_id = any($1)", list(call_ids))
