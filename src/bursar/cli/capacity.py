"""`bursar capacity`: find the cheapest fleet that keeps a promise for a trace, now and at many times the load."""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bursar.cli.common import Json, print_json, print_table
from bursar.cli.machines import On, deployment_of, model_shape
from bursar.cli.simulate import DEFAULT_PROMISE, Model, Paid, Promised, Replayed, Seed, rate_of, trace_of
from bursar.core.errors import ConfigError, OperatorError
from bursar.core.money import Money, nano_to_usd
from bursar.physics.deployment import Deployment
from bursar.physics.facts import Facts, load
from bursar.physics.shape import Shape
from bursar.simulate.bill import extrapolates
from bursar.simulate.capacity import Case, Found, on_chips, smallest_groups, solve
from bursar.simulate.fleet import Router
from bursar.simulate.load import Stretch
from bursar.simulate.trace import Trace

_ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Priced:
    """Hold a fleet that was found, and what an hour of it costs; None where there is none."""

    found: Found
    hour_nano: Money | None
    extrapolates: tuple[str, ...] = ()

    @property
    def chips(self) -> int:
        """Count the chips of the fleet."""
        return (self.found.replicas or 0) * self.found.case.deployment.chips


def capacity(
    *,
    model: Model,
    trace: Replayed,
    chips: Annotated[str, Parameter(help="Chips to choose from, by commas.")] = "H100,H200,B200",
    gpus: Annotated[int | None, Parameter(help="Chips of a replica; the fewest that hold it, and twice that.")] = None,
    scale: Annotated[str, Parameter(help="Times the requests, in the same time, by commas.")] = "1,10,100",
    weights: Annotated[str | None, Parameter(help="Format of the weights; as published without it.")] = None,
    promised: Promised = DEFAULT_PROMISE,
    requests: Annotated[int, Parameter(help="Most requests replayed: of more, the busiest stretch.")] = 200_000,
    router: Annotated[Router, Parameter(help="How a replica is chosen.")] = Router.LEAST_LOAD,
    jobs: Annotated[int | None, Parameter(help="Processes to work in; as many as there are cores without it.")] = None,
    ray: Annotated[str | None, Parameter(help="Address of a Ray cluster to work on instead, or local.")] = None,
    seed: Seed = 1,
    json: Json = False,
) -> None:
    """Find the cheapest fleet that keeps a promise: chips, how many to a replica, and how many replicas.

    A first guess by throughput, then simulations that halve the gap. Rents are the published ones.
    """
    facts = load()
    placed = list(_placed(facts, model_shape(facts, model), chips.split(","), gpus, weights))
    loads = [(times, trace_of(trace, seed, times, Stretch(requests))) for times in _scales(scale)]
    cases = [
        Case(each, replayed, times, promised.promise, facts.times.of(each), router=router)
        for each in placed
        for times, replayed in loads
    ]
    found = _by_ray(cases, ray) if ray is not None else _by_processes(cases, jobs)
    priced = sorted((_price(facts, each) for each in found), key=_order)
    if json:
        replays = [{"scale": times, "requests": len(each), "seconds": round(each.span_s, 3)} for times, each in loads]
        fleets = [_row_json(each) for each in priced]
        print_json({"model": model, "trace": loads[0][1].name, "replayed": replays, "fleets": fleets})
    else:
        _promise(loads, requests, promised)
        _show(priced)


def _scales(text: str) -> list[float]:
    try:
        scales = [float(each) for each in text.split(",")]
    except ValueError:
        raise ConfigError(f"scale is {text!r}; give numbers by commas, such as 1,10,100") from None
    if not all(0 < each < 1e6 for each in scales):
        raise ConfigError(f"scale is {text!r}; give numbers above 0")
    return scales


def _placed(
    facts: Facts, shape: Shape, chips: Sequence[str], gpus: int | None, weights: str | None
) -> Iterator[Deployment]:
    """List the replicas to try. Raises `ConfigError` or `NotThere` for a chip without facts or rent."""
    for chip in chips:
        one = deployment_of(facts, shape, On(chip=chip.strip(), weights=weights))
        rate_of(facts, one, Paid())
        groups = (gpus,) if gpus is not None else smallest_groups(one)
        if not groups:
            node = f"{one.chip.chips_per_node} x {one.chip.name}"
            raise ConfigError(
                f"{shape.name} in {one.weights} does not fit the {node} of a node; give --weights of fewer bits, or "
                f"leave {one.chip.name} out"
            )
        yield from (on_chips(one, count) for count in groups)


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


def _price(facts: Facts, found: Found) -> Priced:
    if found.replicas is None or found.report is None:
        return Priced(found, None)
    placed = found.case.deployment
    hour_nano = rate_of(facts, placed, Paid()).hour_nano * found.replicas * placed.chips
    return Priced(found, hour_nano, extrapolates(found.report, placed, found.case.calibration, facts.energy))


def _order(priced: Priced) -> tuple[float, int, str, int]:
    case = priced.found.case
    cheap = priced.hour_nano if priced.hour_nano is not None else 1 << 62
    return case.scale, cheap, case.deployment.chip.name, case.deployment.chips


def _row_json(priced: Priced) -> dict[str, Any]:
    found, case = priced.found, priced.found.case
    return {
        "scale": case.scale,
        "chip": case.deployment.chip.name,
        "gpus": case.deployment.chips,
        "replicas": found.replicas,
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
    rows, seen = [], set[float]()
    for each in priced:
        best = each.hour_nano is not None and each.found.case.scale not in seen
        seen |= {each.found.case.scale} if best else set()
        rows.append(_row(each, best=best))
    columns = ["load", "chip", "a replica", "replicas", "chips", "USD an hour", "kept", "TTFT p99 ms", "KV use", ""]
    print_table(columns, rows, right=tuple(range(2, 9)))
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


def _row(priced: Priced, *, best: bool) -> list[str]:
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
    return [*start, *middle, "cheapest" if best else ""]
