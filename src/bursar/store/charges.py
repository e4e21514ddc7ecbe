"""Book work that is no model call (retrieval, tools, safety checks, a person's minutes) to a key, a call or a run.

It has happened already, so it is always booked: what its budgets cannot pay is overage, and the next lease repays it.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import asyncpg
import msgspec

from bursar.budgets.budget import Budget
from bursar.core.errors import BadRequest, BooksError, Conflict
from bursar.core.kinds import ChargeKind
from bursar.core.money import NANO_PER_USD, Money, nano_to_usd
from bursar.core.words import TAGS_MAX, WORD_CHARS_MAX, is_word
from bursar.ledger import chart
from bursar.ledger.chart import Code, Unit
from bursar.ledger.transfer import Reason
from bursar.store.accounts import Opening, open_account
from bursar.store.database import Connection, load_statements
from bursar.store.keys import Key
from bursar.store.leases import id_of, lock_control, spend_from
from bursar.store.own_call import own_call

_SQL: Final = load_statements("charges")

COST_MAX_NANO: Final = 1_000_000 * NANO_PER_USD
"""What one charge may cost at most: more is a slip of the point."""
ID_CHARS_MAX: Final = 128
SUPPLIER_CHARS_MAX: Final = 128
QUANTITY_CHARS_MAX: Final = 128
DESCRIPTION_CHARS_MAX: Final = 1_000

_TRIES: Final = 4
"""How often a charge is begun that comes into the way of calls that are just being booked."""


class NewCharge(msgspec.Struct, frozen=True):
    """Describe work to be charged. `charge_id` is the caller's: the same one is charged once."""

    charge_id: str
    kind: ChargeKind
    cost_nano: Money
    run: str = ""
    call: str = ""  # as the x-bursar-call-id header names it
    supplier: str = ""
    description: str = ""
    quantity: str = ""  # such as "3 searches"
    tags: dict[str, str] = {}


class Charged(msgspec.Struct, frozen=True):
    """Say what was charged, how much of it beyond the budgets, and whether it was charged before."""

    charge_id: str
    cost_nano: Money
    overage_nano: Money
    budgets: tuple[str, ...]
    again: bool = False


class _Place(msgspec.Struct, frozen=True):
    """Say what a charge belongs to."""

    run: str
    call_id: bytes | None
    tags: dict[str, str]


async def charge(connection: Connection, key: Key, new: NewCharge, at_us: int) -> Charged:
    """Book a charge to a key's budgets, in one transaction.

    Raises `BadRequest` naming the field that cannot be, `Conflict` for an id that had other content, `NotFound` for a
    call that is not in the books, `Forbidden` for one of another key, `BooksError` when the books cannot take it.
    """
    check_charge(new)
    for _ in range(_TRIES):
        try:
            async with connection.transaction():
                return await _charge(connection, key, new, at_us)
        except asyncpg.DeadlockDetectedError:  # with calls that are being booked, which have several budgets in common
            continue
    raise BooksError("the charge could not be booked beside others: try again")


def check_charge(new: NewCharge) -> None:
    """Check what a charge says. Raises `BadRequest` naming the field, as the API calls it."""
    if not 0 <= new.cost_nano <= COST_MAX_NANO:
        most = nano_to_usd(COST_MAX_NANO)
        raise BadRequest(f"amount_usd: expected 0 to {most} USD, got {nano_to_usd(new.cost_nano)}", param="amount_usd")
    if not new.charge_id:
        raise BadRequest("id: expected one of your own, by which the same work is charged once", param="id")
    _check_text("id", new.charge_id, ID_CHARS_MAX)
    _check_text("call", new.call, ID_CHARS_MAX)
    _check_text("supplier", new.supplier, SUPPLIER_CHARS_MAX)
    _check_text("description", new.description, DESCRIPTION_CHARS_MAX)
    _check_text("quantity", new.quantity, QUANTITY_CHARS_MAX)
    words = f"up to {WORD_CHARS_MAX} letters, digits, spaces and _.:/@+-"
    if new.run and not is_word(new.run):
        raise BadRequest(f"run: expected {words}", param="run")
    if len(new.tags) > TAGS_MAX or not all(map(is_word, (*new.tags, *new.tags.values()))):
        raise BadRequest(f"tags: expected at most {TAGS_MAX}, names and values of {words}", param="tags")


async def charges_that_differ(connection: Connection, tenant: int) -> list[str]:
    """Find charges whose transfers do not say what they say, and what suppliers are owed beyond them."""
    findings = [
        f"charge {row['charge_id']}: recorded as {row['cost_nano']} nano-USD, {row['overage_nano']} of it overage;"
        f" its transfers say {row['booked_nano']} and {row['beyond_nano']}"
        for row in await connection.fetch(_SQL["differing"], tenant)
    ]
    row = await connection.fetchrow(_SQL["owed"], tenant)
    assert row is not None
    if row["owed_nano"] != row["charged_nano"]:
        findings.append(
            f"services: {row['owed_nano']:.0f} nano-USD are owed, the charges say {row['charged_nano']:.0f}"
        )
    return findings


def _check_text(name: str, text: str, chars_max: int) -> None:
    if len(text) > chars_max or not text.isprintable():
        raise BadRequest(f"{name}: expected up to {chars_max} printable characters on one line", param=name)


async def _charge(connection: Connection, key: Key, new: NewCharge, at_us: int) -> Charged:
    await lock_control(connection, key.tenant)
    place = await _place(connection, key, new)
    claim = key.path.find(place.run, "", place.tags)
    budgets = [budget for budget in claim.budgets if budget.terms.unit is Unit.usd]
    holders = tuple(dict.fromkeys(budget.holder for budget in budgets))
    content = sha256(msgspec.json.encode((key.key_id, new), order="deterministic")).digest()
    before = await connection.fetchrow(_SQL["find"], key.tenant, new.charge_id)
    if before is not None:
        if before["content"] != content:
            raise Conflict(f"charge {new.charge_id!r} was booked with other content", code="charge_conflict")
        return Charged(new.charge_id, before["cost_nano"], before["overage_nano"], holders, again=True)
    overage = await _spend(connection, budgets, new, at_us)
    await connection.execute(
        _SQL["insert"],
        key.tenant,
        new.charge_id,
        key.key_id,
        place.run,
        place.call_id,
        new.kind.value,
        new.supplier,
        new.description,
        new.quantity,
        msgspec.json.encode(place.tags).decode(),
        new.cost_nano,
        overage,
        at_us,
        content,
    )
    return Charged(new.charge_id, new.cost_nano, overage, holders)


async def _spend(connection: Connection, budgets: Sequence[Budget], new: NewCharge, at_us: int) -> Money:
    """Take a charge's cost from every budget; the key's own pays. Returns the most that one of them could not."""
    tenant = budgets[0].tenant
    name = chart.services_name(new.supplier or new.kind.value)
    services, _ = await open_account(connection, tenant, Opening(name, Code.services), at_us)
    used, _ = await open_account(connection, tenant, Opening(chart.used_name(Unit.usd, 0), Code.used), at_us)
    overages: list[Money] = []
    for place, budget in enumerate(budgets):
        target = used if place else services
        act = id_of("charge", tenant, new.charge_id, place)
        overages.append(await spend_from(connection, budget, (new.cost_nano, target), Reason.charge, act, at_us))
    return max(overages)


async def _place(connection: Connection, key: Key, new: NewCharge) -> _Place:
    """Return the run, the call and the tags of a charge: those of its call, where it has one."""
    if not new.call:
        return _Place(new.run, None, key.tags | new.tags)
    call = await own_call(connection, key, new.call, new.run)
    tags: dict[str, Any] = msgspec.json.decode(call.tags) if call.tags else {}
    return _Place(call.run, call.call_id, key.tags | tags | new.tags)
