"""`bursar capacity`: find the cheapest fleet that keeps a promise for a trace, now and at many times the load."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bursar.cli.common import Json, print_json, print_table
from bursar.cli.machines import On, deployment_of, model_shape, usd
from bursar.cli.simulate import (
    DEFAULT_PROMISE,
    DEFAULT_SERVING,
    Model,
    Paid,
    Promised,
    Replayed,
    Seed,
    Serving,
    hour_of,
    trace_of,
)
from bursar.core.errors import ConfigError, OperatorError
from bursar.core.money import Money, nano_to_usd
from bursar.physics.deployment import Deployment
from bursar.physics.facts import Facts, load
from bursar.physics.shape import Shape
from bursar.simulate.bill import extrapolates
from bursar.simulate.capacity import Case, Found, on_chips, smallest_groups, solve
from bursar.simulate.load import Stretch
from bursar.simulate.report import Report
from bursar.simulate.trace import Trace

_ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Priced:
    """Hold a fleet that was found, and what an hour of it costs; None where there is none."""

    found: Found
    hour_nano: Money | None
    extrapolates: tuple[str, ...] = ()

    @property
    def at_ends_nano(self) -> tuple[Money, Money]:
        """Give what an hour costs with step times at the ends of their interval."""
        each_nano = (self.hour_nano or 0) // (self.found.replicas or 1)
        low, high = self.found.ends
        return low * each_nano, high * each_nano

    @property
    def chips(self) -> int:
        """Count the chips of the fleet."""
        return (self.found.replicas or 0) * self.found.case.deployment.chips


@Parameter(name="*")
@dataclass(frozen=True)
class Choice:
    """Hold what is chosen from, and in what form a replica runs on it."""

    chips: Annotated[str, Parameter(help="Chips to choose from, by commas.")] = "H100,H200,B200"
    gpus: Annotated[int | None, Parameter(help="Chips of a replica; the fewest that hold it, and twice that.")] = None
    tensor: Annotated[int | None, Parameter(help="Chips that share each matrix, with --gpus; all without it.")] = None
    expert: Annotated[int, Parameter(help="Chips over which whole experts are spread, with --gpus.")] = 1
    weights: Annotated[str | None, Parameter(help="Format of the weights; as published without it.")] = None
    cache: Annotated[str, Parameter(help="Format of the cache of keys and values.")] = "bf16"
    engine: Annotated[str, Parameter(help="What serves it: vllm, sglang or trtllm.")] = "vllm"
    chip_usd_per_hour: Annotated[
        str | None, Parameter(help="Rent of a chip, as 2.5 or H100=2.5,B200=4; a published one without it.")
    ] = None


DEFAULT_CHOICE: Final = Choice()


def capacity(
    model: Model,
    *,
    trace: Replayed,
    choice: Choice = DEFAULT_CHOICE,
    scale: Annotated[str, Parameter(help="Times the requests, in the same time, by commas.")] = "1,10,100",
    promised: Promised = DEFAULT_PROMISE,
    serving: Serving = DEFAULT_SERVING,
    requests: Annotated[int, Parameter(help="Most requests replayed: of more, the busiest stretch.")] = 200_000,
    jobs: Annotated[int | None, Parameter(help="Processes to work in; as many as there are cores without it.")] = None,
    ray: Annotated[str | None, Parameter(help="Address of a Ray cluster to work on instead, or local.")] = None,
    seed: Seed = 1,
    json: Json = False,
) -> None:
    """Find the cheapest fleet that keeps a promise: chips, how many to a replica, and how many replicas.

    A first guess by throughput, then simulations that halve the gap. Exit code 1 where no fleet keeps it.
    """
    facts = load()
    rents = _rents(facts, choice)
    placed = list(_placed(facts, model_shape(facts, model), choice, list(rents)))
    loads = [(times, trace_of(trace, seed, times, Stretch(requests))) for times in _scales(scale)]
    cases = [
        Case(
            each,
            replayed,
            times,
            promised.promise,
            facts.times.of(each),
            serving.step_tokens,
            serving.sequences,
            serving.router,
            serving.kv_blocks,
            serving.prefix_cache,
        )
        for each in placed
        for times, replayed in loads
    ]
    found = _by_ray(cases, ray) if ray is not None else _by_processes(cases, jobs)
    priced = sorted((_price(facts, rents, each) for each in found), key=_order)
    if json:
        replays = [{"scale": times, "requests": len(each), "seconds": round(each.span_s, 3)} for times, each in loads]
        fleets = [_row_json(each, _remark(each, priced)) for each in priced]
        print_json({"model": model, "trace": loads[0][1].name, "replayed": replays, "fleets": fleets})
    else:
        _promise(loads, requests, promised)
        _show(priced)
    broken = [f"{times:g}x" for times, _ in loads if _best(times, priced) is None]
    if broken:
        raise OperatorError(f"no fleet keeps the promise at {', '.join(broken)}; beside each fleet stands why")


def _scales(text: str) -> list[float]:
    try:
        scales = [float(each) for each in text.split(",")]
    except ValueError:
        raise ConfigError(f"scale is {text!r}; give numbers by commas, such as 1,10,100") from None
    if not all(0 < each < 1e6 for each in scales):
        raise ConfigError(f"scale is {text!r}; give numbers above 0, below a million")
    return list(dict.fromkeys(scales))


def _rents(facts: Facts, choice: Choice) -> Mapping[str, Money]:
    """Say what an hour of each chip costs. Raises `ConfigError` or `NotThere` for a chip without facts or rent."""
    names = [each.strip() for each in choice.chips.split(",")]
    if not all(names):
        raise ConfigError(f"chips is {choice.chips!r}; give names by commas, such as H100,B200")
    chips = list(dict.fromkeys(facts.chip(each).name for each in names))
    given = choice.chip_usd_per_hour
    if given is None:
        return {chip: hour_of(facts, chip, Paid()) for chip in chips}
    if "=" not in given:
        if len(chips) > 1:
            raise ConfigError(f"--chip-usd-per-hour is {given} for {len(chips)} chips; give each its own: {chips[0]}=2")
        return {chips[0]: usd("--chip-usd-per-hour", given)}
    own = {name.strip(): usd("--chip-usd-per-hour", rent) for name, _, rent in _pairs(given)}
    if strange := [name for name in own if name not in chips]:
        raise ConfigError(f"--chip-usd-per-hour names {strange[0]}, which is none of the chips {', '.join(chips)}")
    return {chip: own[chip] if chip in own else hour_of(facts, chip, Paid()) for chip in chips}


def _pairs(text: str) -> Iterator[tuple[str, str, str]]:
    return (each.partition("=") for each in text.split(","))


def _placed(facts: Facts, shape: Shape, choice: Choice, chips: Sequence[str]) -> Iterator[Deployment]:
    """List the replicas to try. Raises `ConfigError` where no chip holds the model."""
    gpus = choice.gpus
    if gpus is not None and gpus < 1:
        raise ConfigError(f"gpus is {gpus}; it is how many chips one replica takes, at least 1")
    if gpus is None and (choice.tensor is not None or choice.expert != 1):
        raise ConfigError("--tensor and --expert split the chips of a replica; give their number with --gpus")
    split = On(
        gpus=gpus or 1,
        tensor=choice.tensor,
        expert=choice.expert,
        weights=choice.weights,
        cache=choice.cache,
        engine=choice.engine,
    )
    ones = [deployment_of(facts, shape, replace(split, chip=chip)) for chip in chips]
    if gpus is not None:
        yield from ones
        return
    groups = {one.chip.name: smallest_groups(one) for one in ones}
    if not any(groups.values()):
        raise ConfigError(
            f"{shape.name} in {ones[0].weights} fits a node of none of {', '.join(chips)}; give --weights of fewer "
            f"bits, or other --chips"
        )
    for one in ones:
        # A chip that does not hold it is tried all the same: its row says so.
        for count in groups[one.chip.name] or (one.chip.chips_per_node,):
            yield on_chips(one, count)


def _by_processes(cases: Sequence[Case], jobs: int | None) -> list[Found]:
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs is {jobs}; give a number of processes of at least 1")
    # Begun afresh: a copy of this process would take its threads' locks along.
    workers = ProcessPoolExecutor(jobs or os.cpu_count() or 1, get_context("spawn"))
    with workers as pool, _progress() as progress:
        task = progress.add_task("fleets", total=len(cases))
        found: list[Found] = []
        # The longest are begun first, so that no core waits for one at the end.
        for done in as_completed([pool.submit(solve, each) for each in sorted(cases, key=lambda each: -each.scale)]):
            found.append(done.result())
            progress.advance(task)
    return found


def _by_ray(cases: Sequence[Case], address: str) -> list[Found]:
    try:
        import ray
    except ImportError:
        raise OperatorError("a Ray cluster needs the extra `ray`: install bursar[ray]") from None
    _must_answer(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise OperatorError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from None
    try:
        with _progress() as progress:
            task = progress.add_task("fleets", total=len(cases))
            work = ray.remote(solve)
            waiting, found = [work.remote(each) for each in cases], []
            while waiting:
                done, waiting = ray.wait(waiting)
                found += ray.get(done)
                progress.advance(task)
    finally:
        ray.shutdown()
    return found


def _must_answer(address: str) -> None:
    """Refuse an address behind which nobody listens, which Ray would wait for a long time."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise OperatorError(f"no Ray cluster answers at {address} ({error}); give host:port, or local") from None


def _progress() -> Progress:
    """Show on standard error how far it is, and leave nothing behind."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal
    )


def _price(facts: Facts, rents: Mapping[str, Money], found: Found) -> Priced:
    if found.replicas is None or found.report is None:
        return Priced(found, None)
    placed = found.case.deployment
    hour_nano = rents[placed.chip.name] * found.replicas * placed.chips
    return Priced(found, hour_nano, extrapolates(found.report, placed, found.case.calibration, facts.energy))


def _best(scale: float, priced: Sequence[Priced]) -> Priced | None:
    """Give the cheapest fleet of a load, from a list in order."""
    fleets = (each for each in priced if each.found.case.scale == scale and each.hour_nano is not None)
    return next(fleets, None)


def _remark(each: Priced, priced: Sequence[Priced]) -> str:
    """Say whether a fleet is the cheapest of its load, or would be with step times within their error."""
    best = _best(each.found.case.scale, priced)
    if best is None or best.hour_nano is None or each.hour_nano is None:
        return ""
    if each is best:
        return "cheapest"
    turned = each.at_ends_nano[0] < best.hour_nano or best.at_ends_nano[1] > each.hour_nano
    return "within the error" if turned else ""


def _order(priced: Priced) -> tuple[float, int, str, int]:
    case = priced.found.case
    cheap = priced.hour_nano if priced.hour_nano is not None else 1 << 62
    return case.scale, cheap, case.deployment.chip.name, case.deployment.chips


def _row_json(priced: Priced, remark: str) -> dict[str, Any]:
    found, case = priced.found, priced.found.case
    return {
        "scale": case.scale,
        "chip": case.deployment.chip.name,
        "gpus": case.deployment.chips,
        "replicas": found.replicas,
        "replicas_interval": None if found.replicas is None else list(found.ends),
        "remark": remark,
        "chips": priced.chips,
        "usd_per_hour": None if priced.hour_nano is None else nano_to_usd(priced.hour_nano),
        "guess": found.guess,
        "tried": list(found.tried),
        "reason": found.reason,
        "extrapolates": list(priced.extrapolates),
        "figures": None if found.report is None else dict(found.report.figures()),
    }


def _promise(loads: Sequence[tuple[float, Trace]], requests: int, promised: Promised) -> None:
    """Say what is promised, and what is replayed at each load."""
    print(f"{promised.slo_share:.2%} should keep TTFT {promised.slo_ttft_ms:g} ms and TPOT {promised.slo_tpot_ms:g} ms")
    for times, trace in loads:
        stretch = ", the busiest stretch" if len(trace) >= requests else ""
        print(f"{times:g}x: {len(trace):,} requests of {trace.name} in {trace.span_s:,.0f} s{stretch}")


def _show(priced: Sequence[Priced]) -> None:
    rows = [_row(each, _remark(each, priced)) for each in priced]
    columns = ["load", "chip", "a replica", "replicas", "chips", "USD an hour", "kept", "TTFT p99 ms", "KV use", ""]
    print_table(columns, rows, right=tuple(range(2, 9)))
    if any(row[-1] == "within the error" for row in rows):
        print(
            "within the error: the order turns with step times at an end of their 90 % interval, replicas in proportion"
        )
    for line in _short(priced):
        print(line)
    refused = dict.fromkeys(
        f"{each.found.case.deployment.chips} x {each.found.case.deployment.chip.name} at {each.found.case.scale:g}x: "
        f"{each.found.reason}"
        for each in priced
        if each.found.reason
    )
    for line in refused:
        print(line)
    beyond = dict.fromkeys(what for each in priced for what in each.extrapolates)
    if beyond:
        print(f"extrapolates: {'; '.join(beyond)}")


def _short(priced: Sequence[Priced]) -> Iterator[str]:
    """Warn of loads that are over before the fleet has come to a steady state."""
    for scale, trace, fleets in _by_load(priced):
        slowest_s = max((each.e2e_ms.p99 / 1e3 for each in fleets if each.e2e_ms is not None), default=0.0)
        if slowest_s > trace.span_s / 5:
            took = f"answers take {slowest_s:,.1f} s (p99), the trace {trace.span_s:,.1f} s"
            yield f"{scale:g}x: {took}; give a longer one"


def _by_load(priced: Sequence[Priced]) -> Iterator[tuple[float, Trace, list[Report]]]:
    for scale in dict.fromkeys(each.found.case.scale for each in priced):
        these = [each.found for each in priced if each.found.case.scale == scale]
        yield scale, these[0].case.trace, [each.report for each in these if each.report is not None]


def _row(priced: Priced, remark: str) -> list[str]:
    case, found = priced.found.case, priced.found.report
    start = [f"{case.scale:g}x", case.deployment.chip.name, str(case.deployment.chips)]
    if found is None or priced.hour_nano is None:
        return [*start, "none", "", "", "", "", "", ""]
    ttft = f"{found.ttft_ms.p99:,.0f}" if found.ttft_ms is not None else "-"
    cost = nano_to_usd(priced.hour_nano)
    middle = [
        str(priced.found.replicas),
        str(priced.chips),
        cost,
        f"{found.kept_share:.2%}",
        ttft,
        f"{found.kv_use:.0%}",
    ]
    return [*start, *middle, remark]
