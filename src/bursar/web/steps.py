"""Draw how a price went as a line of steps, for the eye: the table beside it has the figures."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from bursar.api.shapes.prices import StepView
from bursar.core.times import moment_from_text

WIDTH: Final = 600
HEIGHT: Final = 110
_BEFORE: Final = 0.12
"""Of the width, what came before the first day that is known: when that began nobody says."""

DRAWN: Final = ("input", "output")


class Line(msgspec.Struct, frozen=True):
    """Be one unit's line as an SVG path, and the largest rate of all lines, which is at the top."""

    unit: str
    path: str


def price_steps(history: Sequence[StepView], now_us: int) -> list[Line]:
    """Return the lines of input and output up to now, on one scale from nothing; none where nothing has changed."""
    days = [moment_from_text(step.since) for step in history if step.since is not None]
    begun = [day for day in days if day <= now_us]
    if len(history) < 2 or not begun:
        return []
    rates = [step.usd_per_million for step in history]
    most = max((Decimal(each[unit]) for each in rates for unit in DRAWN if unit in each), default=Decimal(0))
    first, width = min(begun), max(1, now_us - min(begun))
    places = [
        0.0
        if step.since is None
        else WIDTH * (_BEFORE + (1 - _BEFORE) * (moment_from_text(step.since) - first) / width)
        for step in history
    ]
    ends = [*places[1:], float(WIDTH)]
    lines: list[Line] = []
    for unit in DRAWN if most else ():
        parts: list[str] = []
        for start, end, each in zip(places, ends, rates, strict=True):
            if unit in each and start < WIDTH:
                height = 2 + (HEIGHT - 4) * (1 - float(Decimal(each[unit]) / most))
                joined = "L" if parts else "M"
                parts.append(f"{joined}{start:.1f} {height:.1f}H{min(end, WIDTH):.1f}")
        lines += [Line(unit, "".join(parts))] if parts else []
    return lines
