"""Draw charts on the server: Altair's specification, made an SVG by vl-convert, in the page's own colours and fonts.

Colours are variables of the style sheet, so one picture serves light and dark. Marks say their figures to the pointer.
"""

import asyncio
import re
from collections import OrderedDict
from enum import StrEnum
from typing import Any, Final, Literal

import msgspec
from markupsafe import Markup

WIDE: Final = 1_040
NARROW: Final = 326
_KEPT_MAX: Final = 200
_HEIGHT: Final = {WIDE: 230, NARROW: 190}
_GAP: Final = 0.08
_TICK: Final = {WIDE: 100, NARROW: 78}
_AXIS_TEXT: Final = 12
_AXIS_WIDTH: Final = 56
_MARK: Final = re.compile(r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="[^"]*"([^>]*)/>')
_NOT_SHOWN: Final = re.compile(r' (?:role|aria-[a-z]+)="[^"]*"')


class Unit(StrEnum):
    """Name what a chart's values are in."""

    usd = "usd"
    tokens = "tokens"
    ms = "ms"


class Drawn(msgspec.Struct, frozen=True):
    """Be one series: the colour's name in the style sheet, a value for each part and what is said of it."""

    colour: str
    values: tuple[float | None, ...]
    texts: tuple[str, ...]


class Chart(msgspec.Struct, frozen=True):
    """Describe a chart. `starts_ms` has the beginning of each part and the end of the last, Unix milliseconds."""

    form: Literal["bars", "lines"]
    unit: Unit
    starts_ms: tuple[int, ...]
    series: tuple[Drawn, ...]


class Charts:
    """Draw charts one at a time, apart from the event loop, and keep the latest."""

    def __init__(self) -> None:
        self._drawn: OrderedDict[tuple[Chart, int], Markup] = OrderedDict()
        self._turn = asyncio.Lock()

    async def draw(self, chart: Chart) -> dict[str, Markup]:
        """Return a chart as SVG, for a wide page and for a narrow one."""
        return {name: await self._one(chart, width) for name, width in (("wide", WIDE), ("narrow", NARROW))}

    async def _one(self, chart: Chart, width: int) -> Markup:
        async with self._turn:
            found = self._drawn.get((chart, width))
            if found is None:
                found = await asyncio.to_thread(_svg, chart, width)
                self._drawn[chart, width] = found
                if len(self._drawn) > _KEPT_MAX:
                    self._drawn.popitem(last=False)
            self._drawn.move_to_end((chart, width))
        return found


def _svg(chart: Chart, width: int) -> Markup:
    """Draw one chart. What draws is loaded with the first: it takes memory no house needs that nobody looks at."""
    import altair as alt
    import vl_convert

    spec = _specification(alt, chart, width)
    text = vl_convert.vegalite_to_svg(spec)
    text = _MARK.sub(r"\2><title>\1</title></path>", text)
    # The picture is one image with a text of its own: its parts are read to nobody.
    return Markup(_NOT_SHOWN.sub("", text).replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1))  # noqa: S704 - Vega escapes what it writes


def _specification(altair: Any, chart: Chart, width: int) -> dict[str, Any]:
    colours = list(dict.fromkeys(each.colour for each in chart.series))
    shades = altair.Scale(domain=colours, range=[f"var(--{each})" for each in colours])
    ends = altair.Scale(type="utc", domain=[chart.starts_ms[0], chart.starts_ms[-1]])
    rows = _values(chart)
    axis = _y_axis(altair, chart.unit, max((row["high"] or 0.0 for row in rows), default=0.0))
    where = {
        "x": altair.X("from:T", title=None, scale=ends, axis=_x_axis(altair, chart, width)),
        "y": altair.Y("high:Q", title=None, axis=axis, scale=altair.Scale(zero=True)),
        "color": altair.Color("colour:N", scale=shades, legend=None),
    }
    said = altair.Description("text:N")
    data = altair.Chart(altair.NamedData("values"), width=width - _AXIS_WIDTH, height=_HEIGHT[width])
    if chart.form == "bars":
        bars = data.mark_rect(stroke="var(--card)", strokeWidth=0.6)
        drawn = bars.encode(x2="to:T", y2="low:Q", description=said, **where)
    else:
        lines = data.mark_line(strokeWidth=2, aria=False).encode(**where)
        drawn = lines + data.mark_circle(size=22, opacity=1).encode(description=said, **where)
    rule = dict.fromkeys(("gridColor", "domainColor", "tickColor"), "var(--rule)")
    styled = drawn.configure(background="transparent", font="inherit", padding=2).configure_view(stroke=None)
    styled = styled.configure_axis(labelColor="var(--soft)", labelFontSize=_AXIS_TEXT, **rule)
    return {**styled.to_dict(validate=False), "datasets": {"values": rows}}


def _values(chart: Chart) -> list[dict[str, Any]]:
    """Return a row for each mark: bars stand on one another, points stand in the middle of their part."""
    rows: list[dict[str, Any]] = []
    bars, tops = chart.form == "bars", [0.0] * len(chart.starts_ms)
    for each in reversed(chart.series) if bars else chart.series:
        for place, value in enumerate(each.values):
            if bars and not value:
                continue
            start, width = chart.starts_ms[place], chart.starts_ms[place + 1] - chart.starts_ms[place]
            low = tops[place]
            high = value if value is None else low + value
            left = start + width * (_GAP if bars else 0.5)
            row = {"from": left, "to": start + width * (1 - _GAP), "low": low, "high": high}
            rows.append(row | {"colour": each.colour, "text": each.texts[place]})
            if bars and high is not None:
                tops[place] = high
    return rows


def _y_axis(altair: Any, unit: Unit, top: float) -> Any:
    if unit is Unit.ms:
        text = "format(datum.value / 1000, '~r') + ' s'" if top >= 1_000 else "format(datum.value, '~r') + ' ms'"
    elif unit is Unit.tokens:
        text = "replace(format(datum.value, '~s'), 'G', 'B')"
    else:
        text = f"format(datum.value, '{_money_format(top)}')"
    return altair.Axis(
        labelExpr=text, tickCount=4, domain=False, ticks=False, labelPadding=6, minExtent=46, maxExtent=46
    )


def _money_format(top: float) -> str:
    """Return how an axis writes USD: with the decimals that tell its four ticks apart."""
    if top >= 10_000:
        return "$~s"
    decimals = next((count for count, least in ((0, 8), (1, 2), (2, 0.08), (3, 0.008), (4, 0.0008)) if top >= least), 6)
    return f"$,.{decimals}f"


def _x_axis(altair: Any, chart: Chart, width: int) -> Any:
    days = (chart.starts_ms[-1] - chart.starts_ms[0]) / 86_400_000
    text = "%H:%M" if days <= 2.1 else "%b %Y" if days > 400 else "%-d %b"
    return altair.Axis(format=text, tickCount=width // _TICK[width], grid=False, labelFlush=True, labelOverlap=True)
