"""Predict how many output tokens a call will need at most: a calibrated quantile of what its stream has produced.

A stream is what shares a distribution of lengths, usually `(key, model, route)`. For each, lengths are divided by a
scale that belongs to the length of the input, and the ratios kept in a histogram that forgets (weighted conformal
prediction: Barber et al. 2023, "Conformal prediction beyond exchangeability"). What was exceeded too often or too
rarely is fed back as a debt that widens or narrows the prediction (Angelopoulos et al. 2023, "Conformal PID control").
"""

from collections import OrderedDict
from collections.abc import Hashable
from math import exp, log
from typing import Final, cast

import msgspec

BUCKETS: Final = 192
BUCKETS_PER_OCTAVE: Final = 8
BUCKET_OF_ONE: Final = 96
CALLS_REMEMBERED: Final = 2_000
SCALE_QUANTILE: Final = 0.9
SCALE_STEP_MIN: Final = 0.02
CALLS_BETWEEN_QUANTILES: Final = 8
DEBT_MAX: Final = 40.0
PER_MILLION: Final = 1_000_000
_OCTAVE: Final = BUCKETS_PER_OCTAVE / log(2.0)


class Calibration(msgspec.Struct, frozen=True):
    """Hold what was promised and measured for a stream: calls observed, of them held at their cap, and exceeded."""

    promised_ppm: int
    calls: int = 0
    at_cap: int = 0
    exceeded: int = 0

    @property
    def coverage_ppm(self) -> int:
        """Give the share of calls that stayed within their hold, in millionths; all of none."""
        return PER_MILLION - self.exceeded * PER_MILLION // max(1, self.calls)


class OutputPredictor:
    """Predict the output tokens to hold, one predictor a worker; the most recently used streams are kept.

    A stream that is a tuple falls back to what its tail has seen, `(model, route)` of `(key, model, route)`, and that
    to the cap, until enough calls were observed for the promised coverage.
    """

    def __init__(self, coverage_ppm: int = 990_000, streams_max: int = 10_000) -> None:
        if not 0 < coverage_ppm < PER_MILLION or streams_max < 1:
            raise ValueError("coverage is between 0 and 1,000,000 ppm, and one stream at least is kept")
        self._coverage_ppm = coverage_ppm
        self._miss_rate = 1.0 - coverage_ppm / PER_MILLION
        self._streams_max = streams_max
        self._streams: OrderedDict[Hashable, _Lengths] = OrderedDict()
        self._parents: OrderedDict[Hashable, _Lengths] = OrderedDict()

    def predict(self, stream: Hashable, input_tokens: int, cap: int) -> int:
        """Give the output tokens to hold, from 1 to `cap`; `cap` itself until enough is known."""
        if cap <= 1:
            return 1
        lengths = self._streams.get(stream)
        if lengths is None or not lengths.warm:
            lengths = self._parents.get(_parent(stream))
            if lengths is None or not lengths.warm:
                return cap
        return max(1, int(min(float(cap), lengths.bound(_bin(input_tokens)))))

    def observe(self, stream: Hashable, input_tokens: int, output_tokens: int, predicted: int, cap: int) -> None:
        """Learn from a call that ended; calls may end in any order. An output of `cap` says only that it was no less.

        `predicted` is what `predict` gave for the call. Calls that never report are simply not learned from.
        """
        output_tokens, cap = max(0, output_tokens), max(1, cap)
        own = self._kept(self._streams, stream)
        input_bin, censored = _bin(input_tokens), output_tokens >= cap
        own.count(output_tokens > predicted, predicted >= cap)
        own.learn(input_bin, output_tokens, censored)
        name = _parent(stream)
        if name is not None:
            parent = self._kept(self._parents, name)
            parent.count(output_tokens > predicted, predicted >= cap)
            parent.learn(input_bin, output_tokens, censored)

    def calibration(self, stream: Hashable) -> Calibration:
        """Give what was promised and measured for a stream since it is kept."""
        lengths = self._streams.get(stream)
        if lengths is None:
            return Calibration(self._coverage_ppm)
        return Calibration(self._coverage_ppm, lengths.calls, lengths.at_cap, lengths.exceeded)

    def __len__(self) -> int:
        return len(self._streams)

    def _kept(self, kept: "OrderedDict[Hashable, _Lengths]", name: Hashable) -> "_Lengths":
        lengths = kept.get(name)
        if lengths is None:
            lengths = kept[name] = _Lengths(self._miss_rate)
            if len(kept) > self._streams_max:
                kept.popitem(last=False)
        else:
            kept.move_to_end(name)
        return lengths


class _Lengths:
    """Remember the lengths of one stream."""

    __slots__ = (
        "_debt",
        "_miss_rate",
        "_ratio",
        "_ratios",
        "_scales",
        "_top",
        "_total",
        "_weight",
        "at_cap",
        "calls",
        "exceeded",
        "warm",
    )

    def __init__(self, miss_rate: float) -> None:
        self._miss_rate = miss_rate
        self._ratios = [0.0] * BUCKETS
        self._scales: dict[int, tuple[float, int]] = {}
        self._total = 0.0
        self._weight = 1.0
        self._top = 0
        self._debt = 0.0
        self._ratio = float("inf")
        self.warm = False
        self.calls = self.at_cap = self.exceeded = 0

    def bound(self, input_bin: int) -> float:
        """Give the length that is exceeded at the rate that was promised."""
        scale = self._scales.get(input_bin) or self._scales[-1]
        return exp(scale[0] + self._ratio + 0.05 * self._debt)

    def count(self, exceeded: bool, at_cap: bool) -> None:
        """Take a call into the debt: calls exceeded beyond what was promised, of late.

        A call held at its cap cannot exceed it, so it pays a debt back and earns no credit.
        """
        self.calls += 1
        self.at_cap += at_cap
        self.exceeded += exceeded
        if exceeded:
            self._debt = min(DEBT_MAX, self._debt + 1.0)
        elif self._debt > 0.0 or not at_cap:
            self._debt = max(-DEBT_MAX, self._debt - self._miss_rate)

    def learn(self, input_bin: int, output_tokens: int, censored: bool) -> None:
        """Take a length into the histogram and move the scales towards it."""
        length = log(output_tokens + 1.0)
        scale = self._scales.get(input_bin) or self._scales.get(-1) or (length, 0)
        bucket = min(BUCKETS - 1, max(0, int((length - scale[0]) * _OCTAVE + BUCKET_OF_ONE)))
        if censored:
            bucket = BUCKETS - 1
        self._ratios[bucket] += self._weight
        self._total += self._weight
        self._top = max(self._top, bucket)
        self._weight *= 1.0 + 1.0 / CALLS_REMEMBERED
        for name in (input_bin, -1):
            level, seen = self._scales.get(name, (scale[0], 0))
            step = max(SCALE_STEP_MIN, 1.0 / (seen + 1))
            level += step * (SCALE_QUANTILE if length > level else SCALE_QUANTILE - 1.0)
            self._scales[name] = (level, seen + 1)
        if self._weight > 1e100:
            self._ratios = [each / self._weight for each in self._ratios]
            self._total /= self._weight
            self._weight = 1.0
        if not self.calls % CALLS_BETWEEN_QUANTILES:
            self._set_ratio()

    def _set_ratio(self) -> None:
        """Set the ratio that is exceeded at the promised rate, the call to come counted as exceeding it."""
        above, bucket = self._weight, self._top + 1
        allowed = self._miss_rate * (self._total + self._weight)
        while bucket > 0 and above <= allowed:
            bucket -= 1
            above += self._ratios[bucket]
        self.warm = bucket <= self._top
        self._ratio = (bucket + 1 - BUCKET_OF_ONE) / _OCTAVE


def _bin(input_tokens: int) -> int:
    """Give the quarter of an octave in which an input's length lies."""
    size = max(0, input_tokens) + 4
    octave = size.bit_length()
    return octave * 4 + (size >> (octave - 3) & 3)


def _parent(stream: Hashable) -> Hashable:
    """Give the name of what a stream falls back to: its tail, or nothing."""
    return (cast(tuple[Hashable, ...], stream)[1:] or None) if isinstance(stream, tuple) else None
