"""Show what a simulation found: as tables with a line of the queue over time, and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from bursar.cli.common import print_table
from bursar.core.money import Money, nano_to_usd
from bursar.physics.deployment import Deployment
from bursar.simulate.bill import Bill
from bursar.simulate.fleet import Fleet
from bursar.simulate.report import Promise, Report, Spread
from bursar.simulate.trace import Trace

_BARS: Final = " ▁▂▃▄▅▆▇█"
_WIDTH: Final = 56
_SHOWN_NANO: Final = 100_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what was asked and what came of it; `ends` are the reports at the ends of the step times' interval."""

    deployment: Deployment
    fleet: Fleet
    trace: Trace
    promise: Promise
    report: Report
    bill: Bill
    ends: Sequence[Report]
    seed: int
    extrapolates: tuple[str, ...]


def show(answer: Answer) -> None:
    """Print tables for people."""
    found, fleet, placed = answer.report, answer.fleet, answer.deployment
    print(
        f"{placed.shape.name} in {placed.weights} on {fleet.replicas} x {placed.chips} x {placed.chip.name}; "
        f"{fleet.engine.blocks:,} blocks of cache a replica; {found.requests:,} requests of {answer.trace.name} in "
        f"{found.seconds:,.0f} s"
    )
    spreads = (("TTFT ms", "ttft_ms"), ("TPOT ms", "tpot_ms"), ("end to end ms", "e2e_ms"))
    columns = ["", "mean", "p50", "p90", "p99", *(["90 % interval of the mean"] if answer.ends else [])]
    rows = [[name, *_spread(getattr(found, field)), *_between(answer.ends, field)] for name, field in spreads]
    print_table(columns, rows, right=(1, 2, 3, 4, 5))
    print()
    for name, said in _lines(answer):
        print(f"{name:<12}  {said}")
    print()
    print(f"waiting  {sparkline([each.waiting for each in found.moments])} up to {found.queue_max:,}")
    print(f"KV use   {sparkline([each.kv_use for each in found.moments], 1.0)} up to {found.kv_use_max:.0%}")
    if answer.extrapolates:
        print(f"extrapolates: {'; '.join(answer.extrapolates)}")


def as_json(answer: Answer) -> dict[str, Any]:
    """Give the answer for machines."""
    found, paid, fleet = answer.report, answer.bill, answer.fleet
    ends = dict(zip(("low", "high"), (each.figures() for each in answer.ends), strict=False))
    return {
        "model": answer.deployment.shape.name,
        "chip": answer.deployment.chip.name,
        "gpus": answer.deployment.chips,
        "replicas": fleet.replicas,
        "router": fleet.router.value,
        "kv_blocks": fleet.engine.blocks,
        "trace": answer.trace.name,
        "seed": answer.seed,
        "promise": {
            "slo_ttft_ms": answer.promise.ttft_ms,
            "slo_tpot_ms": answer.promise.tpot_ms,
            "slo_share": answer.promise.share,
        },
        **found.figures(),
        "interval": ends,
        "energy_kwh": round(paid.energy_kwh, 6),
        "energy_kwh_interval": [round(paid.energy_low_kwh, 6), round(paid.energy_high_kwh, 6)],
        "energy_j_per_output_token": _rounded(paid.energy_j_per_output_token),
        "chip_hours": round(paid.chip_hours, 4),
        "usd_per_million_tokens": nano_to_usd(paid.million_tokens_nano),
        "usd_per_million_output_tokens": _exactly(paid.million_output_tokens_nano),
        "extrapolates": list(answer.extrapolates),
        "timeline": [_moment(each) for each in found.moments],
    }


def sparkline(values: Sequence[float], top: float | None = None) -> str:
    """Draw values as one line of bars, the largest of each group; `top` is the full height, else the largest value."""
    if not values:
        return ""
    size = -(-len(values) // _WIDTH)
    groups = [max(values[start : start + size]) for start in range(0, len(values), size)]
    height = top if top is not None else max(groups)
    if not height:
        return _BARS[0] * len(groups)
    return "".join(_BARS[min(ceil(each / height * 8), 8)] for each in groups)


def _moment(moment: Any) -> Mapping[str, Any]:
    return {
        "at_s": round(moment.at_s, 3),
        "running": moment.running,
        "waiting": moment.waiting,
        "kv_use": round(moment.kv_use, 4),
    }


def _spread(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["-"] * 4
    return [f"{each:,.1f}" for each in (spread.mean, spread.p50, spread.p90, spread.p99)]


def _between(ends: Sequence[Report], field: str) -> list[str]:
    spreads = [getattr(each, field) for each in ends]
    return [" to ".join(f"{each.mean:,.1f}" for each in spreads if each is not None)] if ends else []


def _lines(answer: Answer) -> list[list[str]]:
    found, paid, promise = answer.report, answer.bill, answer.promise
    kept = f"{found.kept_share:.2%} of requests keep TTFT {promise.ttft_ms:g} ms and TPOT {promise.tpot_ms:g} ms"
    return [
        ["promise", f"{kept}; {promise.share:.2%} should"],
        ["goodput", f"{found.goodput_per_s:,.2f} of {found.requests_per_s:,.2f} requests/s, {_tokens(found)}"],
        ["replicas", f"work {found.busy_share:.0%} of the time; cache {found.kv_use:.0%} in use while they do"],
        ["queue", f"{found.queue:,.1f} requests on average; {found.preemptions:,} preemptions"],
        ["prefix cache", f"{found.hit_share:.1%} of the input read from it"],
        [
            "energy",
            f"{_kwh(paid.energy_kwh)} kWh ({_kwh(paid.energy_low_kwh)} to {_kwh(paid.energy_high_kwh)}){_joules(paid)}",
        ],
        ["cost", f"{_usd(paid.million_tokens_nano)} USD per million tokens in and out{_output(paid)}"],
    ]


def _tokens(found: Report) -> str:
    return f"{found.output_tokens_per_s:,.0f} output tokens/s"


def _kwh(kwh: float) -> str:
    """Write energy to a thousandth, and less than one to three digits."""
    return f"{kwh:,.3f}" if kwh >= 1 else f"{kwh:.3g}"


def _output(paid: Bill) -> str:
    nano = paid.million_output_tokens_nano
    output = "" if nano is None else f", {_usd(nano)} per million of output"
    return f"{output}; {paid.chip_hours:,.2f} chip-hours"


def _joules(paid: Bill) -> str:
    joules = paid.energy_j_per_output_token
    return "" if joules is None else f", {joules:,.2f} J an output token"


def _rounded(joules: float | None) -> float | None:
    return None if joules is None else round(joules, 4)


def _exactly(nano: Money | None) -> str | None:
    return None if nano is None else nano_to_usd(nano)


def _usd(nano: Money) -> str:
    """Write an estimate of money to four decimals, rounded up as floors are."""
    return nano_to_usd(-(-nano // _SHOWN_NANO) * _SHOWN_NANO)
