"""Hold for batches when they are made, and charge each once, when its results exist.

A batch is one operation, though its requests are answered hours later and perhaps seen by another gateway. So no
gateway holds for it in memory: its ceiling is leased from every budget it counts against to an account of all batches
(lease 0), and is pending there until the batch has ended. Whoever sees the results first posts their cost; the row of
the batch and the hold's own end let that happen once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from bursar.budgets.budget import Terms, Window, period_at
from bursar.budgets.purse import Ask
from bursar.core.errors import BooksError
from bursar.core.ids import HOLD, OVERAGE, POST, VOID, call_name, transfer_id
from bursar.core.money import Money
from bursar.core.records import Attempt, Call, CallStatus, Protocol, Record, Segments
from bursar.core.times import FOREVER_US
from bursar.ledger.chart import Unit
from bursar.ledger.lease import Grant
from bursar.ledger.transfer import Kind, Reason, Transfer
from bursar.prices.charge import NOTHING_USED, UsedSoFar, used_after
from bursar.prices.price import RateCard, Rates, Source, Volume
from bursar.store.accounts import book
from bursar.store.calls import insert_call
from bursar.store.database import Connection, load_statements
from bursar.store.leases import CONTROL_CHAIN, id_of, lock_control, open_lease, payable_account
from bursar.store.reports import used_within

_SQL: Final = load_statements("batches")
_JOURNAL: Final = load_statements("journal")

BATCHES: Final = 0
"""The lease of all batches: gateways have numbers from 1."""

FIRST_LOOK_US: Final = 2_000_000
LOOK_MAX_US: Final = 300_000_000
"""How soon somebody asks for a batch's results, and how seldom for those of one that has been under way for hours."""

_TRIES: Final = 4
"""How often a batch is begun or ended that comes into the way of calls that are just being booked."""


class BatchModel(msgspec.Struct, frozen=True):
    """Name a model of a batch as clients do and as its provider does, the protocol of its requests, and their price."""

    name: str
    served: str
    protocol: Protocol
    price_id: str
    volume: Volume | None = None


class BatchHold(msgspec.Struct, frozen=True):
    """Say what a batch holds of one budget, and where what it uses goes."""

    unit: Unit
    lease_account: int
    budget_account: int
    overage_account: int
    target_account: int
    amount: int


class NewBatch(msgspec.Struct, frozen=True):
    """Describe a batch that is about to be made."""

    call: Call  # its protocol that of the batch, its model that of the first request
    provider: str
    endpoint: str
    models: tuple[BatchModel, ...]
    requests: bytes
    request_count: int


class Batch(msgspec.Struct, frozen=True):
    """Be a batch as the books know it."""

    tenant: int
    batch_id: bytes
    key_id: str
    protocol: Protocol
    provider: str
    provider_id: str | None
    endpoint: str
    models: tuple[BatchModel, ...]
    request_count: int
    run: str
    parent: str
    tags: dict[str, str]
    holds: tuple[BatchHold, ...]
    held_nano: Money
    opened_us: int
    missing_us: int | None
    ended_us: int | None
    charged: bool
    cost_nano: Money
    body_sha256: bytes | None = None

    @property
    def call(self) -> Call:
        """Return the one call a batch is in the books."""
        name = self.models[0].name
        where = (self.batch_id, self.tenant, self.key_id, self.protocol, name)
        return Call(*where, False, self.opened_us, Segments(), self.run, self.parent, self.tags)  # noqa: FBT003


class Bill(msgspec.Struct, frozen=True):
    """Say what a batch came to."""

    attempts: tuple[Attempt, ...]
    tokens: int
    requests: int
    answered: int
    failed: int
    unmetered: int
    status: CallStatus = CallStatus.ok

    @property
    def cost_nano(self) -> Money:
        """Sum what its attempts cost."""
        return sum(attempt.cost_nano for attempt in self.attempts)

    def used_of(self, unit: Unit) -> int:
        """Return what it used of a budget in some unit."""
        return {Unit.usd: self.cost_nano, Unit.token: self.tokens, Unit.request: self.requests}[unit]


Pricing = Callable[[Mapping[str, UsedSoFar]], Bill]
"""Make the bill of a batch, given what was used before it of those of its models whose price depends on that."""


class Card(msgspec.Struct, frozen=True):
    """Hold the rates of a price, as JSON, to be kept with the books."""

    price_id: str
    rates: str
    source: str
    checked: str


class KeptFile(msgspec.Struct, frozen=True):
    """Be a file at a provider; of a batch's input with what its requests may cost."""

    provider: str
    file_id: str
    purpose: str
    size: int
    sha256: bytes = b""
    requests: bytes = b""
    models: tuple[BatchModel, ...] = ()
    protocol: Protocol = Protocol.openai_batch
    media_type: str = ""


class FilePage(msgspec.Struct, frozen=True):
    """Say which of many files are wanted: after one, or before one, and how many at most."""

    limit: int
    after: str | None = None
    before: str | None = None
    purpose: str = ""  # empty: any


class Short(Exception):
    """Say which budget cannot cover its part of a batch. Nothing is held."""

    def __init__(self, ask: Ask, grant: Grant) -> None:
        super().__init__("a budget cannot cover a batch")
        self.ask = ask
        self.grant = grant


class MadeAlready(Exception):
    """Say that another has just made a batch under the same Idempotency-Key. Nothing is held."""


async def open_batch(
    connection: Connection, new: NewBatch, asks: Sequence[Ask], cards: Sequence[Card], at_us: int
) -> Batch:
    """Hold a batch's ceiling in all its budgets and write it down, in one transaction.

    Raises `Short`, or `MadeAlready`.
    """
    for _ in range(_TRIES):
        try:
            async with connection.transaction():
                return await _open(connection, new, asks, cards, at_us)
        except asyncpg.DeadlockDetectedError:  # with calls that are being booked, which have several budgets in common
            continue
    raise BooksError("the batch could not be booked beside others: try again")


async def _open(connection: Connection, new: NewBatch, asks: Sequence[Ask], cards: Sequence[Card], at_us: int) -> Batch:
    call = new.call
    await lock_control(connection, call.tenant)  # so that of several at once under one key the others find it made
    name = call.idempotency_key
    if name and await connection.fetchrow(_SQL["under_key"], call.tenant, call.key_id, name) is not None:
        raise MadeAlready
    payable = await payable_account(connection, call.tenant, new.provider, BATCHES, at_us)
    holds: list[BatchHold] = []
    for place, ask in enumerate(asks):
        grant = await open_lease(connection, ask, BATCHES, _act("lease", call.call_id, place), at_us)
        if grant.granted_nano < ask.need_nano:
            raise Short(ask, grant)
        accounts = (grant.lease_account, grant.budget_account, grant.overage_account)
        holds.append(BatchHold(grant.unit, *accounts, grant.used_account if place else payable, ask.need_nano))
    await _book(connection, call.tenant, [_hold(call, place, each, at_us) for place, each in enumerate(holds)])
    for card in cards:
        await connection.execute(_JOURNAL["insert_card"], *msgspec.structs.astuple(card), at_us)
    held, made = holds[0].amount, (call.call_id, call.key_id, call.protocol, new.provider, new.endpoint)
    await connection.execute(
        _SQL["insert"],
        call.tenant,
        *made,
        _json(new.models),
        new.request_count,
        call.run,
        call.parent,
        _json(call.tags),
        call.idempotency_key or None,
        call.body_sha256 or None,
        _json(holds),
        held,
        at_us,
        at_us + FIRST_LOOK_US,
    )
    await connection.execute(_SQL["insert_requests"], call.tenant, call.call_id, new.requests)
    where = (call.key_id, call.protocol, new.provider, None, new.endpoint, new.models, new.request_count)
    ways = (call.run, call.parent, call.tags, tuple(holds), held, at_us)
    return Batch(call.tenant, call.call_id, *where, *ways, None, None, charged=False, cost_nano=0)


async def reached(connection: Connection, batch: Batch, provider_id: str, at_us: int) -> bool:
    """Keep by which id a batch is known to its provider; False when it was given up, or the id is another's here."""
    values = (batch.tenant, batch.batch_id, provider_id, at_us + FIRST_LOOK_US)
    try:
        return await connection.fetchval(_SQL["reached"], *values) is not None
    except asyncpg.UniqueViolationError:
        return False


async def end_batch(
    connection: Connection, batch: Batch, pricing: Pricing | None, files: Sequence[KeptFile], at_us: int
) -> tuple[Bill, Record] | None:
    """Charge a batch what it came to, or give back all it holds where nothing prices it: it reached no provider.

    Returns its bill and its record; None when it had ended before. What its budgets cannot pay is overage.
    """
    for _ in range(_TRIES):
        try:
            async with connection.transaction():
                bill = None if pricing is None else pricing(await _used_before(connection, batch))
                return await _end(connection, batch, bill, files, at_us)
        except asyncpg.DeadlockDetectedError:
            continue
    raise BooksError("the batch could not be booked beside others: try again")


async def _used_before(connection: Connection, batch: Batch) -> dict[str, UsedSoFar]:
    """Return what the books know was used before of models whose price depends on it, in the period the batch is of.

    Of batches that end at once each waits for the one before, so that none counts an allowance as its own that
    another has had. They wait here, before the chain leases are granted on: a month of calls is summed.
    """
    volumes = {model.served: model.volume for model in batch.models if model.volume is not None}
    used: dict[str, UsedSoFar] = {}
    for served, volume in sorted(volumes.items()):
        await connection.execute(_SQL["lock_volume"], f"{batch.tenant}:{batch.provider}:{served}")
        period = period_at(Terms(None, Window(volume.period)), batch.opened_us)
        found = (await used_within(connection, period.start_us, period.end_us, served)).get(batch.provider)
        used[served] = NOTHING_USED if found is None else used_after(found, NOTHING_USED)
    return used


async def _end(
    connection: Connection, batch: Batch, bill: Bill | None, files: Sequence[KeptFile], at_us: int
) -> tuple[Bill, Record] | None:
    tenant, batch_id = batch.tenant, batch.batch_id
    await lock_control(connection, tenant)
    row = await connection.fetchrow(_SQL["lock"], tenant, batch_id)
    if row is None or row["ended_us"] is not None:
        return None
    steps: list[Transfer] = []
    for place, hold in enumerate(batch.holds):
        used = 0 if bill is None else bill.used_of(hold.unit)
        steps += _settle(batch_id, place, hold, used, at_us)
    await _book(connection, tenant, steps)
    cost, counts = (0, (0, 0, 0)) if bill is None else (bill.cost_nano, (bill.answered, bill.failed, bill.unmetered))
    await connection.execute(_SQL["end"], tenant, batch_id, at_us, bill is not None, cost, *counts)
    await connection.execute(_SQL["forget_requests"], tenant, batch_id)
    for file in files:
        await keep_file(connection, batch.tenant, batch.key_id, file, at_us)
    if bill is None:
        return None
    held, overage = batch.held_nano, max(0, cost - batch.holds[0].amount)
    record = Record(batch.call, bill.status, bill.attempts, held, cost, overage, cost, at_us)
    await insert_call(connection, record, batch.holds[0].budget_account)
    return bill, record


def _act(what: str, batch_id: bytes, place: int) -> bytes:
    return id_of("batch", what, batch_id.hex(), place)


def _hold(call: Call, place: int, hold: BatchHold, at_us: int) -> Transfer:
    name = _act("hold", call.call_id, place) if place else transfer_id(call.call_id, HOLD)
    way = (hold.lease_account, hold.target_account)
    return Transfer(name, *way, hold.amount, Kind.hold, Reason.call, at_us, unit=hold.unit)


def _settle(batch_id: bytes, place: int, hold: BatchHold, used: int, at_us: int) -> list[Transfer]:
    """Return the transfers that end a hold: what was used is posted, what was not goes back to its budget."""

    def name(what: str, number: int) -> bytes:
        return _act(what, batch_id, place) if place else transfer_id(batch_id, number)

    paid, hold_id = min(used, hold.amount), name("hold", HOLD)
    way, kind = (hold.lease_account, hold.target_account), Kind.post_hold if used else Kind.void_hold
    end = Transfer(
        name("post", POST if used else VOID), *way, paid, kind, Reason.call, at_us, hold_id, hold.amount, hold.unit
    )
    beyond = Transfer(
        name("beyond", OVERAGE),
        hold.overage_account,
        hold.target_account,
        used - paid,
        Kind.post,
        Reason.overage,
        at_us,
        unit=hold.unit,
    )
    rest, back = hold.amount - paid, (hold.lease_account, hold.budget_account)
    returned = Transfer(
        _act("rest", batch_id, place), *back, rest, Kind.post, Reason.lease_return, at_us, unit=hold.unit
    )
    return [end, *(each for each in (beyond, returned) if each.amount_nano)]


async def _book(connection: Connection, tenant: int, transfers: Sequence[Transfer]) -> None:
    for transfer, status in zip(transfers, await book(connection, tenant, CONTROL_CHAIN, transfers), strict=True):
        if not status.ok:
            raise BooksError(f"the books refused a transfer of {transfer.amount_nano} for a batch: {status.name}")


async def requests_of(connection: Connection, batch: Batch) -> bytes:
    """Return what each request of an open batch may cost; empty of one that has ended."""
    return await connection.fetchval(_SQL["requests"], batch.tenant, batch.batch_id) or b""


async def cards_of(connection: Connection, batch: Batch) -> dict[str, RateCard]:
    """Return the rates a batch is charged by: those of the moment it was made, whatever prices are now."""
    rows = await connection.fetch(_SQL["cards"], [model.price_id for model in batch.models])
    return {
        row["price_id"]: RateCard(
            row["price_id"],
            msgspec.json.decode(row["rates"], type=Rates),
            FOREVER_US,
            Source(row["source"], row["checked"]),
        )
        for row in rows
    }


async def find_batch(
    connection: Connection, tenant: int, key_id: str, provider_id: str, protocol: Protocol
) -> Batch | None:
    """Find a key's own batch by its provider's id."""
    row = await connection.fetchrow(_SQL["own"], tenant, key_id, provider_id, protocol)
    return None if row is None else _batch(row)


async def find_made_under(connection: Connection, tenant: int, key_id: str, name: bytes) -> Batch | None:
    """Find the batch that a key made under an Idempotency-Key, by the key's digest."""
    row = await connection.fetchrow(_SQL["under_key"], tenant, key_id, name)
    return None if row is None else _batch(row)


async def batches_of(
    connection: Connection, tenant: int, key_id: str, protocol: Protocol, after: str | None, limit: int
) -> list[Batch]:
    """List a key's batches, the newest first, after the one of an id."""
    rows = await connection.fetch(_SQL["of_key"], tenant, key_id, protocol, after, limit)
    return [_batch(row) for row in rows]


async def open_batches_of(
    connection: Connection, tenant: int, key_id: str, protocol: Protocol, limit: int
) -> list[Batch]:
    """List a key's batches that have not ended."""
    return [_batch(row) for row in await connection.fetch(_SQL["open_of_key"], tenant, key_id, protocol, limit)]


async def due_batches(connection: Connection, at_us: int, limit: int) -> list[Batch]:
    """Take the batches that somebody is to look at now, each for one who asks."""
    rows = await connection.fetch(_SQL["due"], at_us, FIRST_LOOK_US, LOOK_MAX_US, limit)
    return [_batch(row) for row in rows]


async def note_missing(connection: Connection, batch: Batch, at_us: int, *, missing: bool) -> None:
    """Keep since when a batch's provider does not know it or its results, or that it does."""
    if missing:
        await connection.execute(_SQL["missing"], batch.tenant, batch.batch_id, at_us)
    else:
        await connection.execute(_SQL["found"], batch.tenant, batch.batch_id)


async def known_ids(connection: Connection, batch: Batch, provider_ids: Sequence[str]) -> set[str]:
    """Of a provider's ids, return those that are some batch's here."""
    rows = await connection.fetch(_SQL["known_ids"], batch.tenant, batch.provider, batch.protocol, list(provider_ids))
    return {row["provider_id"] for row in rows}


async def keep_file(connection: Connection, tenant: int, key_id: str, file: KeptFile, at_us: int) -> None:
    """Write down whose a file is."""
    f = file
    models = _json(f.models) if f.models else None
    values = (f.provider, f.file_id, key_id, f.purpose, f.size, f.sha256, f.requests or None, models, at_us)
    await connection.execute(_SQL["insert_file"], tenant, *values, f.protocol, f.media_type)


async def find_file(
    connection: Connection, tenant: int, key_id: str, protocol: Protocol, file_id: str
) -> KeptFile | None:
    """Find a key's own file of one protocol."""
    row = await connection.fetchrow(_SQL["file"], tenant, key_id, protocol, file_id)
    return None if row is None else _file(row)


async def find_files(
    connection: Connection, tenant: int, key_id: str, protocol: Protocol, file_ids: Sequence[str]
) -> list[KeptFile]:
    """Of files with some ids, find those that are a key's own, the newest first."""
    rows = await connection.fetch(_SQL["files_named"], tenant, key_id, protocol, list(file_ids))
    return [_file(row) for row in rows]


async def files_of(
    connection: Connection, whose: tuple[int, str, Protocol], providers: Sequence[str], page: FilePage
) -> list[KeptFile]:
    """List files of a tenant's key and of one protocol that some providers keep, the newest first."""
    where = (*whose, list(providers))
    if page.before is not None:
        rows = await connection.fetch(_SQL["files_before"], *where, page.before, page.limit)
    else:
        rows = await connection.fetch(_SQL["files_of_key"], *where, page.purpose, page.after, page.limit)
    return [_file(row) for row in rows]


async def forget_file(connection: Connection, tenant: int, file: KeptFile, at_us: int) -> None:
    """Write down that a file is gone."""
    await connection.execute(_SQL["delete_file"], tenant, file.provider, file.file_id, at_us)


async def batches_that_differ(connection: Connection, tenant: int) -> list[str]:
    """Find batches that were not charged once, as their results say, and holds of batches that nobody has."""
    findings = [
        f"batch {call_name(row['batch_id'])}: charged {row['charged_nano']} nano-USD, its call says {row['cost_nano']}"
        for row in await connection.fetch(_SQL["differing"], tenant)
    ]
    for row in await connection.fetch(_SQL["holds_that_differ"], tenant):
        kept = f"{row['pending_nano']} are pending and {row['there_nano']} lie there"
        findings.append(f"account {row['name']}: {kept}, its open batches hold {row['held_nano']}")
    return findings


def _batch(row: asyncpg.Record) -> Batch:
    values: dict[str, Any] = {name: row[name] for name in Batch.__struct_fields__}
    for name in ("models", "tags", "holds"):
        values[name] = msgspec.json.decode(row[name])
    return msgspec.convert(values, Batch)


def _file(row: asyncpg.Record) -> KeptFile:
    models = msgspec.json.decode(row["models"], type=tuple[BatchModel, ...]) if row["models"] else ()
    plain = (row["provider"], row["file_id"], row["purpose"], row["bytes"])
    kind = {"protocol": Protocol(row["protocol"]), "media_type": row["media_type"]}
    return KeptFile(*plain, requests=row["requests"] or b"", models=models, **kind)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
