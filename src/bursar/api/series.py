"""Answer what was spent, used and waited for over time, by group."""

from typing import Annotated, Final

from litestar import get
from litestar.di import Provide
from litestar.exceptions import ClientException, ServiceUnavailableException
from litestar.params import Parameter

from bursar.api.answers import now_us
from bursar.api.shapes.series import (
    Latency,
    LatencyView,
    Percentiles,
    SpentGroup,
    SpentView,
    TokensOfKind,
    TokensView,
)
from bursar.core.money import nano_to_usd
from bursar.core.spans import Grain, part_starts, usual_grain
from bursar.core.times import DAY_US, day_start_us, moment_from_text, to_datetime
from bursar.core.usage import INPUT_LEAVES, OUTPUT_LEAVES
from bursar.core.words import is_word
from bursar.store.database import Connection, Pool, borrow
from bursar.store.reports import totals
from bursar.store.series import Grouping, Part, Span, Waited, latency_series, spent_series, token_series

GROUPS_MAX: Final = 50
GROUPS: Final = 8
DAYS: Final = 30
BY: Final = ("model", "key", "account", "provider")
_TAG: Final = "tag:"
_LEAVES: Final = (*INPUT_LEAVES, *OUTPUT_LEAVES)

Since = Annotated[str | None, Parameter(description="A date or moment; 30 days before its end without.")]
Until = Annotated[str | None, Parameter(description="A date (included) or moment; now without.")]
By = Annotated[str, Parameter(description="model, key, account (what a key is a part of), provider or tag:NAME.")]
GrainAsked = Annotated[Grain | None, Parameter(description="How long each part is; what suits the span without.")]
Groups = Annotated[int, Parameter(ge=1, le=GROUPS_MAX, description="How many groups are told apart.")]


class Window:
    """Hold a span, the grain of its parts and their names."""

    def __init__(self, since: str | None, until: str | None, grain: Grain | None, now: int) -> None:
        self.until_us = _moment("until", until, ends=True) if until else now
        self.from_us = _moment("since", since) if since else _days_before(self.until_us)
        if self.until_us <= self.from_us:
            raise ClientException("since: expected a moment before until")
        self.grain = grain or usual_grain(self.until_us - self.from_us)
        try:
            starts = part_starts(self.from_us, self.until_us, self.grain)
        except (ValueError, OverflowError) as error:
            raise ClientException(f"grain: {error}") from None
        self.span = Span(self.from_us, self.until_us, starts)
        self.times = [_text(each) for each in starts]
        self.since, self.until = to_datetime(self.from_us).isoformat(), to_datetime(self.until_us).isoformat()

    @property
    def before_us(self) -> int:
        """Return the moment at which as long a time before begins."""
        return max(2 * self.from_us - self.until_us, 0)


def read_window(since: Since = None, until: Until = None, grain: GrainAsked = None) -> Window:
    """Read a span that ends now where nobody says otherwise. Raises the answer to what cannot be."""
    return Window(since, until, grain, now_us())


def read_grouping(by: By = "model", groups: Groups = GROUPS) -> Grouping:
    """Read what is grouped by. Raises the answer to what cannot be."""
    tag = by.removeprefix(_TAG) if by.startswith(_TAG) else ""
    if tag and is_word(tag):
        return Grouping("tag", tag, groups)
    if by not in BY:
        raise ClientException(f"by: expected {', '.join(BY)} or tag:NAME, got {by[:64]!r}", extra={"param": "by"})
    return Grouping(by, groups_max=groups)


_WINDOW: Final = {"window": Provide(read_window, sync_to_thread=False)}
_GROUPED: Final = {**_WINDOW, "grouping": Provide(read_grouping, sync_to_thread=False)}


@get(
    "/api/series/spend",
    summary="What was spent over time, by group",
    raises=[ServiceUnavailableException],
    dependencies=_GROUPED,
)
async def spend(pool: Pool, window: Window, grouping: Grouping) -> SpentView:
    """Read what was spent."""
    async with borrow(pool) as connection:
        return await read_spent(connection, window, grouping)


@get(
    "/api/series/tokens",
    summary="Tokens used over time, by kind",
    raises=[ServiceUnavailableException],
    dependencies=_WINDOW,
)
async def tokens(pool: Pool, window: Window) -> TokensView:
    """Read what was used."""
    async with borrow(pool) as connection:
        return await read_tokens(connection, window)


@get(
    "/api/series/latency",
    summary="How long answered calls took over time, and streams to their first token, by group",
    raises=[ServiceUnavailableException],
    dependencies=_GROUPED,
)
async def latency(pool: Pool, window: Window, grouping: Grouping) -> LatencyView:
    """Read how long calls took."""
    async with borrow(pool) as connection:
        return await read_latency(connection, window, grouping)


SERIES: Final = [spend, tokens, latency]


async def read_spent(connection: Connection, window: Window, grouping: Grouping) -> SpentView:
    """Read what was spent, and how much that is against as long a time before."""
    try:
        parts = await spent_series(connection, window.span, grouping)
        before = (await totals(connection, window.before_us, window.from_us)).cost_nano
    except TimeoutError:
        raise _too_much() from None
    width = len(window.times)
    total, costs = sum(part.cost_nano for part in parts), [0] * width
    for part in parts:
        costs[part.place] += part.cost_nano
    ranks = sorted({part.rank for part in parts}, key=lambda rank: (rank == 0, rank))
    told_apart = sum(rank > 0 for rank in ranks)
    shown = [_spent_group([part for part in parts if part.rank == rank], width, total, told_apart) for rank in ranks]
    return SpentView(
        window.since,
        window.until,
        str(window.grain),
        _TAG + grouping.tag if grouping.tag else grouping.by,
        window.times,
        sum(part.calls for part in parts),
        nano_to_usd(total),
        [nano_to_usd(each) for each in costs],
        _text(window.before_us),
        nano_to_usd(before),
        round((total - before) / before, 4) if before else None,
        shown,
    )


def _spent_group(parts: list[Part], width: int, total: int, told_apart: int) -> SpentGroup:
    first, costs = parts[0], [0] * width
    for part in parts:
        costs[part.place] += part.cost_nano
    cost, calls, used = (sum(getattr(part, name) for part in parts) for name in ("cost_nano", "calls", "tokens"))
    share = round(cost / total, 6) if total else 0.0  # a float to be read, never counted with
    groups = first.groups - told_apart if first.rank == 0 else 1
    which = "others" if first.rank == 0 else "named" if first.name else "none"
    texts = [nano_to_usd(each) for each in costs]
    return SpentGroup(first.name, which, groups, calls, used, nano_to_usd(cost), share, texts)


async def read_tokens(connection: Connection, window: Window) -> TokensView:
    """Read what was used, by kind."""
    try:
        found = await token_series(connection, window.span)
    except TimeoutError:
        raise _too_much() from None
    total = sum(number for _, _, number in found)
    kinds: list[TokensOfKind] = []
    for kind in sorted({kind for _, kind, _ in found}, key=_leaf_place):
        counts = [0] * len(window.times)
        for place, leaf, number in found:
            if leaf == kind:
                counts[place] = number
        kinds.append(TokensOfKind(kind, sum(counts), round(sum(counts) / total, 6), counts))
    return TokensView(window.since, window.until, str(window.grain), window.times, total, kinds)


async def read_latency(connection: Connection, window: Window, grouping: Grouping) -> LatencyView:
    """Read how long calls took."""
    try:
        found = await latency_series(connection, window.span, grouping)
    except TimeoutError:
        raise _too_much() from None
    shown = [
        _latency([each for each in found if each.rank == rank], len(window.times))
        for rank in sorted({each.rank for each in found})
    ]
    return LatencyView(
        window.since,
        window.until,
        str(window.grain),
        _TAG + grouping.tag if grouping.tag else grouping.by,
        window.times,
        shown[0] if shown else None,
        shown[1:],
    )


def _latency(rows: list[Waited], width: int) -> Latency:
    whole = next(each for each in rows if each.place < 0)
    parts = [each for each in rows if each.place >= 0]
    which = "all" if whole.rank == 0 else "named" if whole.name else "none"
    return Latency(
        whole.name,
        which,
        whole.calls,
        whole.streams,
        _rounded(whole.took_ms),
        _rounded(whole.ttft_ms) if whole.ttft_ms else None,
        _over_time({each.place: each.took_ms for each in parts}, width),
        _over_time({each.place: each.ttft_ms for each in parts if each.ttft_ms}, width),
    )


def _over_time(by_place: dict[int, list[float]], width: int) -> Percentiles:
    lists = [[round(by_place[place][n], 1) if place in by_place else None for place in range(width)] for n in range(3)]
    return Percentiles(*lists)


def _rounded(durations_ms: list[float]) -> list[float]:
    return [round(each, 1) for each in durations_ms]


def _leaf_place(kind: str) -> int:
    return _LEAVES.index(kind) if kind in _LEAVES else len(_LEAVES)


def _moment(name: str, text: str, *, ends: bool = False) -> int:
    try:
        return moment_from_text(text) + (DAY_US if ends and len(text) == 10 else 0)
    except ValueError as error:
        raise ClientException(f"{name}: {error}", extra={"param": name}) from None


def _days_before(until_us: int) -> int:
    """Return the first moment of the day with which `DAYS` days end; that of an end at midnight is the day before."""
    return max(day_start_us(to_datetime(until_us - 1).date()) - (DAYS - 1) * DAY_US, 0)


def _text(at_us: int) -> str:
    return to_datetime(at_us).isoformat(timespec="seconds")


def _too_much() -> ServiceUnavailableException:
    return ServiceUnavailableException("this takes too long to read: ask for a shorter time")
