"""Hold the output of real calls by prediction, and compare with holding the cap and with a rolling window's quantile.

    python -m bench.holds [--json] [--data DIR] [--cap 4096] [--under-way 32]

Calls of four recorded traces (lengths of input and output) go through `OutputPredictor` one after another, each trace
a stream of its own. The outcome of a call is known only after so many more were predicted as are under way. Money is
the output part of the hold, at one rate for all; answers are cut at the cap.

`holds.money_ratio`: output tokens held over those held at the cap, all calls of all traces, warm-up included.
`holds.money_ratio_window`: over those that a rolling window's quantile holds which is exceeded as often. For each trace
the window is the best of several, and its level is read off (between two levels) so that both are exceeded equally:
both choices are made in hindsight, in favour of the window. Without the first 1,000 calls.
`holds.coverage_error_points`: how far the share of calls within their hold lies from the promised 99 %, in windows of
1,000 calls after the first 1,000, on average; the worst of all drifts. The drifts are planted in the middle: lengths
that double or halve, and each trace's first half followed by that of another.
`holds.coverage_error_worst_points`: the same in the worst window of any drift.
`holds.predict_us`: a prediction with its feedback, the loop around both included.
"""

import csv
import hashlib
import json
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

from bench.figures import Figure, arguments, show
from bursar.budgets.predict import OutputPredictor

Calls = list[tuple[int, int]]
"""Input and output tokens of each call, in the order of the trace."""
FILES = {
    "Azure conv": "azure_llm_2023/AzureLLMInferenceTrace_conv.csv",
    "Azure code": "azure_llm_2023/AzureLLMInferenceTrace_code.csv",
    "Mooncake conversation": "mooncake_traces/conversation_trace_first_half.jsonl",
    "Mooncake synthetic": "mooncake_traces/synthetic_trace.jsonl",
}
STREAM = ("key", "model", "route")
PROMISED = 0.99
WARM_UP = 1_000
WINDOW = 1_000
ROLLING_CALLS = (500, 1_000, 2_000, 4_000, 1_000_000)
ROLLING_RATES = [0.01 * 2 ** (step / 12) for step in range(-18, 19)]
OUTPUT_RATE_OVER_INPUT = 4


def read(path: Path) -> Calls:
    """Read a trace."""
    with path.open() as file:
        if path.suffix == ".csv":
            return [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
        return [(row["input_length"], row["output_length"]) for row in map(json.loads, file)]


def traces(data: Path) -> dict[str, Calls]:
    """Read all traces; leave, saying what is missing, where one is."""
    missing = [str(data / file) for file in FILES.values() if not (data / file).is_file()]
    if missing:
        raise SystemExit(f"bench.holds misses {', '.join(missing)}: name the folder with --data")
    return {name: read(data / file) for name, file in FILES.items()}


def predicted(calls: Calls, cap: int, under_way: int) -> list[int]:
    """Give the predictor's hold for each call."""
    predictor = OutputPredictor(round(PROMISED * 1_000_000))
    waiting: deque[tuple[int, int, int]] = deque()
    holds: list[int] = []
    for input_tokens, output_tokens in calls:
        hold = predictor.predict(STREAM, input_tokens, cap)
        holds.append(hold)
        waiting.append((input_tokens, min(output_tokens, cap), hold))
        if len(waiting) > under_way:
            predictor.observe(STREAM, *waiting.popleft(), cap)
    return holds


def rolling(calls: Calls, window: int, cap: int, under_way: int) -> Iterator[tuple[int, float]]:
    """Give what a window's quantile is exceeded by and holds in all after the warm-up, one pair a level."""
    recent: deque[int] = deque()
    ordered: list[int] = []
    exceeded, held = [0] * len(ROLLING_RATES), [0] * len(ROLLING_RATES)
    for at, (_, output_tokens) in enumerate(calls):
        known = len(ordered)
        for level, rate in enumerate(ROLLING_RATES if at >= WARM_UP else ()):
            rank = ceil((1 - rate) * (known + 1)) - 1
            hold = ordered[rank] if rank < known else cap
            exceeded[level] += min(output_tokens, cap) > hold
            held[level] += hold
        if at >= under_way:
            ended = min(calls[at - under_way][1], cap)
            recent.append(ended)
            insort(ordered, ended)
        if len(recent) > window:
            del ordered[bisect_left(ordered, recent.popleft())]
    return zip(exceeded, held, strict=True)


def held_as_rarely(levels: list[tuple[int, float]], exceeded: int) -> float:
    """Read off what is held where so many calls are exceeded, in a straight line between two levels."""
    rarer = min((held, -count) for count, held in levels if count <= exceeded)
    if -rarer[1] == exceeded:
        return rarer[0]
    oftener = max((held, -count) for count, held in levels if count > exceeded)
    share = (exceeded + rarer[1]) / (rarer[1] - oftener[1])
    return rarer[0] + (oftener[0] - rarer[0]) * share


def drifts(all_calls: dict[str, Calls], share: float = 0.5) -> Iterator[tuple[str, Calls]]:
    """Plant the drifts, each after that share of a trace."""
    for name, calls in all_calls.items():
        before, rest = calls[: int(share * len(calls))], calls[int(share * len(calls)) :]
        yield f"{name} x 2", before + [(sent, 2 * got) for sent, got in rest]
        yield f"{name} x 0.5", before + [(sent, (got + 1) // 2) for sent, got in rest]
        for other, after in all_calls.items():
            if other != name:
                yield f"{name}, then {other}", before + after[: len(after) // 2]


def errors_points(calls: Calls, holds: list[int], cap: int, stride: int = WINDOW) -> list[float]:
    """Give how far coverage lies from what was promised in each window, in percentage points."""
    exceeded = [min(got, cap) > hold for (_, got), hold in zip(calls, holds, strict=True)]
    starts = range(WARM_UP, len(calls) - WINDOW + 1, stride)
    return [100 * abs(1 - sum(exceeded[start : start + WINDOW]) / WINDOW - PROMISED) for start in starts]


def per_trace(all_calls: dict[str, Calls], value: Callable[[str], float]) -> str:
    """Word a figure for each trace."""
    return ", ".join(f"{name} {value(name):.3f}" for name in all_calls)


def money(all_calls: dict[str, Calls], cap: int, under_way: int) -> list[Figure]:
    """Measure what is held, over the cap and over the window."""
    held: dict[str, int] = {}
    late: dict[str, int] = {}
    window: dict[str, float] = {}
    coverage: dict[str, float] = {}
    for name, calls in all_calls.items():
        holds = predicted(calls, cap, under_way)
        held[name], late[name] = sum(holds), sum(holds[WARM_UP:])
        pairs = list(zip(calls, holds, strict=True))[WARM_UP:]
        exceeded = sum(min(got, cap) > hold for (_, got), hold in pairs)
        coverage[name] = 100 * (1 - exceeded / len(pairs))
        window[name] = min(
            held_as_rarely(list(rolling(calls, size, cap, under_way)), exceeded) for size in ROLLING_CALLS
        )
    count = sum(map(len, all_calls.values()))
    sent = sum(sent for calls in all_calls.values() for sent, _ in calls) / OUTPUT_RATE_OVER_INPUT
    capped = cap * count
    by_cap = per_trace(all_calls, lambda name: held[name] / cap / len(all_calls[name]))
    by_window = per_trace(all_calls, lambda name: late[name] / window[name])
    within = per_trace(all_calls, lambda name: coverage[name])
    total = sum(held.values())
    return [
        Figure("holds.money_ratio", round(total / capped, 4), "", note=f"cap {cap:,}, output part only: {by_cap}"),
        Figure(
            "holds.money_ratio_with_input",
            round((total + sent) / (capped + sent), 4),
            "",
            note=f"whole hold, input exact and an output token at the price of {OUTPUT_RATE_OVER_INPUT} of input",
        ),
        Figure(
            "holds.money_ratio_window",
            round(sum(late.values()) / sum(window.values()), 4),
            "",
            note=f"{by_window}; within their hold, %: {within}",
        ),
    ]


def coverage(all_calls: dict[str, Calls], cap: int, under_way: int) -> list[Figure]:
    """Measure how well the promise is kept while streams change."""
    average: dict[str, float] = {}
    worst: dict[str, float] = {}
    sliding: dict[str, float] = {}
    still: list[float] = []
    elsewhere: list[list[float]] = []
    for calls in all_calls.values():
        still += errors_points(calls, predicted(calls, cap, under_way), cap)
    for share in (0.35, 0.65):
        for _, calls in drifts(all_calls, share):
            elsewhere.append(errors_points(calls, predicted(calls, cap, under_way), cap))
    for name, calls in drifts(all_calls):
        holds = predicted(calls, cap, under_way)
        found = errors_points(calls, holds, cap)
        average[name], worst[name] = sum(found) / len(found), max(found)
        sliding[name] = max(errors_points(calls, holds, cap, stride=20))
    first, last = max(average, key=average.__getitem__), max(worst, key=worst.__getitem__)
    return [
        Figure(
            "holds.coverage_error_points",
            round(average[first], 3),
            "points",
            note=f"{first}; mean of {len(average)} drifts {sum(average.values()) / len(average):.3f}, "
            f"without drift {sum(still) / len(still):.3f}; planted after 35 % and 65 % of a trace: worst "
            f"{max(sum(each) / len(each) for each in elsewhere):.3f}",
        ),
        Figure(
            "holds.coverage_error_worst_points",
            round(worst[last], 2),
            "points",
            note=f"{last}; without drift {max(still):.1f}; "
            f"planted after 35 % and 65 % of a trace: {max(map(max, elsewhere)):.1f}; "
            f"windows that begin anywhere: {max(sliding.values()):.1f}, "
            f"{sum(each > 1.5 for each in sliding.values())} of {len(sliding)} drifts beyond 1.5",
        ),
    ]


def speed(all_calls: dict[str, Calls], cap: int, under_way: int) -> Figure:
    """Measure the time of a prediction with its feedback, best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for calls in all_calls.values():
            predicted(calls, cap, under_way)
        best = min(best, time.perf_counter() - start)
    count = sum(map(len, all_calls.values()))
    return Figure("holds.predict_us", round(best / count * 1e6, 2), "us", note=f"{count:,} calls, best of 3")


def main() -> None:
    """Measure and show."""
    options = arguments(__doc__, cap=4_096, under_way=32)
    all_calls = traces(options.data)
    used = (options.cap, options.under_way)
    figures = [*money(all_calls, *used), *coverage(all_calls, *used), speed(all_calls, *used)]
    digests = {
        name: hashlib.sha256((options.data / file).read_bytes()).hexdigest()[:12] for name, file in FILES.items()
    }
    note = ", ".join(f"{name} {len(all_calls[name]):,} ({digests[name]})" for name in FILES)
    figures.append(Figure("holds.calls", sum(map(len, all_calls.values())), "calls", note=f"{note}; no chance in it"))
    show("holds", figures, as_json=options.json)


if __name__ == "__main__":
    main()
