"""Say when a budget runs out at the pace it is spent at, and how sure that is.

Three paces are measured: of the recent past, and of the recent past and the whole window without their busiest and
their quietest eighth. The middle one counts: a single burst is no pace, spending that has ceased is none any more, and
spending that has grown counts before the window's average shows it. The slowest and the fastest say how sure it is.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec

from bursar.budgets.budget import Period, Terms, Window
from bursar.core.money import Money, div_ceil
from bursar.core.times import DAY_US, FOREVER_US

HORIZON_US: Final = 90 * DAY_US
"""How far ahead a budget without a window is looked at."""

_RECENT_US: Final = 7 * DAY_US  # weekdays and weekends alike
_PIECES: Final = 8
_SAMPLES: Final = 32  # of the recent past
_LONG: Final = frozenset((Window.day, Window.week, Window.month, Window.total))


class Sample(msgspec.Struct, frozen=True):
    """Hold what a window had come to at a moment."""

    at_us: int
    spent_nano: Money


class Forecast(msgspec.Struct, frozen=True):
    """Say when a budget runs out: most likely, at the earliest, and at the latest; None where it may last."""

    runs_out_us: int
    earliest_us: int
    latest_us: int | None


def is_forecast(terms: Terms) -> bool:
    """Tell whether it makes sense to say when such a budget runs out: it is used up, over a day or longer."""
    return terms.limit_nano is not None and not terms.rolling and terms.window in _LONG


def length_us(terms: Terms, period: Period) -> int:
    """Return how long a window lasts; of a budget without one, how far ahead is looked."""
    return HORIZON_US if terms.window is Window.total else period.end_us - period.start_us


def sample_gap_us(terms: Terms, period: Period) -> int:
    """Return how far apart samples of a window need to be."""
    return _recent_us(length_us(terms, period)) // _SAMPLES


def forecast(terms: Terms, period: Period, allowed_nano: Money, samples: Sequence[Sample]) -> Forecast | None:
    """Say when the window's budget runs out, seen from its last sample; None where it lasts or too little is known.

    Samples are in order. Spending between two of them that lie far apart counts as of the later one's moment.
    """
    if not is_forecast(terms) or not samples:
        return None
    start = samples[0] if terms.window is Window.total else Sample(period.start_us, 0)
    now = samples[-1]
    length = length_us(terms, period)
    recent = _recent_us(length)
    left = allowed_nano - now.spent_nano
    if now.at_us >= period.end_us or now.at_us - start.at_us < recent // 2 or left <= 0:
        return None
    points = [start, *(sample for sample in samples if sample.at_us > start.at_us)]
    since_us = max(start.at_us, now.at_us - recent)
    lately, in_all = (_gains(points, each, recent // _SAMPLES) for each in (since_us, start.at_us))
    paces = [
        (sum(lately), now.at_us - since_us),
        _steady_pace(lately, now.at_us - since_us),
        _steady_pace(in_all, now.at_us - start.at_us),
    ]
    outs = sorted(FOREVER_US if gain <= 0 else now.at_us + div_ceil(left * span, gain) for gain, span in paces)
    end_us = now.at_us + HORIZON_US if terms.window is Window.total else period.end_us
    if outs[1] >= end_us:
        return None
    return Forecast(outs[1], outs[0], outs[2] if outs[2] < end_us else None)


def _recent_us(length: int) -> int:
    return min(length // 4, _RECENT_US)


def _steady_pace(gains: Sequence[Money], span_us: int) -> tuple[Money, int]:
    """Return what was spent without the busiest and the quietest piece, and the time that took."""
    return sum(gains) - max(gains) - min(gains), span_us * (_PIECES - 2) // _PIECES


def _gains(points: Sequence[Sample], since_us: int, gap_us: int) -> list[Money]:
    """Return what was spent in each of equal pieces of the time since a moment. A correction downwards is no gain."""
    span = points[-1].at_us - since_us
    levels = [_level(points, since_us + span * number // _PIECES, gap_us) for number in range(_PIECES + 1)]
    return [max(0, after - before) for before, after in pairwise(levels)]


def _level(points: Sequence[Sample], at_us: int, gap_us: int) -> Money:
    """Return what was spent by a moment: between samples of spending that went on, its share of the way."""
    number = max(0, bisect_right(points, at_us, key=lambda point: point.at_us) - 1)
    before, after = points[number], points[min(number + 1, len(points) - 1)]
    apart = after.at_us - before.at_us
    if not 0 < apart <= 2 * gap_us:
        return before.spent_nano
    return before.spent_nano + (after.spent_nano - before.spent_nano) * (at_us - before.at_us) // apart
