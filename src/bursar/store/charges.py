"""Book work that is no model call (retrieval, tools, safety checks, a person's minutes) to a key, a call or a run.

It has happened already, so it is always booked: what its budgets cannot pay is overage, and the next lease repays it.
"""

from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest, Conflict, Forbidden, NotFound
from bursar.core.ids import call_id_from_name
from bursar.core.money import Money
from bursar.ledger import chart
from bursar.ledger.chart import Code, Unit
from bursar.ledger.transfer import Reason
from bursar.store.accounts import Opening, open_account
from bursar.store.database import Connection, load_statements
from bursar.store.keys import Key
from bursar.store.leases import id_of, lock_control, spend_from

_SQL: Final = load_statements("charges")

ID_CHARS_MAX: Final = 128


class ChargeKind(StrEnum):
    """Name the kinds of work."""

    retrieval = "retrieval"
    tool = "tool"
    safety = "safety"
    logging = "logging"
    person = "person"
    other = "other"


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


async def charge(connection: Connection, key: Key, new: NewCharge, at_us: int) -> Charged:
    """Book a charge to a key's budgets, in one transaction.

    Raises `Conflict` for an id that had other content, `NotFound` for a call that is not in the books, `Forbidden` for
    one of another key.
    """
    if not new.charge_id or len(new.charge_id) > ID_CHARS_MAX or not new.charge_id.isprintable():
        raise BadRequest(f"id: expected 1 to {ID_CHARS_MAX} printable characters", param="id")
    content = sha256(msgspec.json.encode((key.key_id, new), order="deterministic")).digest()
    async with connection.transaction():
        await lock_control(connection, key.tenant)
        run, tags, call_id = await _place(connection, key, new)
        claim = key.path.find(run, "", key.tags | tags | new.tags)
        holders = tuple(dict.fromkeys(budget.holder for budget in claim.budgets if budget.terms.unit is Unit.usd))
        before = await connection.fetchrow(_SQL["find"], key.tenant, new.charge_id)
        if before is not None:
            if before["content"] != content:
                raise Conflict(f"charge {new.charge_id!r} was booked with other content", code="charge_conflict")
            return Charged(new.charge_id, before["cost_nano"], before["overage_nano"], holders, again=True)
        name = chart.services_name(new.supplier or new.kind.value)
        services, _ = await open_account(connection, key.tenant, Opening(name, Code.services), at_us)
        used, _ = await open_account(connection, key.tenant, Opening(chart.used_name(Unit.usd, 0), Code.used), at_us)
        overages: list[Money] = []
        for place, budget in enumerate(budget for budget in claim.budgets if budget.terms.unit is Unit.usd):
            target = services if place == 0 else used
            act = id_of("charge", key.tenant, new.charge_id, place)
            overages.append(await spend_from(connection, budget, (new.cost_nano, target), Reason.charge, act, at_us))
        await connection.execute(
            _SQL["insert"],
            key.tenant,
            new.charge_id,
            key.key_id,
            run,
            call_id,
            new.kind.value,
            new.supplier,
            new.description,
            new.quantity,
            msgspec.json.encode(tags | new.tags).decode(),
            new.cost_nano,
            max(overages),
            at_us,
            content,
        )
    return Charged(new.charge_id, new.cost_nano, max(overages), holders)


async def _place(connection: Connection, key: Key, new: NewCharge) -> tuple[str, dict[str, str], bytes | None]:
    """Return the run, the tags and the call a charge belongs to."""
    if not new.call:
        return new.run, {}, None
    try:
        call_id = call_id_from_name(new.call)
    except ValueError as error:
        raise BadRequest(f"call: {error}", param="call") from None
    row = await connection.fetchrow(_SQL["call"], key.tenant, call_id)
    if row is None:
        raise NotFound(f"no call {new.call} in the books yet: it shows a moment after it has ended", param="call")
    if row["key_id"] != key.key_id:
        raise Forbidden(f"{new.call} was made with another key", param="call")
    if new.run and row["run"] != new.run:
        raise BadRequest(f"run: {new.call} is of run {row['run']!r}", param="run")
    tags: dict[str, Any] = msgspec.json.decode(row["tags"]) if row["tags"] else {}
    return row["run"], tags, call_id
