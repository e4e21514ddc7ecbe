"""Say what a token must cost: the floor price of input, cached input and output, with its interval.

Input is priced by the seconds its prefill takes, output by those of decoding, cached input by loading it and by its
room in the host's memory, as if each had a pool of its own. What the three take together is the time of the
replica, so nothing is counted twice and nothing is left out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bursar.core.money import Money
from bursar.physics.calibration import Calibration
from bursar.physics.cost import HOURS_PER_YEAR, Terms, dollars, nano_per_million
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.energy import Energy, EnergyCalibration, Site, energy, idle_w
from bursar.physics.serving import Guess, Pace, Promise, Traffic, pace


@dataclass(frozen=True, slots=True)
class Store:
    """Hold where cached input waits: the price of a gigabyte of the host's memory, its life, and how long it waits."""

    nano_per_gb: Money
    hold_s: float = 300.0
    life_years: float = 5.0

    def dollars_for(self, kept_bytes: float) -> float:
        """Give what keeping bytes until they are used costs."""
        lives = self.hold_s / (self.life_years * HOURS_PER_YEAR * 3_600)
        return kept_bytes / 1e9 * dollars(self.nano_per_gb) * lives


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold a working point: what is served on what, to whom, under which promise and on which terms.

    `calibration` is that of time, `energy` that of energy; `server` stands around the chips, its building is in the
    terms. `speed` divides all times: 1 is what the calibration says.
    """

    deployment: Deployment
    traffic: Traffic
    promise: Promise
    terms: Terms
    store: Store
    calibration: Calibration
    energy: EnergyCalibration
    server: Site = field(default_factory=Site)
    guess: Guess = field(default_factory=Guess)
    speed: float = 1.0

    @property
    def pace(self) -> Pace:
        """Find the batch and how fast it goes."""
        return pace(self.deployment, self.traffic, self.promise, self.calibration, self.guess)


@dataclass(frozen=True, slots=True)
class Rate:
    """Hold a price in nano-USD per million tokens, and the bounds of its 90 % interval."""

    nano: Money
    low_nano: Money
    high_nano: Money


@dataclass(frozen=True, slots=True)
class Draw:
    """Hold what the machines of a replica draw, chips and hosts, in watts: reading, writing, waiting.

    `error` is the half width of the 90 % interval of ln(watts).
    """

    prefill_w: float
    decode_w: float
    idle_w: float
    error: float
    extrapolates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Floor:
    """Hold the floor and what it rests on. Joules are the site's, idle time and cooling with them."""

    fresh: Rate
    cached: Rate
    output: Rate
    request_dollars: float
    parts_dollars: Mapping[str, float]
    joules_per_token: Mapping[str, float]
    joules_per_request: float
    pace: Pace
    draw: Draw
    error: float
    extrapolates: tuple[str, ...]


def floor(plan: Plan) -> Floor:
    """Price the tokens of a working point at what they must cost."""
    found = plan.pace
    drawn = draw(plan, found)
    seconds = {"fresh": found.fresh_s, "cached": found.cached_s, "output": found.output_s}
    seconds = {name: each / plan.speed for name, each in seconds.items()}
    watts = {"fresh": drawn.prefill_w, "cached": drawn.prefill_w, "output": drawn.decode_w}
    traffic, terms = plan.traffic, plan.terms
    kept = plan.deployment.shape.kv_elements(traffic.input_tokens) * plan.deployment.cache_bytes / traffic.input_tokens
    time = {name: terms.dollars_of_time(plan.deployment.chips, each) for name, each in seconds.items()}
    power = {name: terms.dollars_of_power(watts[name] * each, drawn.idle_w, each) for name, each in seconds.items()}
    # Nobody keeps for more than computing it again costs.
    worth = time["fresh"] + power["fresh"] - time["cached"] - power["cached"]
    storage = {"fresh": 0.0, "cached": min(plan.store.dollars_for(kept), worth), "output": 0.0}
    joules = {name: terms.site_joules(watts[name] * each, drawn.idle_w, each) for name, each in seconds.items()}
    count = {"fresh": traffic.fresh_tokens, "cached": traffic.cached_tokens, "output": float(traffic.output_tokens)}
    token = {name: time[name] + power[name] + storage[name] for name in seconds}
    parts = {
        "machines": sum(time[name] * count[name] for name in count),
        "power": sum(power[name] * count[name] for name in count),
        "storage": sum(storage[name] * count[name] for name in count),
    }
    whole = sum(parts.values())
    error = math.hypot(found.error, drawn.error * parts["power"] / whole) if whole else found.error
    return Floor(
        fresh=_rate(token["fresh"], error),
        cached=_rate(token["cached"], error),
        output=_rate(token["output"], error),
        request_dollars=whole,
        parts_dollars=parts,
        joules_per_token=joules,
        joules_per_request=sum(joules[name] * count[name] for name in count),
        pace=found,
        draw=drawn,
        error=error,
        extrapolates=(*found.extrapolates, *drawn.extrapolates),
    )


def request_dollars(plan: Plan) -> float:
    """Give what one request of a working point costs."""
    return floor(plan).request_dollars


def break_even(plan: Plan) -> float:
    """Give the rent of a chip-hour, power in it, at which renting costs what the plan's terms do."""
    found = floor(plan)
    per_chip_hour = requests_per_s(plan) * 3_600 / plan.deployment.chips
    return (found.request_dollars - found.parts_dollars["storage"]) * per_chip_hour


def requests_per_s(plan: Plan) -> float:
    """Give the requests a replica answers a second on average, idle time and waste counted."""
    return plan.terms.busy * (1 - plan.terms.waste) * plan.speed / plan.pace.request_s(plan.traffic)


def meeting_utilisation(plan: Plan, dollars_asked: float) -> float | None:
    """Give the utilisation at which a request costs what somebody asks for it; None where full use costs more.

    Of a request's cost one part is divided by utilisation, the rest does not know it.
    """

    def at(utilisation: float) -> float:
        return request_dollars(replace(plan, terms=replace(plan.terms, utilisation=utilisation)))

    full, half = at(1.0), at(0.5)
    divided = half - full
    if dollars_asked < full:
        return None
    rest = full - divided
    return divided / (dollars_asked - rest)


def draw(plan: Plan, found: Pace) -> Draw:
    """Say what a replica's machines draw, the building apart."""
    server = replace(plan.server, pue=1.0)

    def taken(batch: Batch, seconds: float) -> Energy:
        return energy(plan.deployment, batch, seconds, plan.energy, server)

    reading, writing = taken(found.reading, found.prefill.seconds), taken(found.writing, found.decode.seconds)
    # Energy was measured where prompts are read beside answers: true of every floor, so the reference says it once.
    named = (each for each in reading.extrapolates if each != "no new tokens")
    return Draw(
        prefill_w=reading.total_j / reading.seconds,
        decode_w=writing.total_j / writing.seconds,
        idle_w=idle_w(plan.deployment, server),
        error=max(math.log(writing.high), -math.log(writing.low)),
        extrapolates=tuple(f"energy: {each}" for each in dict.fromkeys((*named, *writing.extrapolates))),
    )


def settled(plan: Plan) -> Plan:
    """Fix the batch at what the plan finds, so that small changes of a dial do not change it."""
    return replace(plan, promise=replace(plan.promise, batch=plan.pace.batch))


def _rate(dollars_per_token: float, error: float) -> Rate:
    spread = math.exp(error)
    bounds = (dollars_per_token, dollars_per_token / spread, dollars_per_token * spread)
    return Rate(*(nano_per_million(each) for each in bounds))
