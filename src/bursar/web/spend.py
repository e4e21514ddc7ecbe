"""Lay out the page of spend: what can be chosen, what is drawn, and the same in words."""

from datetime import timedelta
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlencode

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.params import Parameter

from bursar.api.answers import now_us
from bursar.api.series import BY, DAYS, Window, read_grouping, read_latency, read_spent, read_tokens
from bursar.api.shapes.series import Latency, LatencyView, SpentGroup, SpentView, TokensView
from bursar.core.spans import PARTS_MAX, Grain
from bursar.core.times import DAY_US, HOUR_US, to_datetime
from bursar.store.database import Pool, borrow
from bursar.store.series import tag_names
from bursar.web.charts import Chart, Charts, Drawn, Unit
from bursar.web.format import count, milliseconds, usd
from bursar.web.pages import SLOW_MS, Page, Pages, respond

PERIODS: Final = ((1, "24 hours"), (7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "12 months"))
_PERCENTILES: Final = ("p50", "p95", "p99")
_GRAIN_US: Final = {"minute": HOUR_US // 60, "hour": HOUR_US, "day": DAY_US, "week": 7 * DAY_US, "month": 28 * DAY_US}
_KINDS: Final = {
    "input_tokens": "fresh input",
    "cache_read_tokens": "cache read",
    "cache_write_5m_tokens": "cache write, 5 minutes",
    "cache_write_1h_tokens": "cache write, 1 hour",
    "output_tokens": "visible output",
    "reasoning_tokens": "reasoning",
}


class Choice(NamedTuple):
    """Be one of several that a reader can choose."""

    text: str
    href: str
    chosen: bool


class Asked(NamedTuple):
    """Hold what a reader has asked the page for."""

    by: str
    days: int | None
    since: str | None
    until: str | None
    grain: Grain | None

    def window(self, now_us: int) -> Window:
        """Return the span that is shown."""
        since = self.since
        if since is None and self.until is None and self.days is not None:
            since = _since(self.days, now_us)
        return Window(since, self.until, self.grain, now_us)

    def href(self, **changes: Any) -> str:
        """Return the address of this page with something else asked for."""
        values = {**self._asdict(), **changes}
        return "/spend?" + urlencode({name: str(value) for name, value in values.items() if value is not None})


def _since(days: int, now_us: int) -> str:
    """Return when so many days begin, today's included; a single one is the last 24 hours."""
    now = to_datetime(now_us)
    if days == 1:
        return _moment(now_us - DAY_US)[:14] + "00Z"
    return (now.date() - timedelta(days=days - 1)).isoformat()


def read_asked(
    by: str = "model",
    days: Annotated[int | None, Parameter(ge=1, le=3_660)] = None,
    since: str | None = None,
    until: str | None = None,
    grain: Grain | None = None,
) -> Asked:
    """Read what a reader has asked the page for, as the framework finds it in the address."""
    return Asked(by, DAYS if days is None and since is None and until is None else days, since, until, grain)


@get(
    "/spend",
    include_in_schema=False,
    media_type=MediaType.HTML,
    dependencies={"asked": Provide(read_asked, sync_to_thread=False)},
)
async def spend_page(
    request: Request[Any, Any, Any], pool: Pool, pages: Pages, state: State, asked: Asked
) -> Response[str]:
    """Show what was spent, used and waited for over time."""
    values = await spend_values(pool, state.charts, asked, now_us())
    query = urlencode({"by": asked.by, **values.pop("ends")})
    page = Page("spend.html", "Spend · Bursar", f"/api/series/spend?{query}", SLOW_MS)
    return respond(pages, request, page, **values)


class Column(NamedTuple):
    """Be a column of numbers below a chart."""

    name: str
    texts: list[str]


async def spend_values(pool: Pool, charts: Charts, asked: Asked, now_us: int) -> dict[str, Any]:
    """Read and draw what the page shows. Raises the answer to what cannot be asked."""
    window, grouping = asked.window(now_us), read_grouping(asked.by)
    async with borrow(pool) as connection:
        spent = await read_spent(connection, window, grouping)
        tokens = await read_tokens(connection, window)
        latency = await read_latency(connection, window, grouping)
        tags = await tag_names(connection, window.span)
    starts = starts_ms(window)
    drawn = {
        "spend": spent_chart(spent, starts),
        "tokens": tokens_chart(tokens, starts),
        "took": latency_chart(latency, starts, first_token=False),
        "ttft": latency_chart(latency, starts, first_token=True),
    }
    return {
        "ends": {"since": spent.since, "until": spent.until, "grain": spent.grain},
        "spent": spent,
        "tokens": tokens,
        "latency": latency,
        "groups": list(zip(spent.groups, colours(spent.groups), strict=True)),
        "choices": choices(asked, window, tags),
        "words": in_words(spent, tokens, latency),
        "columns": columns(spent, tokens, latency),
        "svg": {name: await charts.draw(each) if each and each.series else None for name, each in drawn.items()},
    }


def columns(spent: SpentView, tokens: TokensView, latency: LatencyView) -> dict[str, list[Column]]:
    """Return the numbers of each chart."""
    waited = latency.all.over_time if latency.all else None
    lists = zip(_PERCENTILES, (waited.p50, waited.p95, waited.p99), strict=True) if waited else ()
    return {
        "spend": [
            *(Column(group_name(each, spent.by), each.costs_usd) for each in spent.groups),
            Column("all", spent.costs_usd),
        ],
        "tokens": [Column(kind_name(each.kind), [f"{number:,}" for number in each.counts]) for each in tokens.kinds],
        "latency": [Column(name, [milliseconds(each) for each in values]) for name, values in lists],
    }


def choices(asked: Asked, window: Window, tags: list[str]) -> dict[str, list[Choice]]:
    """Return what else can be asked for, by what it changes."""
    length_us = window.until_us - window.from_us
    grouped = [*BY, *(f"tag:{name}" for name in tags)]
    if asked.by not in grouped:
        grouped.append(asked.by)
    grains = [each for each in Grain if 1 < length_us / _GRAIN_US[each] <= PARTS_MAX]
    earlier = {"days": None, "since": _moment(max(window.before_us, 0)), "until": _moment(window.from_us)}
    later = {"days": None, "since": _moment(window.until_us), "until": _moment(window.until_us + length_us)}
    periods = [
        Choice(
            text, asked.href(days=days, since=None, until=None, grain=None), asked.days == days and asked.since is None
        )
        for days, text in PERIODS
    ]
    periods.append(Choice("earlier", asked.href(**earlier), chosen=False))
    if asked.until is not None:
        periods.append(Choice("later", asked.href(**later), chosen=False))
    return {
        "by": [Choice(each.replace("tag:", "tag "), asked.href(by=each), each == asked.by) for each in grouped],
        "period": periods,
        "in": [Choice(each, asked.href(grain=each), each is window.grain) for each in grains],
    }


def group_name(group: SpentGroup | Latency, by: str) -> str:
    """Name a group for people."""
    if group.which == "others" and isinstance(group, SpentGroup):
        return f"{group.groups} others"
    if group.which == "none":
        return f"without {by.partition(':')[2] or by}" if by != "account" else "in no account"
    return group.name


def colours(groups: list[SpentGroup]) -> list[str]:
    """Return a colour for each group: one for each that is told apart, grey for the others."""
    return ["s-rest" if group.which == "others" else f"s-{place}" for place, group in enumerate(groups)]


def spent_chart(spent: SpentView, starts_ms: tuple[int, ...]) -> Chart:
    """Stack what groups have spent."""
    series = tuple(
        Drawn(
            colour,
            tuple(float(each) for each in group.costs_usd),  # floats of a picture: the table is exact
            tuple(
                f"{_when(at)}  {group_name(group, spent.by)}: ${cost}"
                for at, cost in zip(spent.times, group.costs_usd, strict=True)
            ),
        )
        for group, colour in zip(spent.groups, colours(spent.groups), strict=True)
    )
    return Chart("bars", Unit.usd, starts_ms, series)


def tokens_chart(tokens: TokensView, starts_ms: tuple[int, ...]) -> Chart:
    """Stack tokens by kind."""
    series = tuple(
        Drawn(
            kind_colour(place),
            tuple(each.counts),
            tuple(
                f"{_when(at)}  {kind_name(each.kind)}: {number:,}"
                for at, number in zip(tokens.times, each.counts, strict=True)
            ),
        )
        for place, each in enumerate(tokens.kinds)
    )
    return Chart("bars", Unit.tokens, starts_ms, series)


def kind_colour(place: int) -> str:
    """Return the colour of a kind of token."""
    return f"s-{place}" if place < 8 else "s-rest"


def kind_name(kind: str) -> str:
    """Name a kind of token for people: a leaf's own words where it has no shorter name."""
    return _KINDS.get(kind) or kind.removesuffix("_tokens").replace("_", " ")


def latency_chart(latency: LatencyView, starts_ms: tuple[int, ...], *, first_token: bool) -> Chart | None:
    """Draw how long calls took, or streams to their first token; None where there is nothing to draw."""
    found = latency.all
    if found is None or (first_token and not found.streams):
        return None
    over_time = found.ttft_over_time if first_token else found.over_time
    series = tuple(
        Drawn(
            f"s-{place}",
            tuple(values),
            tuple(
                f"{_when(at)}  {name}: {milliseconds(value)}" for at, value in zip(latency.times, values, strict=True)
            ),
        )
        for place, (name, values) in enumerate(
            zip(_PERCENTILES, (over_time.p50, over_time.p95, over_time.p99), strict=True)
        )
    )
    return Chart("lines", Unit.ms, starts_ms, series)


def starts_ms(window: Window) -> tuple[int, ...]:
    """Return the moments at which parts begin, and the end of the last, which is as long as that before it."""
    starts = [each // 1_000 for each in window.span.starts_us]
    last = starts[-1] - starts[-2] if len(starts) > 1 else _GRAIN_US[window.grain] // 1_000
    return (*starts, starts[-1] + last)


def in_words(spent: SpentView, tokens: TokensView, latency: LatencyView) -> dict[str, str]:
    """Say what each chart shows, for whoever does not see it."""
    said = {"spend": f"Spent in each {spent.grain}, USD: {usd(spent.cost_usd)} in all"}
    if spent.groups:
        peak = max(range(len(spent.times)), key=lambda place: float(spent.costs_usd[place]))  # to find the highest bar
        said["spend"] += f", most in {_when(spent.times[peak])} with {usd(spent.costs_usd[peak])}; " + ", ".join(
            f"{group_name(group, spent.by)} {group.share:.0%}" for group in spent.groups[:4]
        )
    kinds = ", ".join(f"{kind_name(each.kind)} {each.share:.0%}" for each in tokens.kinds[:6])
    said["tokens"] = f"Tokens in each {tokens.grain} by kind: {count(tokens.tokens)} in all; {kinds}"
    for name, lists in (("took", latency.all and latency.all.took_ms), ("ttft", latency.all and latency.all.ttft_ms)):
        what = "How long calls took" if name == "took" else "Time to the first token of streams"
        figures = ", ".join(
            f"{label} {milliseconds(each)}" for label, each in zip(_PERCENTILES, lists or (), strict=False)
        )
        said[name] = f"{what} in each {latency.grain}; over the whole time {figures}"
    return said


def _when(time: str) -> str:
    return time[:10] if time[11:16] == "00:00" else time[:16].replace("T", " ")


def _moment(at_us: int) -> str:
    return to_datetime(at_us).strftime("%Y-%m-%dT%H:%M:%SZ")
