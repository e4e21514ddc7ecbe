"""Submit the same things again and again: nothing may happen twice, whoever asks, and whatever becomes of the answer.

`idempotence`: many processes submit the same ids at once, with the same and with other content. `indefinite`: an answer
that was lost is asked for again under the same id, until there is one. `claims`: an Idempotency-Key has one owner.
"""

import asyncio
import hashlib
import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import asyncpg

from bench.history import NOW_US, SUMS, TENANT, Operation, Teller, plain, quiet, unforeseen, words_of
from bursar.core.errors import BooksError
from bursar.ledger.transfer import Kind, Reason, Status, Transfer
from bursar.store.accounts import book
from bursar.store.audit import audit
from bursar.store.claims import Claim, claim, give_up
from bursar.store.database import AWAY, Connection
from bursar.store.ledger import Ledger

CHAIN = 104
PATIENCE_S = 0.15


def _deal(teller: Teller, number: int, variant: int) -> Transfer:
    """Return the transfer of a number. Some are refused, and which depends on what came before."""
    seed, ids = teller.task.seed, teller.task.ids
    name = random.Random(f"{seed} repeat {number}").randbytes(16)
    dice = random.Random(f"{seed} repeat {number} {variant}")
    free, limited = ids[f"free {dice.randrange(3)}"], ids[f"limited {dice.randrange(3)}"]
    sides = (free, limited) if dice.random() < 0.5 else (limited, free)
    kind = Kind.hold if dice.random() < 0.2 else Kind.post
    return Transfer(name, *sides, dice.randint(1, 100), kind, Reason.call, NOW_US + variant)


async def idempotence(teller: Teller) -> None:
    """Submit ids others submit as well, to a ledger or as a transaction of one's own."""
    async with _ledger(teller) as ledger:
        for number in range(teller.task.operations):
            which = max(0, number + teller.dice.randint(-4, 4))
            transfer = _deal(teller, which, teller.dice.random() < 0.2)
            await _submit(teller, transfer, ledger if teller.dice.random() < 0.5 else None)


async def indefinite(teller: Teller) -> None:
    """Submit ids of one's own until each has an answer."""
    async with _ledger(teller) as ledger:
        for number in range(teller.task.operations):
            transfer = _deal(teller, 1_000_000 * (teller.task.process + 1) + number, 0)
            while (await _submit(teller, transfer, ledger, cuts=0.3)).completed_ns is None:
                pass


class _ledger:  # noqa: N801 - used as a function
    """Open a ledger over the teller's line, whose patience is short."""

    def __init__(self, teller: Teller) -> None:
        self._ledger = Ledger(teller.line.url, TENANT, CHAIN, lambda: NOW_US, patience_s=PATIENCE_S)

    async def __aenter__(self) -> Ledger:
        await self._ledger.open()
        return self._ledger

    async def __aexit__(self, *_: object) -> None:
        await self._ledger.close()


async def _submit(teller: Teller, transfer: Transfer, ledger: Ledger | None, cuts: float = 0.06) -> Operation:
    operation = teller.begin("submit", plain(transfer) | {"asks_again": ledger is not None})
    try:
        if ledger is not None:
            teller.may_cut(cuts)
            answer = await ledger.submit([transfer])
        else:
            connection = await teller.connected()
            teller.may_cut(cuts)
            async with connection.transaction():
                answer = await book(connection, TENANT, CHAIN, [transfer], NOW_US)
        operation.completed_ns, operation.answer = time.monotonic_ns(), answer[0].name
    except (*AWAY, asyncpg.PostgresError, BooksError) as error:
        operation.error = words_of(error)
    teller.line.spare()
    return operation


async def check_repeats(connection: Connection, history: list[Operation]) -> list[str]:
    """Find ids with more than one effect, or whose answers do not go together; compare the balances."""
    await quiet(connection)
    rows = {row["transfer_id"].hex(): row for row in await connection.fetch("select * from transfers")}
    refused = {
        row["transfer_id"].hex(): Status(row["status"]).name
        for row in await connection.fetch("select * from transfer_failures")
    }
    attempts: dict[str, list[Operation]] = {}
    for operation in history:
        attempts.setdefault(operation.asked["id"], []).append(operation)
    found = unforeseen(history)
    for name, tries in attempts.items():
        found += _judge(tries, rows.get(name), refused.get(name))
    sums: dict[int, list[int]] = {}
    for row in rows.values():
        side = 0 if row["kind"] == Kind.hold else 1
        sums.setdefault(row["debit_account"], [0] * 4)[side] += row["amount_nano"]
        sums.setdefault(row["credit_account"], [0] * 4)[side + 2] += row["amount_nano"]
    for row in await connection.fetch("select * from accounts"):
        if [row[each] for each in SUMS] != sums.get(row["account_id"], [0] * 4):
            found.append(f"account {row['name']} is not the sum of what stands")
    if len(set(rows) - set(attempts)):
        found.append("transfers stand that nobody submitted")
    return found + (await audit(connection)).findings


def _judge(tries: list[Operation], row: Any, refusal: str | None) -> Iterator[str]:
    """Compare all answers to one id with what became of it."""
    name, answers = tries[0].asked["id"], [each.answer for each in tries if each.completed_ns is not None]
    # A ledger whose line is cut asks again by itself: then the first answer it heard may be the second.
    unknown = len(answers) < len(tries) or any(each.asked["asks_again"] for each in tries)
    first = "created" if row is not None else refusal
    if row is not None and refusal is not None:
        yield f"{name} stands and was refused: {refusal}"
    if first is None:
        if answers:
            yield f"{name} is not in the books, and was answered {answers}"
        return
    if answers.count(first) > 1 or (answers.count(first) == 0 and not unknown):
        yield f"{name} was answered {first} {answers.count(first)} times"
    for each in tries:
        later = "id_already_failed"
        if row is not None:
            same = (each.asked["event_us"], each.asked["amount"]) == (row["event_us"], row["amount_nano"])
            later = "exists" if same else "exists_with_different_content"
        if each.completed_ns is not None and each.answer not in (first, later):
            yield f"{name} was answered {each.answer}, expected {first} or {later}"
    yield from _too_late(name, tries, first)


def _too_late(name: str, tries: list[Operation], first: str) -> Iterator[str]:
    """Find a first answer to somebody who asked after somebody else had been answered."""
    done = [each for each in tries if each.completed_ns is not None]
    for each in done:
        before = [other for other in done if (other.completed_ns or 0) < each.invoked_ns]
        if each.answer == first and before:
            yield f"{name}: {each.words} came first, and {before[0].words} had been answered before"


async def claims(teller: Teller) -> None:
    """Claim keys others claim as well, and give up what was won, each again and again until answered."""
    dice = teller.dice
    for _ in range(teller.task.operations):
        name = hashlib.sha256(b"%d" % dice.randrange(5)).digest()
        wanted = Claim(TENANT, "key_1", name, hashlib.sha256(b"body").digest(), dice.randbytes(16))
        won = await _until_answered(teller, "claim", wanted)
        if won is None:
            await asyncio.sleep(dice.random() / 200)
            await _until_answered(teller, "give up", wanted)


async def _until_answered(teller: Teller, name: str, wanted: Claim) -> str | None:
    operation = teller.begin(name, {"name": wanted.name.hex(), "call": wanted.call_id.hex()})
    while operation.completed_ns is None:
        connection = await teller.connected()
        teller.may_cut(0.06)
        try:
            if name == "claim":
                other = await claim(connection, wanted, NOW_US)
                operation.answer = None if other is None else other.call_id.hex()
            else:
                await give_up(connection, wanted)
            operation.completed_ns = time.monotonic_ns()
        except AWAY:
            operation.error = ""
        teller.line.spare()
    return operation.answer


async def check_claims(_: Connection, history: list[Operation]) -> list[str]:
    """Find keys that two calls had at once, and answers that name a call which did not have the key then."""
    owned: dict[str, list[tuple[int, int, int, int, str]]] = {}  # may have had, had, had no more, was rid of; by key
    ends = {each.asked["call"]: each for each in history if each.name == "give up"}
    for each in history:
        if each.name == "claim" and each.answer is None:
            end = ends[each.asked["call"]]
            span = (each.invoked_ns, each.completed_ns or 0, end.invoked_ns, end.completed_ns or 0)
            owned.setdefault(each.asked["name"], []).append((*span, each.asked["call"]))
    found: list[str] = []
    for name, spans in owned.items():
        spans.sort(key=lambda span: span[1])
        for earlier, later in itertools.pairwise(spans):
            if later[1] < earlier[2]:
                found.append(f"key {name[:8]}: {earlier[4]} and {later[4]} had it at once")
    for each in history:
        if each.name == "claim" and each.answer is not None:
            spans = [span for span in owned.get(each.asked["name"], []) if span[4] == each.answer]
            if not any(span[0] <= (each.completed_ns or 0) and span[3] >= each.invoked_ns for span in spans):
                found.append(f"{each.words} was told of {each.answer}, which did not have the key then")
    return found
