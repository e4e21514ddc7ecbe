"""`bursar simulate`: replay a trace through a modelled fleet, and say how long requests take and what it costs."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from bursar.cli.common import Json, print_json
from bursar.cli.machines import NOWHERE, On, deployment_of, model_shape, usd
from bursar.cli.simulate_text import Answer, as_json, show
from bursar.core.errors import ConfigError, OperatorError
from bursar.core.money import Money
from bursar.physics.calibration import Calibration
from bursar.physics.deployment import Deployment
from bursar.physics.energy import Site
from bursar.physics.facts import Facts, load
from bursar.simulate.bill import Rate, bill, extrapolates
from bursar.simulate.engine import Engine
from bursar.simulate.fleet import Fleet, Router, simulate
from bursar.simulate.load import Stretch, multiplied
from bursar.simulate.modelled import Modelled, blocks_beside
from bursar.simulate.report import Promise, report
from bursar.simulate.timer import Scaled
from bursar.simulate.trace import Trace
from bursar.simulate.traces import SHIPPED, parse, poisson
from bursar.simulate.traces import load as load_trace

Model = Annotated[str, Parameter(help="A model's name, or the path of its config.json.")]
Replayed = Annotated[
    str,
    Parameter(
        name="--trace",
        help="azure-code, azure-conv, poisson:RATE,IN,OUT,SECONDS, or a file of Azure's, Mooncake's or our own form.",
    ),
]
Seed = Annotated[int, Parameter(name="--seed", help="Seed of random arrivals.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Serving:
    """Hold how a replica's engine is set."""

    kv_blocks: Annotated[int | None, Parameter(help="Blocks of 16 tokens of cache; what fits without it.")] = None
    step_tokens: Annotated[int, Parameter(help="Most tokens of a step, as vLLM's max_num_batched_tokens.")] = 8192
    sequences: Annotated[int, Parameter(help="Most requests of a step, as vLLM's max_num_seqs.")] = 256
    prefix_cache: Annotated[bool, Parameter(help="Keep what prompts have in common.")] = True
    router: Annotated[Router, Parameter(help="How a replica is chosen.")] = Router.LEAST_LOAD


@Parameter(name="*")
@dataclass(frozen=True)
class Promised:
    """Hold what is promised to requests."""

    slo_ttft_ms: Annotated[float, Parameter(help="Promised time to the first token.")] = 500.0
    slo_tpot_ms: Annotated[float, Parameter(help="Promised mean time per further token.")] = 50.0
    slo_share: Annotated[float, Parameter(help="Share of the requests that must keep both.")] = 0.99

    @property
    def promise(self) -> Promise:
        """Give it to the simulator."""
        return Promise(self.slo_ttft_ms, self.slo_tpot_ms, self.slo_share)


@Parameter(name="*")
@dataclass(frozen=True)
class Paid:
    """Hold what machine time costs."""

    chip_usd_per_hour: Annotated[str | None, Parameter(help="Rent of a chip; a published one without it.")] = None
    pue: Annotated[float, Parameter(help="The site's power over the machines'.")] = 1.15


DEFAULT_SERVING: Final = Serving()
DEFAULT_PROMISE: Final = Promised()
DEFAULT_PAID: Final = Paid()


def simulate_command(
    model: Model,
    *,
    trace: Replayed,
    on: On = NOWHERE,
    replicas: Annotated[int, Parameter(help="How many replicas share the requests.")] = 1,
    serving: Serving = DEFAULT_SERVING,
    promised: Promised = DEFAULT_PROMISE,
    paid: Paid = DEFAULT_PAID,
    scale: Annotated[float, Parameter(help="How many times the requests, in the same time.")] = 1.0,
    interval: Annotated[bool, Parameter(help="Also with the step times of the 90 % interval's ends.")] = True,
    seed: Seed = 1,
    plot: Annotated[Path | None, Parameter(help="Draw the timeline into this .svg or .png.")] = None,
    json: Json = False,
) -> None:
    """Replay a trace through a modelled fleet: latencies, promises kept, queue, memory, energy, dollars.

    The same line always gives the same answer. Step times are modelled; what lies outside the calibration is named.
    """
    if plot is not None:
        from bursar.cli.floor_plot import must_be_drawable

        must_be_drawable(plot)
    facts = load()
    deployment = deployment_of(facts, model_shape(facts, model), on)
    calibration = facts.times.of(deployment)
    fleet = fleet_of(deployment, calibration, serving, replicas)
    replayed = trace_of(trace, seed, scale)
    run = simulate(fleet, replayed)
    found = report(run, promised.promise)
    paid_for = bill(found, replicas, deployment, facts.energy, rate_of(facts, deployment, paid))
    error = calibration.error_on(deployment.chip)
    ends = tuple(
        report(simulate(_at(fleet, factor), replayed), promised.promise)
        for factor in (math.exp(-error), math.exp(error))
        if interval
    )
    beyond = extrapolates(found, deployment, calibration, facts.energy)
    answer = Answer(deployment, fleet, replayed, promised.promise, found, paid_for, ends, seed, beyond)
    if plot is not None:
        from bursar.cli.simulate_plot import draw

        draw(answer, plot)
    if json:
        print_json(as_json(answer))
    else:
        show(answer)


def fleet_of(deployment: Deployment, calibration: Calibration, serving: Serving, replicas: int) -> Fleet:
    """Put an engine on a deployment, as often as there are replicas."""
    blocks = serving.kv_blocks if serving.kv_blocks is not None else blocks_beside(deployment)
    engine = Engine(blocks, serving.step_tokens, serving.sequences, prefix_cache=serving.prefix_cache)
    return Fleet(engine, Modelled(deployment, calibration), replicas, serving.router)


def trace_of(text: str, seed: int, times: float = 1.0, stretch: Stretch | None = None) -> Trace:
    """Read the trace an option names, and multiply its requests.

    Raises `ConfigError`, naming the line, or `OperatorError` for no such file.
    """
    if seed < 0:
        raise ConfigError(f"seed is {seed}; give a whole number of at least 0")
    if text.startswith("poisson:"):
        found = poisson(text.removeprefix("poisson:"), seed, times)
        return found if stretch is None else multiplied(found, 1.0, stretch)
    found = load_trace(text) if text in SHIPPED else _file(text)
    return found if times == 1 and stretch is None else multiplied(found, times, stretch)


def _file(text: str) -> Trace:
    try:
        with Path(text).open(encoding="utf-8") as lines:
            return parse(lines, text)
    except OSError as error:
        known = ", ".join((*SHIPPED, "poisson:RATE,IN,OUT,SECONDS"))
        raise OperatorError(f"trace {text} cannot be read: {error.strerror}; give a file, or {known}") from None
    except UnicodeDecodeError:
        raise OperatorError(f"trace {text} is not text in UTF-8; give CSV or JSON lines") from None


def rate_of(facts: Facts, deployment: Deployment, paid: Paid) -> Rate:
    """Say what a chip-hour costs: as given, or as published. Raises `ConfigError` where neither is known."""
    return Rate(hour_of(facts, deployment.chip.name, paid), Site(pue=paid.pue))


def hour_of(facts: Facts, chip: str, paid: Paid) -> Money:
    """Give the rent of a chip: as given, or as published. Raises `ConfigError` where neither is known."""
    if paid.chip_usd_per_hour is not None:
        return usd("--chip-usd-per-hour", paid.chip_usd_per_hour)
    if chip not in facts.costs.rents:
        raise ConfigError(f"no rent of {chip} is known; give it with --chip-usd-per-hour")
    return facts.costs.rents[chip].nano


def _at(fleet: Fleet, factor: float) -> Fleet:
    return Fleet(fleet.engine, Scaled(fleet.timer, factor), fleet.replicas, fleet.router)
