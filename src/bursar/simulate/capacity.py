"""Find the smallest fleet that keeps a promise: guess by throughput, then halve the gap by simulation."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.calibration import Calibration
from bursar.physics.deployment import Deployment
from bursar.physics.serving import Promise as Pace
from bursar.physics.serving import Traffic, pace
from bursar.simulate.engine import Engine
from bursar.simulate.fleet import Fleet, Router, simulate
from bursar.simulate.modelled import Modelled, blocks_beside
from bursar.simulate.report import Promise, Report, report
from bursar.simulate.trace import Trace

_BUSIEST_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """Hold what is looked for: replicas of a deployment for a trace, which is `scale` times another.

    `blocks` are those of the cache of a replica; what fits beside the weights where it is None.
    """

    deployment: Deployment
    trace: Trace
    scale: float
    promise: Promise
    calibration: Calibration
    step_tokens: int = 8192
    sequences: int = 256
    router: Router = Router.LEAST_LOAD
    blocks: int | None = None
    prefix_cache: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """Hold the smallest fleet of a case, or why there is none.

    `guess` is what throughput alone asks for, `tried` the fleets that were simulated, `report` of the one found.
    """

    case: Case
    replicas: int | None
    guess: int
    tried: tuple[int, ...]
    report: Report | None
    reason: str = ""

    @property
    def ends(self) -> tuple[int, int]:
        """Count the replicas with step times at the ends of their 90 % interval: in proportion, not simulated."""
        error = self.case.calibration.error_on(self.case.deployment.chip)
        replicas = self.replicas or 0
        return math.ceil(replicas * math.exp(-error)), math.ceil(replicas * math.exp(error))


def solve(case: Case) -> Found:
    """Find the smallest fleet of a case; it and the one below it were simulated."""
    try:
        guess, fleet = first_guess(case), _fleet(case)
        trace = case.trace
        trace.must_fit(fleet.engine)
    except ConfigError as refused:
        return Found(case, None, 0, (), None, str(refused))
    reports: dict[int, Report] = {}
    search = least(guess, max(len(trace), 1))
    asked = next(search, None)
    while asked is not None:
        run = simulate(Fleet(fleet.engine, fleet.timer, asked, fleet.router), trace)
        reports[asked] = report(run, case.promise)
        try:
            asked = search.send(reports[asked].kept_share >= case.promise.share)
        except StopIteration as end:
            return _found(case, guess, reports, end.value)
    return _found(case, guess, reports, None)


def least(guess: int, most: int) -> Generator[int, bool, int | None]:
    """Ask whether a number is enough, until the smallest that is has been found; None where even many are not.

    A flow: it yields numbers and is sent the answers. Numbers above one that is enough are taken to be enough. It gives
    up at 32 times the guess: what does not help by then is no lack of replicas.
    """
    low, high = 0, 0
    asked = min(max(guess, 1), most)
    end = min(32 * asked, most)
    while not high:
        if (yield asked):
            high = asked
        elif asked >= end:
            return None
        else:
            low, asked = asked, min(2 * asked, end)
    while high - low > 1:
        asked = (low + high) // 2
        if (yield asked):
            high = asked
        else:
            low = asked
    return high


def first_guess(case: Case) -> int:
    """Count the replicas that the busiest minute's throughput takes at the promised time per token, at least 1.

    Raises `ConfigError` where one sequence alone breaks the promise, or the chips do not hold the model.
    """
    trace = case.trace
    count = len(trace)
    if not count:
        raise ConfigError(f"{trace.name} has no requests; give at least one")
    inputs = max(round(sum(trace.input_tokens) / count), 1)
    outputs = max(round(sum(trace.output_tokens) / count), 1)
    traffic = Traffic(inputs, outputs)
    promised = Pace(tpot_ms=case.promise.tpot_ms, batch_max=case.sequences)
    seconds = pace(case.deployment, traffic, promised, case.calibration).request_s(traffic)
    return max(math.ceil(busiest(trace) * seconds), 1)


def busiest(trace: Trace) -> float:
    """Give the requests a second of a trace's busiest minute; of a shorter trace, of all of it."""
    width_s = min(_BUSIEST_S, max(trace.span_s, 1.0))
    most = first = 0
    for last, at_s in enumerate(trace.arrival_s):
        while at_s - trace.arrival_s[first] >= width_s:
            first += 1
        most = max(most, last - first + 1)
    return most / width_s


def smallest_groups(deployment: Deployment) -> tuple[int, ...]:
    """Count the chips of a replica worth trying: the fewest that hold the weights, and twice as many, in one node."""
    sizes: list[int] = []
    chips = 1
    while chips <= deployment.chip.chips_per_node and len(sizes) < 2:
        if _holds(deployment, chips):
            sizes.append(chips)
        chips *= 2
    return tuple(sizes)


def on_chips(deployment: Deployment, chips: int) -> Deployment:
    """Spread a deployment over more or fewer chips, all of which share each matrix."""
    return Deployment(
        deployment.shape,
        deployment.chip,
        chips,
        chips,
        chips if deployment.expert > 1 else 1,
        weights=deployment.weights,
        cache=deployment.cache,
        compute=deployment.compute,
        engine=deployment.engine,
    )


def _holds(deployment: Deployment, chips: int) -> bool:
    try:
        return blocks_beside(on_chips(deployment, chips)) > 0
    except ConfigError:
        return False


def _fleet(case: Case) -> Fleet:
    blocks = case.blocks if case.blocks is not None else blocks_beside(case.deployment)
    engine = Engine(blocks, case.step_tokens, case.sequences, prefix_cache=case.prefix_cache)
    return Fleet(engine, Modelled(case.deployment, case.calibration), 1, case.router)


def _found(case: Case, guess: int, reports: dict[int, Report], replicas: int | None) -> Found:
    if replicas is not None:
        return Found(case, replicas, guess, tuple(reports), reports[replicas])
    best = max(reports.values(), key=lambda each: each.kept_share)
    reason = f"even {max(reports)} replicas keep the promise for {best.kept_share:.2%} of the requests only: TTFT for "
    reason += f"{best.ttft_kept_share:.2%}, TPOT for {best.tpot_kept_share:.2%}"
    if best.ttft_kept_share < case.promise.share:
        tokens, alone_ms = _alone(case)
        reason += f"; a prompt of {tokens:,} tokens, which {case.promise.share:.2%} do not pass, takes {alone_ms:,.0f} "
        reason += "ms alone"
    return Found(case, None, guess, tuple(reports), None, reason)


def _alone(case: Case) -> tuple[int, float]:
    """Give the longest prompt of which the promise is to be kept, and what it takes with a replica to itself."""
    inputs = sorted(case.trace.input_tokens)
    tokens = inputs[min(math.ceil(case.promise.share * len(inputs)), len(inputs)) - 1]
    run = simulate(_fleet(case), Trace([0.0], [tokens], [1]))
    return tokens, run.journal.first_s[0] * 1e3
