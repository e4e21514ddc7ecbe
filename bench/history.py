"""Record what many processes do to one PostgreSQL at once, and replay it through a single-threaded model.

Each process invokes random operations of the store, over a line that is now and then cut in the middle of one, and
writes down when each was invoked and completed. An operation takes a number from a sequence of the database while it
holds its locks: that is its place in the order. Whatever was cut is looked up when all is over. Then

- every status, balance and amount that was answered must be what the model answers at that place;
- an operation that completed before another began must have the lower place;
- transfers, refusals, balances and their whole history must be the model's, each chain in the order of the places;
- no operation may fail otherwise than by its line, and none may wait for another for ever.
"""

import asyncio
import itertools
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from multiprocessing.connection import Connection as Pipe
from typing import Any

import asyncpg
import msgspec

from bench.databases import fresh_databases
from bench.figures import Figure
from bench.line import Line
from bench.replay import Model, Operation, out_of_time
from bursar.core.errors import BooksError
from bursar.ledger.chart import Code, Unit
from bursar.ledger.transfer import Kind, Linked, Reason, Transfer
from bursar.store.accounts import Opening, book, close_account, lock_accounts, lock_chain, open_account, transfer_amount
from bursar.store.audit import audit
from bursar.store.database import AWAY, Connection, connect

PROCESSES = 8
OPERATIONS = 100  # of each process
TENANT = 1
NOW_US = 1_795_000_000_000_000
CHAINS = (101, 102, 103)
CUTS = 0.06
AWAY_WORD = "away"
MAKE_PLACES = """
create table public.places (process int, number int, place bigserial, head bigint, answer text,
    primary key (process, number));
grant all on public.places, public.places_place_seq to public
"""
TAKE_PLACE = """
insert into public.places (process, number, answer, head)
select $1, $2, $3, (select seq from chains where tenant = 1 and chain = 0) returning place
"""
OTHERS = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


class Task(msgspec.Struct, frozen=True):
    """Tell a process what to do."""

    url: str
    workload: str
    seed: int
    process: int
    operations: int
    ids: dict[str, int]


class Teller:
    """Invoke operations over a line that is cut now and then, and record them."""

    def __init__(self, task: Task, line: Line) -> None:
        self.task = task
        self.dice = random.Random(f"{task.seed} {task.process}")
        self.history: list[Operation] = []
        self.connection: Connection | None = None
        self.line = line

    async def do(self, name: str, asked: Any, work: Callable[[Connection], Awaitable[Any]]) -> Operation:
        """Invoke an operation in a transaction of its own, which also takes its place in the order."""
        operation = self.begin(name, asked)
        try:
            connection = await self.connected()
            self.may_cut(CUTS)
            async with connection.transaction():
                answer = await work(connection)
                told = msgspec.json.encode(answer).decode()
                place = await connection.fetchval(TAKE_PLACE, self.task.process, operation.number, told)
            operation.completed_ns = time.monotonic_ns()
            operation.answer, operation.place = answer, place
        except (*AWAY, asyncpg.PostgresError, BooksError) as error:
            operation.error = words_of(error)
        self.line.spare()
        return operation

    def begin(self, name: str, asked: Any) -> Operation:
        """Write down that an operation is invoked."""
        operation = Operation(self.task.process, len(self.history), name, asked, time.monotonic_ns())
        self.history.append(operation)
        return operation

    def may_cut(self, chance: float) -> None:
        """Let the line be cut a little later, or not."""
        if self.dice.random() >= chance:
            return
        if self.dice.random() < 0.4:
            self.line.cut_at = b"COMMIT\0"  # it has happened, and the answer is not heard
        else:
            self.line.fuse = self.dice.randrange(16)

    async def connected(self) -> Connection:
        """Return a connection that is open."""
        while self.connection is None or self.connection.is_closed():
            try:
                self.connection = await connect(self.line.url)
            except BooksError:
                await asyncio.sleep(0.01)
        return self.connection

    async def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            await self.connection.close()


def words_of(error: BaseException) -> str:
    """Write down an error; one that only says that the database is away is nobody's fault."""
    waited = isinstance(error, asyncpg.TransactionRollbackError)  # two that waited for each other
    away = isinstance(error, (*AWAY, BooksError)) and not waited
    return f"{AWAY_WORD if away else type(error).__name__}: {error}"


def plain(transfer: Transfer) -> dict[str, Any]:
    """Write a transfer as the model reads it."""
    return {
        "id": transfer.transfer_id.hex(),
        "debit": transfer.debit_account,
        "credit": transfer.credit_account,
        "amount": transfer.amount_nano,
        "kind": transfer.kind.name,
        "event_us": transfer.event_us,
        "hold_id": transfer.hold_id.hex(),
        "held": transfer.held_nano,
        "unit": int(transfer.unit),
        "reason": int(transfer.reason),
    }


class Deck:
    """Deal transfers: the same number on the same chain is the same transfer, in every process."""

    def __init__(self, seed: int, accounts: list[int]) -> None:
        self._seed = seed
        self._accounts = accounts
        self._dealt: dict[tuple[int, int, int], Transfer] = {}
        self._below = 0

    def deal(self, chain: int, number: int, variant: int = 0) -> Transfer:
        """Return a transfer; another variant has the same id and other content."""
        key = (chain, number, variant)
        while self._below < number:  # what comes later may refer to it
            self._below += 1
            for each in CHAINS:
                self.deal(each, self._below - 1)
        if key not in self._dealt:
            self._dealt[key] = self._make(chain, number, variant)
        return self._dealt[key]

    def _make(self, chain: int, number: int, variant: int) -> Transfer:
        dice = random.Random(f"{self._seed} {chain} {number} {variant}")
        name = random.Random(f"{self._seed} {chain} {number}").randbytes(16)
        debit, credit = dice.choices(self._accounts, k=2)
        kind = dice.choices(list(Kind), (35, 30, 20, 8, 7))[0]
        transfer = Transfer(name, debit, credit, dice.randint(0, 1_000), kind, Reason.call, NOW_US + number)
        if transfer.resolves and (hold := self._hold_before(dice, chain, number)) is not None:
            amount = dice.randint(0, max(0, hold.amount_nano)) if kind is Kind.post_hold else 0
            sides = (hold.debit_account, hold.credit_account)
            ending = Transfer(name, *sides, amount, kind, Reason.call, NOW_US, hold.transfer_id, hold.amount_nano)
            transfer = msgspec.structs.replace(ending, unit=hold.unit)
        return _spoiled(transfer, dice) if dice.random() < 0.12 else transfer

    def _hold_before(self, dice: random.Random, chain: int, number: int) -> Transfer | None:
        """Find a hold that was dealt a little before, on this chain or another."""
        chain = dice.choice((chain, chain, *CHAINS))
        for earlier in range(number - 1 - dice.randrange(6), max(-1, number - 60), -1):
            if (hold := self.deal(chain, earlier)).kind is Kind.hold:
                return hold
        return None


def _spoiled(transfer: Transfer, dice: random.Random) -> Transfer:
    """Return a transfer with something wrong in it. What it names stays, so that its chain alone decides on it."""
    wrong: list[dict[str, Any]] = [
        {"amount_nano": -1},
        {"amount_nano": 2**63},
        {"amount_nano": 2**62},
        {"held_nano": -1},
        {"event_us": NOW_US + 400_000_000},
        {"unit": Unit.token},
    ]
    if transfer.resolves:
        wrong += [{"held_nano": transfer.held_nano + 1}, {"amount_nano": transfer.held_nano + 1}]
    else:
        wrong += [{"credit_account": transfer.debit_account}, {"debit_account": 999_999}, {"hold_id": b"h" * 16}]
    return msgspec.structs.replace(transfer, **dice.choice(wrong))


async def transfers(teller: Teller) -> None:
    """Book transfers and chains of them on a few chains that share accounts; read accounts and amounts."""
    task, dice = teller.task, teller.dice
    accounts = sorted(task.ids.values())
    deck = Deck(task.seed, accounts)
    for number in range(task.operations):

        def deal(chain: int, number: int = number) -> Transfer:
            return deck.deal(chain, max(0, number * 3 + dice.randint(-20, 6)), dice.random() < 0.1)

        chain, chance = dice.choice(CHAINS), dice.random()
        if chance < 0.8:
            lengths = [dice.choices((1, 2, 3), (6, 2, 1))[0] for _ in range(dice.choice((1, 1, 2, 5)))]
            steps = [[deal(chain) for _ in range(length)] for length in lengths]
            await _book(teller, chain, steps)
        elif chance < 0.9:
            chosen = dice.sample(accounts, 4)
            await teller.do("read", chosen, lambda connection, chosen=chosen: _read(connection, chosen))
        else:
            name = deal(chain).transfer_id
            await teller.do(
                "amount", name.hex(), lambda connection, chain=chain, name=name: _amount(connection, chain, name)
            )


async def _book(teller: Teller, chain: int, steps: list[list[Transfer]]) -> Operation:
    asked = {"chain": chain, "steps": [[plain(transfer) for transfer in step] for step in steps]}
    given = [Linked(tuple(step)) if len(step) > 1 else step[0] for step in steps]

    async def work(connection: Connection) -> list[str]:
        return [status.name for status in await book(connection, TENANT, chain, given, NOW_US)]

    return await teller.do("book", asked, work)


async def _read(connection: Connection, chosen: list[int]) -> dict[int, list[int]]:
    accounts = await lock_accounts(connection, TENANT, chosen)
    return {account_id: list(accounts[account_id].sums()) for account_id in chosen}


async def _amount(connection: Connection, chain: int, name: bytes) -> int | None:
    await lock_chain(connection, TENANT, chain)
    return await transfer_amount(connection, TENANT, name)


async def open_accounts(connection: Connection) -> dict[str, int]:
    """Open accounts of every kind: limited on either side, of another unit, closed."""
    kinds: dict[str, dict[str, Any]] = {
        **{f"free {number}": {} for number in range(3)},
        **{f"limited {number}": {"limited": True} for number in range(3)},
        "never owed": {"credits_limited": True},
        "requests": {"unit": Unit.request},
        "closed": {},
    }
    ids: dict[str, int] = {}
    for name, limits in kinds.items():
        ids[name], _ = await open_account(connection, TENANT, Opening(name, Code.budget, **limits), NOW_US)
    await close_account(connection, TENANT, ids["closed"], NOW_US)
    return ids


class Tellers:
    """Keep processes that record histories, one after the other."""

    def __init__(self, count: int = PROCESSES) -> None:
        spawn = multiprocessing.get_context("spawn")
        pipes = [spawn.Pipe() for _ in range(count)]
        self._pipes = [here for here, _ in pipes]
        self._processes = [spawn.Process(target=_run_process, args=(there,)) for _, there in pipes]
        for process in self._processes:
            process.start()

    def record(self, url: str, workload: str, seed: int, operations: int, ids: dict[str, int]) -> list[list[Any]]:
        """Have all processes do a workload at once; returns what each recorded."""
        for number, pipe in enumerate(self._pipes):
            pipe.send(Task(url, workload, seed, number, operations, ids))
        recorded = [pipe.recv() for pipe in self._pipes]
        for each in recorded:
            if isinstance(each, str):
                raise RuntimeError(f"a process failed: {each}")
        return recorded

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(10)


def _run_process(pipe: Pipe) -> None:
    while (task := pipe.recv()) is not None:
        try:
            pipe.send(asyncio.run(_perform(task)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for who waits to raise
            pipe.send(f"{type(error).__name__}: {error}")


async def _perform(task: Task) -> list[Any]:
    async with Line(task.url) as line:
        teller = Teller(task, line)
        await workloads()[task.workload](teller)
        await teller.close()
    return teller.history


def workloads() -> dict[str, Callable[[Teller], Coroutine[Any, Any, None]]]:
    """Name the workloads."""
    from bench import leases, repeats

    return {
        "transfers": transfers,
        "leases": leases.leases,
        "idempotence": repeats.idempotence,
        "indefinite": repeats.indefinite,
        "claims": repeats.claims,
    }


async def check(connection: Connection, workload: str, history: list[Operation], ids: dict[str, int]) -> list[str]:
    """Check a history of a workload."""
    from bench import leases, repeats

    if workload == "transfers":
        return await check_transfers(connection, history, ids)
    if workload == "leases":
        return await leases.check_leases(connection, history)
    return await (repeats.check_claims if workload == "claims" else repeats.check_repeats)(connection, history)


async def quiet(connection: Connection) -> None:
    """Wait until nobody else is connected: what was cut has then happened, or has not."""
    while await connection.fetchval(OTHERS):  # noqa: ASYNC110 - it is the database that changes
        await asyncio.sleep(0.02)


async def resolve(connection: Connection, history: list[Operation]) -> dict[int, int]:
    """Find the places and answers of operations that were cut. Returns the control chain's head after each place."""
    await quiet(connection)
    rows = await connection.fetch("select process, number, place, head, answer from public.places")
    places = {(row["process"], row["number"]): row for row in rows}
    for operation in history:
        found = places.get((operation.process, operation.number))
        assert operation.place in (None, found["place"] if found is not None else None), operation
        if operation.place is None and found is not None:
            operation.place, operation.answer = found["place"], msgspec.json.decode(found["answer"])
    return {row["place"]: row["head"] or 0 for row in rows}


def unforeseen(history: list[Operation]) -> list[str]:
    """Find operations that failed otherwise than by their line."""
    return [
        f"{each.words} failed with {each.error}"
        for each in history
        if each.error and not each.error.startswith(AWAY_WORD)
    ]


async def check_transfers(connection: Connection, history: list[Operation], ids: dict[str, int]) -> list[str]:
    """Replay a history of transfers and compare everything."""
    await resolve(connection, history)
    rows = await connection.fetch("select * from accounts where account_id = any($1)", list(ids.values()))
    model = Model(dict(row) for row in rows)
    found = unforeseen(history) + list(out_of_time(history))
    past: dict[int, list[list[int]]] = {account: [[0, 0, 0, 0]] for account in model.sums}
    order: dict[int, list[str]] = {}
    for each in sorted((each for each in history if each.place is not None), key=lambda each: each.place or 0):
        stood = len(model.stands)
        if each.name == "book":
            answer: Any = model.book(each.asked["steps"], NOW_US)
        elif each.name == "read":
            answer = {account: list(model.sums[account]) for account in each.asked}
        else:
            transfer = model.stands.get(each.asked)
            answer = None if transfer is None else transfer["amount"]
        if each.completed_ns is not None and each.answer != answer:
            found.append(f"{each.words} answered {each.answer}, the model {answer}: {each.asked}")
        if each.name == "book":
            order.setdefault(each.asked["chain"], []).extend(list(model.stands)[stood:])
            for account, sums in model.sums.items():
                if past[account][-1] != sums:
                    past[account].append(list(sums))
    return found + await compare(connection, model, order, past)


async def compare(
    connection: Connection, model: Model, order: dict[int, list[str]], past: dict[int, list[list[int]]]
) -> list[str]:
    """Compare the books with the model that has done the same."""
    found: list[str] = []
    for chain, ids in order.items():
        rows = await connection.fetch("select * from transfers where chain = $1 order by seq", chain)
        if [row["transfer_id"].hex() for row in rows] != ids:
            found.append(f"chain {chain} has another order than the places")
        for row in rows:
            kept = {"id": row["transfer_id"].hex(), "debit": row["debit_account"], "credit": row["credit_account"]}
            kept |= {"amount": row["amount_nano"], "kind": Kind(row["kind"]).name, "hold_id": row["hold_id"].hex()}
            kept |= {name: row[name] for name in ("event_us", "unit", "reason")} | {"held": row["held_nano"]}
            if kept != model.stands.get(kept["id"]):
                found.append(f"transfer {kept['id']} is kept as {kept}")
    refused = await connection.fetch("select transfer_id, status from transfer_failures")
    if {row["transfer_id"].hex() for row in refused} != set(model.refused):
        found.append("other transfers were refused than by the model")
    for account, steps in past.items():
        rows = await connection.fetch("select * from account_history where account_id = $1 order by at_us", account)
        kept_steps = [[row[name] for name in SUMS] for row in rows]
        if kept_steps != steps:
            found.append(f"account {account} went another way than in the model")
    return found + (await audit(connection)).findings


class Checked(msgspec.Struct):
    """Hold a history and what is wrong with it."""

    history: list[Operation]
    ids: dict[str, int]
    found: list[str]


SUMS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


async def run_history(
    tellers: Tellers,
    url: str,
    workload: str,
    seed: int,
    operations: int,
    *,
    meanwhile: Coroutine[Any, Any, None] | None = None,
) -> Checked:
    """Record one history in an empty database and check it; `meanwhile` is done while it is recorded."""
    owner = await connect(url, owner=True)
    await owner.execute(MAKE_PLACES)
    await owner.close()
    connection = await connect(url)
    ids = await open_accounts(connection)
    await connection.close()
    beside = asyncio.create_task(meanwhile or asyncio.sleep(0))
    try:
        recorded = await asyncio.to_thread(tellers.record, url, workload, seed, operations, ids)
    finally:
        beside.cancel()
    history = [each for process in recorded for each in process]
    connection = await _connected_as_owner(url)
    try:
        return Checked(history, ids, await check(connection, workload, history, ids))
    finally:
        await connection.close()


async def _connected_as_owner(url: str) -> Connection:
    """Connect as who sees other sessions, once the server is back."""
    while True:
        try:
            return await connect(url, owner=True)
        except BooksError:
            await asyncio.sleep(0.05)


def history_violations(histories: int, seed: int) -> Figure:
    """Record and check so many histories of each workload."""
    tellers, counts, found = Tellers(), Counter[str](), list[str]()

    async def work() -> None:
        async with fresh_databases() as databases:
            for number, workload in itertools.product(range(histories), workloads()):
                url = await databases.make(f"{workload}_{number}")
                # In every other history the server is killed as well.
                killing = databases.kill_twice(random.Random(number)) if number % 2 else asyncio.sleep(0)
                checked = await run_history(tellers, url, workload, seed + number, OPERATIONS, meanwhile=killing)
                found.extend(f"{workload}, seed {seed + number}: {each}" for each in checked.found)
                lost = [each for each in checked.history if each.completed_ns is None]
                counts.update(operations=len(checked.history), lost=len(lost))
                counts["had happened"] += sum(each.place is not None for each in lost)
                print(f"{workload} {number}: {len(checked.history)} operations, {len(lost)} lost", file=sys.stderr)

    try:
        asyncio.run(work())
    finally:
        tellers.close()
    for each in found[:20]:
        print(each, file=sys.stderr)
    note = (
        f"{counts['operations']:,} operations of {PROCESSES} processes in {histories * len(workloads())} histories,"
        f" {counts['lost']:,} without an answer, of which {counts['had happened']:,} turned out to have happened"
    )
    return Figure("overspend.history_violations", len(found), "", note=note)
