"""Keep alerts: look at the budgets that changed, write down what is to be told, and how the telling goes.

Looking and writing down is one transaction that only one process is in at a time; an alert's delivery is written with
it, so that what was found is told even if the process dies at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final
from urllib.parse import unquote

import asyncpg
import msgspec

from bursar.budgets.alerts import (
    Alert,
    AlertKind,
    Details,
    Made,
    Standing,
    crossed,
    expected,
    find_alerts,
    is_used_up,
    percents_of,
)
from bursar.budgets.budget import Budget, base_id, period_at
from bursar.budgets.forecast import HORIZON_US, Forecast, Sample, is_forecast, sample_gap_us
from bursar.budgets.tree import Holder, Tree
from bursar.budgets.webhooks import Event
from bursar.core.times import DAY_US, SECOND_US, to_datetime
from bursar.ledger import chart
from bursar.store.database import Connection, load_statements
from bursar.store.holders import TENANT, BudgetState, budget_states, read_tree

_SQL: Final = load_statements("alerts")

_COMMIT_US: Final = 15 * SECOND_US
"""How much later than its time a change may be seen: it shows when its transaction has ended."""

_ENDED_US: Final = DAY_US
"""How long after its end a window is still looked at: calls settle in the window they began in."""

_OTHER_KINDS: Final = (
    AlertKind.price_divergence,
    AlertKind.price_stale,
    AlertKind.price_model,
    AlertKind.route_drift,
)
_TYPES: Final = {kind.value: kind.value.replace("_", ".", 1) for kind in _OTHER_KINDS}

ALERTS_MAX: Final = 1_000
"""How many are listed at most."""

_CHUNK: Final = 500
_MADE_US: Final = 32 * DAY_US
"""How far back alerts matter besides those of the same window: longer than any rolling window."""


class Delivery(msgspec.Struct, frozen=True):
    """Say how the telling of an alert went."""

    status: str  # waiting, delivered, given_up
    attempts: int
    next_at: str | None
    last_error: str


class ListedAlert(msgspec.Struct, frozen=True):
    """Be an alert with its delivery; null where no webhook was set when it was made."""

    alert: Event
    delivery: Delivery | None


class DueDelivery(msgspec.Struct, frozen=True):
    """Be a delivery to attempt now; `attempts` counts this one."""

    tenant: int
    alert_id: str
    attempts: int
    made_us: int
    event: Event


class _Window(msgspec.Struct, frozen=True):
    """Name a budget's window to look at, and a moment within it."""

    budget: Budget
    holder: Holder
    at_us: int


async def become_keeper(connection: Connection) -> bool:
    """Become the one that looks and tells, for as long as this connection lives; False while another is."""
    return await connection.fetchval(_SQL["become_keeper"]) is True


async def make_alerts(
    connection: Connection, now_us: int, before: Tree | None, url_sha256: bytes | None
) -> tuple[Tree, list[Alert]]:
    """Look at what changed and write down what is to be told, once. Returns the tree, and the new alerts.

    `before` is the tree of the last look: budgets on other terms are looked at too, all of them without one.
    """
    async with connection.transaction():
        await connection.execute(_SQL["lock"])
        clock = await connection.fetchrow(_SQL["looked"])
        assert clock is not None
        tree = await read_tree(connection)
        windows = list(_changed_terms(tree, before, now_us))
        if clock["looked_us"] is not None and any(holder.alerts_percent for holder in tree.holders.values()):
            ended_us = now_us - _ENDED_US
            rows = await connection.fetch(_SQL["changed_windows"], clock["looked_us"] - _COMMIT_US, ended_us)
            windows += _changed_windows(tree, rows, now_us)
        alerts: list[Alert] = []
        for some in _alike(windows):
            alerts += await _look_at(connection, tree, some, now_us)
        new = [alert for alert in alerts if await write_alert(connection, alert, url_sha256, now_us)]
        await connection.execute(_SQL["set_looked"], clock["now_us"])
    return tree, new


def _changed_terms(tree: Tree, before: Tree | None, now_us: int) -> Iterator[_Window]:
    """Name the current windows of budgets whose terms or percentages are other than before."""
    for holder in tree.holders.values():
        percents, old = percents_of(tree, holder.holder_id), None
        if before is not None and holder.holder_id in before.holders:
            old = before.holders[holder.holder_id].budgets, percents_of(before, holder.holder_id)
        if percents and old != (holder.budgets, percents):
            yield from (_Window(each, holder, now_us) for each in holder.budgets if is_used_up(each.terms))


def _changed_windows(tree: Tree, rows: Iterable[asyncpg.Record], now_us: int) -> Iterator[_Window]:
    """Name the windows behind accounts that changed, those of runs and tag values too."""
    budgets = {
        (budget.tenant, budget.budget_id): (budget, holder)
        for holder in tree.holders.values()
        if percents_of(tree, holder.holder_id)
        for budget in holder.budgets
        if is_used_up(budget.terms)
    }
    for row in rows:
        _, budget_id, period = row["name"].split(":", 2)
        found = budgets.get((row["tenant"], base_id(budget_id)))
        if found is None or budget_id.endswith(chart.OVERDRAFT):
            continue
        budget, holder = found
        suffix = budget_id.removeprefix(budget.budget_id)
        budget = msgspec.structs.replace(budget, budget_id=budget_id, holder=budget.holder + unquote(suffix))
        at_us = now_us if budget.terms.rolling or row["end_us"] > now_us else row["end_us"] - 1
        if budget.terms.rolling or period_at(budget.terms, at_us).name == period:
            yield _Window(budget, holder, at_us)


def _alike(windows: Iterable[_Window]) -> Iterator[list[_Window]]:
    """Group windows, each once, by tenant and moment: so many at a time as one question can be about."""
    once = {(each.budget.tenant, each.at_us, each.budget.budget_id): each for each in windows}
    for _, keys in groupby(sorted(once), key=lambda key: key[:2]):
        some = [once[key] for key in keys]
        for start in range(0, len(some), _CHUNK):
            yield some[start : start + _CHUNK]


async def _look_at(connection: Connection, tree: Tree, windows: Sequence[_Window], now_us: int) -> list[Alert]:
    """Find what is to be told about windows of one tenant and one moment."""
    tenant, at_us = windows[0].budget.tenant, windows[0].at_us
    states = await budget_states(connection, [each.budget for each in windows], at_us)
    ids, periods = [each.budget.budget_id for each in windows], list({state.period for state in states})
    made: dict[str, list[Made]] = {}
    for row in await connection.fetch(_SQL["made"], tenant, ids, periods, now_us - _MADE_US):
        told = Made(AlertKind(row["kind"]), row["number"], row["period"], row["at_us"], row["runs_out_us"])
        made.setdefault(row["budget_id"], []).append(told)
    sampled = {
        (row["budget_id"], row["period"]): row["at_us"]
        for row in await connection.fetch(_SQL["last_samples"], tenant, ids, periods)
    }
    alerts: list[Alert] = []
    for window, state in zip(windows, states, strict=True):
        budget, percents = window.budget, percents_of(tree, window.holder.holder_id)
        told = made.get(budget.budget_id, [])
        standing = _standing(window, state)
        last_us = sampled.get((budget.budget_id, state.period))
        due = _sample_due(standing, last_us, now_us)
        if due or crossed(standing, percents, told, now_us):
            standing = msgspec.structs.replace(standing, samples=await _samples(connection, standing, now_us))
        if due:
            await _add_sample(connection, standing, now_us)
        alerts += find_alerts(standing, percents, told, now_us)
    return alerts


def _standing(window: _Window, state: BudgetState) -> Standing:
    period = period_at(window.budget.terms, window.at_us)
    return Standing(window.budget, window.holder.kind, period, state.spent_nano, state.moved_nano)


def _sample_due(standing: Standing, last_us: int | None, now_us: int) -> bool:
    terms, period = standing.budget.terms, standing.period
    if not is_forecast(terms) or standing.spent_nano <= 0 or now_us >= period.end_us:
        return False
    return last_us is None or now_us - last_us >= sample_gap_us(terms, period)


async def _samples(connection: Connection, standing: Standing, now_us: int) -> tuple[Sample, ...]:
    budget = standing.budget
    where = (budget.tenant, budget.budget_id, standing.period.name, now_us - HORIZON_US)
    rows = await connection.fetch(_SQL["samples"], *where)
    return tuple(Sample(row["at_us"], row["spent_nano"]) for row in rows)


async def forecasts(connection: Connection, states: Sequence[BudgetState], now_us: int) -> dict[str, Forecast]:
    """Say when budgets of one tenant run out at their pace, by id: of those alerts are set for, where it is known."""
    standings = [
        Standing(state.budget, "", period_at(state.budget.terms, now_us), state.spent_nano, state.moved_nano)
        for state in states
        if is_forecast(state.budget.terms) and state.spent_nano > 0
    ]
    ids, periods = [each.budget.budget_id for each in standings], [each.period.name for each in standings]
    rows = await connection.fetch(_SQL["samples_of"], TENANT, ids, periods, now_us - HORIZON_US) if ids else []
    samples: dict[str, list[Sample]] = {}
    for row in rows:
        samples.setdefault(row["budget_id"], []).append(Sample(row["at_us"], row["spent_nano"]))
    found: dict[str, Forecast] = {}
    for each in standings:
        before = samples.get(each.budget.budget_id, [])
        told = expected(each, (*before, Sample(now_us, each.spent_nano))) if before else None
        if told is not None:
            found[each.budget.budget_id] = told
    return found


async def _add_sample(connection: Connection, standing: Standing, now_us: int) -> None:
    where = (standing.budget.tenant, standing.budget.budget_id, standing.period.name)
    await connection.execute(_SQL["add_sample"], *where, now_us, standing.spent_nano)
    await connection.execute(_SQL["forget_samples"], *where, now_us - HORIZON_US)


async def write_alert(connection: Connection, alert: Alert, url_sha256: bytes | None, now_us: int) -> bool:
    """Write an alert down, and that it is to be delivered; False where it was made before."""
    details = msgspec.json.encode(alert.details).decode()
    kind, times = (alert.kind.value, alert.number), (alert.at_us, alert.runs_out_us)
    ids = (alert.tenant, alert.alert_id, alert.budget_id, alert.period)
    if await connection.fetchval(_SQL["insert_alert"], *ids, *kind, *times, alert.text, details) is None:
        return False
    if url_sha256 is not None:
        await connection.execute(_SQL["insert_delivery"], alert.tenant, alert.alert_id, url_sha256, now_us)
    return True


async def readdress(connection: Connection, url_sha256: bytes, now_us: int) -> None:
    """Send what waits for another address to this one."""
    await connection.execute(_SQL["readdress"], url_sha256, now_us)


async def claim_deliveries(
    connection: Connection, url_sha256: bytes, now_us: int, until_us: int, count: int
) -> list[DueDelivery]:
    """Take deliveries that are due; nobody else takes them before `until_us`."""
    rows = await connection.fetch(_SQL["claim"], url_sha256, now_us, count, until_us)
    return [DueDelivery(row["tenant"], row["alert_id"], row["attempts"], row["at_us"], _event(row)) for row in rows]


async def settle_delivery(
    connection: Connection, delivery: DueDelivery, error: str, next_us: int | None, now_us: int
) -> None:
    """Write down how an attempt ended: delivered where there is no error, else to be tried again, or given up."""
    status = "delivered" if not error else "given_up" if next_us is None else "waiting"
    ids = (delivery.tenant, delivery.alert_id, delivery.attempts)
    ended_us = None if status == "waiting" else now_us
    await connection.execute(_SQL["settle"], *ids, status, next_us or now_us, error, ended_us)


async def recent_alerts(connection: Connection, limit: int) -> list[ListedAlert]:
    """List the latest alerts, the newest first."""
    return [_listed(row) for row in await connection.fetch(_SQL["recent"], TENANT, limit)]


def _listed(row: asyncpg.Record) -> ListedAlert:
    if row["status"] is None:
        return ListedAlert(_event(row), None)
    next_at = _iso(row["next_us"]) if row["status"] == "waiting" else None
    return ListedAlert(_event(row), Delivery(row["status"], row["attempts"], next_at, row["last_error"]))


def _event(row: asyncpg.Record) -> Event:
    details = msgspec.json.decode(row["details"], type=Details)
    return Event(
        row["alert_id"],
        _TYPES.get(row["kind"], f"budget.{row['kind']}"),
        row["tenant"],
        **msgspec.structs.asdict(details),
        window=row["period"],
        runs_out_at=_iso(row["runs_out_us"]) if row["runs_out_us"] is not None else None,
        text=row["text"],
        at=_iso(row["at_us"]),
    )


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat(timespec="seconds")
