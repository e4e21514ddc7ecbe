"""Predict how many output tokens a call will need at most: a calibrated quantile of what its stream has produced.

A stream is what shares a distribution of lengths, usually `(key, model, route)`. Three things make a prediction:

- A scale that belongs to the input's length: its 90 % quantile of output, tracked online.
- The ratio of output to scale that is exceeded at the promised rate, from a histogram that forgets: weighted conformal
  prediction (Barber et al. 2023, "Conformal prediction beyond exchangeability").
- Feedback: what was exceeded too often or too rarely is a debt or a credit that moves the next predictions (adaptive
  conformal inference, Gibbs and Candes 2021; "Conformal PID control", Angelopoulos et al. 2023). Several predictions
  exceeded in a row say that the stream has changed: they widen at once and let the histogram forget faster.

Lengths are floats in here and never money: what comes out is a whole number of tokens.
"""

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from math import exp, log
from typing import Final, cast

import msgspec

PER_MILLION: Final = 1_000_000
TOKENS_MAX: Final = 1 << 40

CALLS_PER_TAIL: Final = 4
"""Calls of a stream that knows enough itself, of which its tail learns one: learning costs a few microseconds."""
CALLS_FIRST: Final = 100
"""Calls gathered before the first scales are set."""
MEMORY_PER_EXCEEDED: Final = 20
"""Exceeded calls that the histogram remembers: it takes about so many to know how rare they are."""
SCALE_QUANTILE: Final = 0.9
SCALE_STEP_MIN: Final = 0.02
SCALE_OFFSET: Final = 3.0
"""Parts of the stream's scale added to output and scale: an input's length counts less where outputs are short."""
SCALE_CALLS_HALF: Final = 10
"""Calls after which the scale of an input's length counts as much as the stream's."""
NOVELTY: Final = 1.4
NOVELTY_CALLS: Final = 3
"""Widening in log units for an input of a length never seen, and the calls after which half of it is left."""

RATE_OF_GAINS: Final = 0.01
"""Exceeded calls, in parts of all, for which the figures below are meant."""
DEBT_MAX: Final = 20.0
CREDIT_MAX: Final = 10.0
DEBT_GAIN: Final = 0.07
"""Widening in log units for each call exceeded beyond what was promised."""
CREDIT_GAIN: Final = 0.4
"""Rise of the rate aimed at, in parts of the promised one, for each call that was to be exceeded and was not."""
BURST_FADE: Final = 0.95
BURST_CALM: Final = 2.0
BURST_CHANGED: Final = 2.5
"""Exceeded calls of late up to which nothing is done, and beyond which the stream has changed."""
CALLS_AFTER_CHANGE: Final = 10

_BUCKETS: Final = 256
_BUCKET_OF_ONE: Final = 100
_BUCKETS_PER_LOG: Final = 32 / log(2.0)
_CALLS_BETWEEN_RATIOS: Final = 16
_CALLS_OF_STEP_MIN: Final = SCALE_STEP_MIN**-2
_LOG_MAX: Final = 40.0
_WEIGHT_MAX: Final = 1e50


class Calibration(msgspec.Struct, frozen=True):
    """Hold what was promised and measured: calls observed, of them held at their cap, and exceeded."""

    promised_ppm: int
    calls: int = 0
    at_cap: int = 0
    exceeded: int = 0

    @property
    def coverage_ppm(self) -> int:
        """Give the share of calls that stayed within their hold, in millionths; all of none."""
        return PER_MILLION - self.exceeded * PER_MILLION // max(1, self.calls)


class OutputPredictor:
    """Predict the output tokens to hold, one predictor a worker; the most recently observed streams are kept.

    A stream that is a tuple falls back to what its tail has seen, `(model, route)` of `(key, model, route)`, and that
    to the cap, until enough calls were observed for the promised coverage.
    """

    def __init__(self, coverage_ppm: int = 990_000, streams_max: int = 10_000) -> None:
        if not 0 < coverage_ppm < PER_MILLION or streams_max < 1:
            raise ValueError("coverage is between 0 and 1,000,000 ppm, and one stream at least is kept")
        self._coverage_ppm = coverage_ppm
        self._streams_max = streams_max
        self._streams: OrderedDict[Hashable, _Stream] = OrderedDict()
        self._tails: OrderedDict[Hashable, _Stream] = OrderedDict()
        self._all = _Counts()

    def predict(self, stream: Hashable, input_tokens: int, cap: int) -> int:
        """Give the output tokens to hold, from 1 to `cap`; `cap` itself until enough is known."""
        if cap <= 1:
            return 1
        own = self._streams.get(stream)
        known = own if own is not None and own.lengths.warm else self._tails.get(_tail(stream))
        if known is None or not known.lengths.warm:
            return cap
        widening = known.feedback.widening
        if own is not None and own is not known:
            widening += own.feedback.widening
        bound = known.lengths.bound(_bin(input_tokens), widening)
        return cap if bound >= cap else max(1, int(bound))

    def observe(self, stream: Hashable, input_tokens: int, output_tokens: int, predicted: int, cap: int) -> None:
        """Learn from a call that ended. An output of `cap` says only that it would have been no less.

        `predicted` is what `predict` gave for the call. Calls may end in any order; what never ends is not learned.
        """
        output_tokens = min(TOKENS_MAX, max(0, output_tokens))
        exceeded, at_cap, cut = output_tokens > predicted, predicted >= cap, output_tokens >= cap
        input_bin = _bin(input_tokens)
        own = self._kept(self._streams, stream)
        own.counts.add(exceeded, at_cap)
        self._all.add(exceeded, at_cap)
        name = _tail(stream)
        if name is not None and (not own.lengths.warm or not own.counts.calls % CALLS_PER_TAIL):
            tail = self._kept(self._tails, name)
            # Only calls of streams that know too little themselves were predicted by their tail.
            if not own.lengths.warm:
                tail.take(input_bin, output_tokens, exceeded, at_cap)
            tail.lengths.learn(input_bin, output_tokens, cut, tail.feedback.credit)
        own.take(input_bin, output_tokens, exceeded, at_cap)
        own.lengths.learn(input_bin, output_tokens, cut, own.feedback.credit)

    def calibration(self, stream: Hashable) -> Calibration:
        """Give what was promised and measured for a stream while it is kept; no calls where it is not."""
        own = self._streams.get(stream)
        return _Counts().calibration(self._coverage_ppm) if own is None else own.counts.calibration(self._coverage_ppm)

    def calibrations(self) -> Iterator[tuple[Hashable, Calibration]]:
        """Give each kept stream with its calibration, the least recently observed first."""
        for stream, own in self._streams.items():
            yield stream, own.counts.calibration(self._coverage_ppm)

    def overall(self) -> Calibration:
        """Give what was promised and measured for all calls, those of streams no longer kept too."""
        return self._all.calibration(self._coverage_ppm)

    def __len__(self) -> int:
        return len(self._streams)

    def _kept(self, kept: "OrderedDict[Hashable, _Stream]", name: Hashable) -> "_Stream":
        found = kept.get(name)
        if found is not None:
            kept.move_to_end(name)
            return found
        if len(kept) >= self._streams_max:
            kept.popitem(last=False)
        found = kept[name] = _Stream(1.0 - self._coverage_ppm / PER_MILLION)
        return found


class _Counts:
    """Count what came of predictions."""

    __slots__ = ("at_cap", "calls", "exceeded")

    def __init__(self) -> None:
        self.calls = self.at_cap = self.exceeded = 0

    def add(self, exceeded: bool, at_cap: bool) -> None:
        self.calls += 1
        self.at_cap += at_cap
        self.exceeded += exceeded

    def calibration(self, promised_ppm: int) -> Calibration:
        return Calibration(promised_ppm, self.calls, self.at_cap, self.exceeded)


class _Stream:
    """Hold what is known of one stream: its counts, its lengths and the feedback on its predictions."""

    __slots__ = ("counts", "feedback", "lengths")

    def __init__(self, rate: float) -> None:
        self.counts = _Counts()
        self.feedback = _Feedback(rate)
        self.lengths = _Lengths(rate)

    def take(self, input_bin: int, output_tokens: int, exceeded: bool, at_cap: bool) -> None:
        """Take the outcome of a prediction, and notice that the stream has changed."""
        # A call predicted before a change was noticed is no news where today's prediction would have covered it.
        surprising = exceeded and not (
            self.lengths.warm and output_tokens <= self.lengths.bound(input_bin, self.feedback.widening)
        )
        self.feedback.take(exceeded, surprising, at_cap)
        self.lengths.stale |= exceeded
        if surprising and self.feedback.burst > BURST_CHANGED:
            self.lengths.forget()


class _Feedback:
    """Balance what was exceeded against what was promised."""

    __slots__ = ("_balance", "_hit", "_miss", "burst", "widening")

    def __init__(self, rate: float) -> None:
        # Where more is to be exceeded, chance moves the counts further; each says less.
        weight = min(1.0, (RATE_OF_GAINS / rate) ** 0.5)
        self._miss, self._hit = weight * (1.0 - rate), weight * rate
        self._balance = 0.0
        self.burst = 0.0
        self.widening = 0.0

    @property
    def credit(self) -> float:
        """Give the calls that were to be exceeded and were not."""
        return max(0.0, -self._balance)

    def take(self, exceeded: bool, surprising: bool, at_cap: bool) -> None:
        """Take an outcome. A call held at its cap cannot exceed it: it pays a debt back and earns no credit."""
        if exceeded:
            self._balance = min(DEBT_MAX, self._balance + self._miss)
        elif self._balance > 0.0 or not at_cap:
            self._balance = max(-CREDIT_MAX, self._balance - self._hit)
        self.burst = self.burst * BURST_FADE + (self._miss if surprising else -self._hit)
        self.widening = DEBT_GAIN * self._balance if self._balance > 0.0 else 0.0
        if self.burst > BURST_CALM:
            self.widening += self.burst - BURST_CALM


class _Lengths:
    """Remember the lengths of one stream: a scale for each bin of input lengths, a histogram of ratios to it.

    A call weighs a little more than the one before, which is to say that the older ones fade.
    """

    __slots__ = (
        "_bins",
        "_calls",
        "_first",
        "_growth",
        "_rate",
        "_ratio",
        "_ratios",
        "_scale",
        "_total",
        "_weight",
        "stale",
        "warm",
    )

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._growth = 1.0 + min(0.002, rate / MEMORY_PER_EXCEEDED)
        self._first: list[tuple[int, int, bool]] | None = []
        self._ratios: array[float] = array("d")
        self._bins: dict[int, _Scale] = {}
        self._scale = _Scale(0.0)
        self._calls = 0
        self._total = 0.0
        self._weight = 1.0
        self._ratio = 0.0
        self.stale = False
        self.warm = False

    def bound(self, input_bin: int, widening: float) -> float:
        """Give the length that is exceeded at the promised rate, widened by so many log units."""
        found = self._bins.get(input_bin)
        novelty = NOVELTY if found is None else NOVELTY * NOVELTY_CALLS / (NOVELTY_CALLS + found.calls)
        scale, offset = self._scales(found)
        tokens = exp(self._ratio) * scale - offset
        return (tokens if tokens > 1.0 else 1.0) * exp(min(_LOG_MAX, widening + novelty))

    def learn(self, input_bin: int, output_tokens: int, cut: bool, credit: float) -> None:
        """Take a length; now and then find the ratio anew, for a rate that is higher by the credit."""
        if self._first is not None:
            self._first.append((input_bin, output_tokens, cut))
            if len(self._first) == CALLS_FIRST:
                self._begin(self._first)
                self._first = None
            return
        self._remember(input_bin, output_tokens, cut)
        self._move(input_bin, output_tokens, cut)
        self._calls += 1
        if self.stale or not self._calls % _CALLS_BETWEEN_RATIOS:
            self._set_ratio(credit)
            self.stale = False

    def forget(self) -> None:
        """Let the past count half, and the scales move faster, as long as enough is left to know the ratio."""
        if self._total * self._rate > 2.0 * self._weight:
            self._weight *= 2.0
        for scale in (self._scale, *self._bins.values()):
            scale.calls = min(scale.calls, CALLS_AFTER_CHANGE)

    def _begin(self, first: list[tuple[int, int, bool]]) -> None:
        """Set the scales from the first calls, then take the calls by these scales."""
        lengths = sorted(output_tokens for _, output_tokens, _ in first)
        self._scale = _Scale(log(lengths[int(SCALE_QUANTILE * len(lengths))] + 1.0))
        self._ratios = array("d", bytes(8 * _BUCKETS))
        for each in first:
            self._move(*each)
        for each in first:
            self._remember(*each)
        self._set_ratio(0.0)

    def _scales(self, found: "_Scale | None") -> tuple[float, float]:
        """Give the scale of a bin, drawn towards the stream's where few calls are known, and the offset within it."""
        level = self._scale.level
        tokens = exp(level)
        offset = SCALE_OFFSET * tokens
        if found is None:
            return tokens + offset, offset
        return exp(level + (found.level - level) * found.calls / (found.calls + SCALE_CALLS_HALF)) + offset, offset

    def _move(self, input_bin: int, output_tokens: int, cut: bool) -> None:
        """Move the scales of the stream and of the bin towards a length."""
        found = self._bins.get(input_bin)
        if found is None:
            found = self._bins[input_bin] = _Scale(self._scale.level)
        length = log(output_tokens + 1.0)
        found.move(length, cut)
        self._scale.move(length, cut)

    def _remember(self, input_bin: int, output_tokens: int, cut: bool) -> None:
        """Put a length into the histogram; one that was cut, among those that are longer (Efron 1967)."""
        scale, offset = self._scales(self._bins.get(input_bin))
        bucket = int(log((output_tokens + offset) / scale) * _BUCKETS_PER_LOG + _BUCKET_OF_ONE)
        if not 0 <= bucket < _BUCKETS:
            bucket = 0 if bucket < 0 else _BUCKETS - 1
        if cut:
            self._spread(bucket)
        else:
            self._ratios[bucket] += self._weight
        self._total += self._weight
        self._weight *= self._growth
        if self._weight > _WEIGHT_MAX:
            self._ratios = array("d", [each / self._weight for each in self._ratios])
            self._total /= self._weight
            self._weight = 1.0

    def _spread(self, bucket: int) -> None:
        """Share a call's weight among the ratios beyond a bucket as they are found there; the last has none beyond."""
        beyond = sum(self._ratios[bucket + 1 :])
        if beyond <= 0.0:
            self._ratios[_BUCKETS - 1] += self._weight
            return
        for longer in range(bucket + 1, _BUCKETS):
            self._ratios[longer] *= 1.0 + self._weight / beyond

    def _set_ratio(self, credit: float) -> None:
        """Find the ratio that is exceeded at the rate aimed at, the call to come counted among those exceeding it."""
        calls = self._total + self._weight
        self.warm = self._rate * calls > self._weight
        rate = min(self._rate * (1.0 + CREDIT_GAIN * credit), (1.0 + self._rate) / 2.0)
        allowed = rate * calls - self._weight
        bucket = _BUCKETS - 1
        beyond = self._ratios[bucket]
        while bucket > 0 and beyond <= allowed:
            bucket -= 1
            beyond += self._ratios[bucket]
        unbounded = bucket == _BUCKETS - 1
        self._ratio = _LOG_MAX if unbounded else (bucket + 1 - _BUCKET_OF_ONE) / _BUCKETS_PER_LOG


class _Scale:
    """Track a quantile of the logarithm of lengths, in ever smaller steps."""

    __slots__ = ("calls", "level")

    def __init__(self, level: float) -> None:
        self.level = level
        self.calls = 0

    def move(self, length: float, cut: bool) -> None:
        """Move towards a length; one cut below the level says nothing of which side it would have been on."""
        self.calls += 1
        step = self.calls**-0.5 if self.calls < _CALLS_OF_STEP_MIN else SCALE_STEP_MIN
        if length > self.level:
            self.level += step * SCALE_QUANTILE
        elif not cut:
            self.level -= step * (1.0 - SCALE_QUANTILE)


def _bin(input_tokens: int) -> int:
    """Give the half of an octave in which an input's length lies."""
    size = input_tokens + 4 if 0 <= input_tokens <= TOKENS_MAX else 4 if input_tokens < 0 else TOKENS_MAX
    octave = size.bit_length()
    return octave * 2 + (size >> (octave - 2) & 1)


def _tail(stream: Hashable) -> Hashable:
    """Give the name of what a stream falls back to: all of a tuple but its first, or nothing."""
    return (cast(tuple[Hashable, ...], stream)[1:] or None) if isinstance(stream, tuple) else None
