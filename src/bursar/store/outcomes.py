"""Write down what became of answers, and read it back: for those who look, and for routes, which learn from it."""

import asyncio
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest, Conflict, NotFound
from bursar.core.ids import call_name, first_id_at
from bursar.core.kinds import OutcomeKind
from bursar.core.times import DAY_US, to_datetime
from bursar.core.words import WORD_CHARS_MAX, is_word
from bursar.savings.route.online import Outcome, State, learn
from bursar.store.database import Connection, announce, load_statements
from bursar.store.keys import TENANT, Key
from bursar.store.own_call import own_call

_SQL: Final = load_statements("outcomes")

NEWS: Final = "outcome:"
"""What all gateways are told where there is a new one."""

ID_CHARS_MAX: Final = 128
SHOWN_MAX: Final = 100
LEARNED_MAX: Final = 20_000
"""Outcomes routes learn from: the latest."""
ALONE_MAX: Final = 200
"""Outcomes of a key that teach a model of a route whatever others say; beyond, as many as all others have together."""

MANNERS_US: Final = 7 * DAY_US
_MANNERS_CALLS_MAX: Final = 20_000
_MANNERS_CALLS_MIN: Final = 20
"""Answers of a target from which its average means something."""

_PPM: Final = 1_000_000


class NewOutcome(msgspec.Struct, frozen=True):
    """Say what became of a call or a run. `outcome_id` is the caller's: the same one counts once."""

    outcome_id: str
    kind: OutcomeKind
    value: float  # 0 to 1
    run: str = ""
    call: str = ""  # as the x-bursar-call-id header names it
    source: str = ""


class Manners(msgspec.Struct, frozen=True):
    """Say how a target has answered, on average."""

    target: str  # provider/model
    output_tokens: int
    seconds: float


async def add_outcome(connection: Connection, key: Key, new: NewOutcome, at_us: int) -> bool:
    """Write an outcome down; tell whether it had been before.

    Raises `BadRequest` naming the field that cannot be, `Conflict` for an id that had other content, `NotFound` for a
    call or run that is not in the books, `Forbidden` for a call of another key.
    """
    _check(new)
    content = sha256(msgspec.json.encode((key.key_id, new), order="deterministic")).digest()
    async with connection.transaction():
        call_id, run = await _place(connection, key, new)
        values = (new.kind.value, round(new.value * _PPM), new.source, at_us, content)
        place = (key.key_id, call_id, run)
        if await connection.fetchval(_SQL["insert"], key.tenant, new.outcome_id, *place, *values) is None:
            if await connection.fetchval(_SQL["find"], key.tenant, key.key_id, new.outcome_id) != content:
                raise Conflict(f"outcome {new.outcome_id!r} was told with other content", code="outcome_conflict")
            return True
        await announce(connection, NEWS)
    return False


async def outcomes_of_call(connection: Connection, call_id: bytes) -> list[dict[str, Any]]:
    """Return what was said of a call."""
    return [_shown(row) for row in await connection.fetch(_SQL["of_call"], TENANT, call_id, SHOWN_MAX)]


async def outcomes_of_run(connection: Connection, run: str, key_id: str | None = None) -> list[dict[str, Any]]:
    """Return what was said of a run as a whole, by one key or by all."""
    return [_shown(row) for row in await connection.fetch(_SQL["of_run"], TENANT, run, SHOWN_MAX, key_id)]


async def recent_outcomes(
    connection: Connection, *, key: str | None = None, run: str | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """Return the latest outcomes, newest first."""
    rows = await connection.fetch(_SQL["recent"], TENANT, key, run, limit)
    return [
        _shown(row)
        | {
            "key": row["key_name"],
            "call": call_name(row["call_id"]) if row["call_id"] is not None else None,
            "run": row["run"] or None,
        }
        for row in rows
    ]


async def last_outcome(connection: Connection) -> int:
    """Return the number of the latest outcome; 0 without any."""
    return await connection.fetchval(_SQL["last"]) or 0


async def learned_states(connection: Connection) -> dict[str, State]:
    """Return what outcomes have taught of each route's models: the same for whoever asks."""
    rows = await connection.fetch(_SQL["routed"], TENANT, LEARNED_MAX, ALONE_MAX)
    # Off the loop: of many outcomes this takes some tenths of a second.
    return await asyncio.to_thread(_folded, rows)


async def recent_manners(connection: Connection, now_us: int) -> list[Manners]:
    """Return how targets have answered in the last days."""
    first = first_id_at((now_us - MANNERS_US) // 1_000)
    rows = await connection.fetch(_SQL["manners"], TENANT, first, _MANNERS_CALLS_MAX, _MANNERS_CALLS_MIN)
    return [Manners(row["target"], max(1, round(row["output_tokens"])), row["duration_us"] / 1_000_000) for row in rows]


def _folded(rows: Iterable[Any]) -> dict[str, State]:
    events: dict[str, list[Outcome]] = {}
    for row in rows:
        outcome = Outcome(row["model"], row["chance_ppm"] / _PPM, row["value_ppm"] / _PPM)
        events.setdefault(row["policy"], []).append(outcome)
    return {policy: learn(State(), outcomes) for policy, outcomes in events.items()}


def _check(new: NewOutcome) -> None:
    if not 0 <= new.value <= 1:
        raise BadRequest(f"value: expected true, false or a number from 0 to 1, got {new.value:g}", param="value")
    if not new.outcome_id:
        raise BadRequest("id: expected one of your own, by which the same outcome counts once", param="id")
    for name, text in (("id", new.outcome_id), ("call", new.call), ("source", new.source)):
        if len(text) > ID_CHARS_MAX or not text.isprintable():
            raise BadRequest(f"{name}: expected up to {ID_CHARS_MAX} printable characters on one line", param=name)
    if new.run and not is_word(new.run):
        words = f"up to {WORD_CHARS_MAX} letters, digits, spaces and _.:/@+-"
        raise BadRequest(f"run: expected {words}", param="run")
    if not new.call and not new.run:
        raise BadRequest("call: expected the call it is about, or the run in `run`", param="call")


async def _place(connection: Connection, key: Key, new: NewOutcome) -> tuple[bytes | None, str]:
    """Return the call and the run an outcome is of."""
    if not new.call:
        if not await connection.fetchval(_SQL["run"], key.tenant, new.run, key.key_id):
            raise NotFound(f"no call of run {new.run!r} in the books that key {key.name!r} has made", param="run")
        return None, new.run
    call = await own_call(connection, key, new.call, new.run)
    return call.call_id, call.run


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": row["outcome_id"],
        "kind": row["kind"],
        "value": row["value_ppm"] / _PPM,
        "source": row["source"] or None,
        "at": to_datetime(row["event_us"]).isoformat(),
    }
