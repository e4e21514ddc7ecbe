"""Multiply a trace: more requests in the same time, or fewer; and cut the busiest stretch out of many."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bursar.core.errors import ConfigError
from bursar.simulate.trace import Trace

REQUESTS_MAX: Final = 10_000_000
_SHIFT_S: Final = 60.0
_GOLDEN: Final = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Stretch:
    """Hold how much of a trace is replayed: this many requests, or as long as `seconds` where that is more."""

    requests: int = 200_000
    seconds: float = 300.0

    def __post_init__(self) -> None:
        """Refuse a stretch of nothing."""
        if not (self.requests >= 1 and self.seconds >= 0):
            raise ConfigError(f"requests is {self.requests}; give a whole number of requests to replay of at least 1")


def multiplied(trace: Trace, times: float, stretch: Stretch | None = None) -> Trace:
    """Give `times` as many requests in the same time, of all kinds in the trace; or the busiest stretch of that.

    Whole copies of the trace are laid over each other. Each starts anew elsewhere within its first minute, and what
    then runs over the end comes at the beginning: bursts of seconds level out as they do among more users, while the
    busier minutes stay busy. Of a part of a copy every so-manieth request is taken. Copies share no prompts.
    Raises `ConfigError` for times that leave no request, or more than ten million.
    """
    count = len(trace)
    _must_make(count, times)
    whole, part = divmod(times, 1)
    copies = int(whole) + (part > 0)
    kept = np.arange(count)
    taken = [kept] * int(whole)
    if part:
        taken.append(kept[np.floor((kept + 1) * part + 1e-9) > np.floor(kept * part + 1e-9)])
    index = np.concatenate(taken)
    copy = np.repeat(np.arange(copies), [len(each) for each in taken])
    arrival_s = _shifted(np.asarray(trace.arrival_s, dtype=np.float64)[index], copy, trace)
    order = np.argsort(arrival_s, kind="stable")
    if stretch is not None:
        order = order[_busiest(arrival_s[order], stretch)]
    return _picked(trace, arrival_s[order], index[order], copy[order])


def _must_make(count: int, times: float) -> None:
    if not 0 < times < float("inf"):
        raise ConfigError(f"scale is {times}; give a number above 0, such as 10 for ten times the requests")
    if count * times > REQUESTS_MAX:
        raise ConfigError(f"scale is {times:g}; of {count:,} requests give at most {REQUESTS_MAX / count:g}")
    if count and count * times < 1 - 1e-6:
        raise ConfigError(f"scale is {times:g}, which leaves none of {count:,} requests; give at least {1 / count:g}")


def _shifted(arrival_s: NDArray[np.float64], copy: NDArray[Any], trace: Trace) -> NDArray[np.float64]:
    """Start each copy elsewhere, on a circle as long as the trace and the mean time to a next request."""
    period_s = trace.span_s * len(trace) / max(len(trace) - 1, 1)
    if not period_s:
        return arrival_s
    shift_s = np.mod(copy * _GOLDEN, 1) * min(_SHIFT_S, period_s)
    began_s = trace.arrival_s[0]
    # The first copy is left as it is, to the last digit.
    return np.where(copy, np.mod(arrival_s - began_s + shift_s, period_s) + began_s, arrival_s)


def _busiest(arrival_s: NDArray[np.float64], stretch: Stretch) -> slice:
    """Find the stretch of so many requests that takes the least time; where that is too short, the fullest one."""
    count = len(arrival_s)
    if count <= stretch.requests:
        return slice(0, count)
    took_s = arrival_s[stretch.requests - 1 :] - arrival_s[: count - stretch.requests + 1]
    start = int(took_s.argmin())
    if took_s[start] >= stretch.seconds:
        return slice(start, start + stretch.requests)
    ends = np.searchsorted(arrival_s, arrival_s + stretch.seconds)
    start = int((ends - np.arange(count)).argmax())
    return slice(start, int(ends[start]))


def _picked(trace: Trace, arrival_s: NDArray[np.float64], index: NDArray[Any], copy: NDArray[Any]) -> Trace:
    places: list[int] = index.tolist()
    copies = int(copy.max(initial=0)) + 1
    prefix = [
        tuple(piece * copies + which for piece in trace.prefix[place])
        for place, which in zip(places, copy.tolist(), strict=True)
        if trace.prefix
    ]
    return replace(
        trace,
        arrival_s=arrival_s.tolist(),
        input_tokens=[trace.input_tokens[place] for place in places],
        output_tokens=[trace.output_tokens[place] for place in places],
        priority=[trace.priority[place] for place in places] if trace.priority else (),
        prefix=prefix,
    )
