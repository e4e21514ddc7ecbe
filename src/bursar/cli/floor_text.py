"""Gather what `bursar floor` answers, and write it for people and for machines."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bursar.cli.common import console, print_table
from bursar.core.money import Money, div_half_even, nano_to_usd
from bursar.physics.asked import Offer, middle
from bursar.physics.boards import Habits, biggest
from bursar.physics.cost import JOULES_PER_KWH, Owned, dollars, electricity
from bursar.physics.dials import Turn
from bursar.physics.floor import Floor, Plan, Rate, break_even, meeting_utilisation, requests_per_s
from bursar.physics.footprint import Region
from bursar.physics.request import listed
from bursar.physics.technique import Saving

MILLION: Final = 1_000_000
WIDTH: Final = 100
"""How wide lines may be where no terminal says it."""
OF_POWER: Final = ("power price", "overhead (PUE)")
_KINDS: Final = {"fresh": "input", "cached": "cached input", "output": "output"}


@dataclass(frozen=True)
class Place:
    """Hold what is known of carbon and water where a replica stands; litres a kWh off and on site, None unknown."""

    region: Region
    off_site_l: float | None
    on_site_l: float | None

    def carbon_g(self, joules: float) -> float:
        """Give the grams of CO2 equivalent of what the site draws."""
        return joules / JOULES_PER_KWH * self.region.carbon_g_per_kwh

    def water_l(self, joules: float, pue: float) -> float | None:
        """Give the litres evaporated, on site for the servers' part and where the power is made; None if unknown.

        E_servers x (WUE on site + PUE x WUE off site); Li et al., arXiv 2304.03271.
        """
        if self.off_site_l is None or self.on_site_l is None:
            return None
        return joules / JOULES_PER_KWH * (self.on_site_l / pue + self.off_site_l)


@dataclass(frozen=True)
class Answer:
    """Hold all that is said of a working point."""

    plan: Plan
    floor: Floor
    machine: tuple[Turn, ...]
    request: tuple[Turn, ...]
    techniques: tuple[Saving, ...]
    offers: tuple[Offer, ...]
    parts: Mapping[str, Money]
    training_nano: Money | None
    place: Place | None
    drafted: str
    habits: Habits

    @property
    def rates(self) -> Mapping[str, Rate]:
        """Give the floor's prices by what they are for."""
        return {"fresh": self.floor.fresh, "cached": self.floor.cached, "output": self.floor.output}

    @property
    def request_nano(self) -> Money:
        """Give what a request costs in all: the sum of its parts."""
        return sum(self.parts.values())

    @property
    def training_dollars(self) -> float:
        """Give what the tokens of one try carry of the training."""
        return dollars(self.parts["training"])

    @property
    def sold_dollars(self) -> float:
        """Give what sellers ask for in one sum: the tokens of one try, training with them."""
        return self.floor.request_dollars + self.training_dollars

    def holds(self, asked_dollars: float) -> bool:
        """Say whether what is asked for a request lies inside the 90 % interval of `sold_dollars`."""
        spread, tokens = math.exp(self.floor.error), self.floor.request_dollars
        low, high = (each + self.training_dollars for each in (tokens / spread, tokens * spread))
        return low <= asked_dollars <= high

    @property
    def interval_dollars(self) -> tuple[float, float]:
        """Give the 90 % interval of what a request costs in all: only what the machines take is uncertain."""
        spread, habits = math.exp(self.floor.error), self.habits
        machines = habits.dollars_with(self.floor.request_dollars, 0) - habits.dollars_with(0.0, 0)
        sure = dollars(self.request_nano) - machines
        return sure + machines / spread, sure + machines * spread

    def met_at(self, asked_dollars: float) -> float | None:
        """Give the utilisation at which the floor is what is asked for a request; None where none is enough."""
        return meeting_utilisation(self.plan, asked_dollars - self.training_dollars)


def show(answer: Answer, assumed: str) -> None:
    """Print an answer for people."""
    out = console(WIDTH)
    deployment, traffic, found = answer.plan.deployment, answer.plan.traffic, answer.floor
    out.print(
        f"[bold]{deployment.shape.name}[/bold] in {deployment.weights} on {deployment.chips} x {deployment.chip.name}; "
        f"{traffic.input_tokens:,} tokens in ({traffic.cached_share:.0%} cached), {traffic.output_tokens:,} out"
    )
    _print_lines(_terms(answer.plan, assumed))
    out.print()
    _show_rates(answer)
    out.print()
    _print_lines((*_serving(answer), *_energy(answer), *_asked(answer)))
    out.print()
    whole = dollars(answer.request_nano * MILLION)
    out.print(f"A million such requests cost {whole:,.2f} USD in all. What dials make of that:")
    out.print()
    _show_machine(answer)
    out.print()
    _show_board(f"The request's dials; the biggest: {biggest(answer.request)}", answer.request)
    out.print()
    _show_techniques(answer.techniques, answer.drafted)
    out.print()
    out.print("A thousand requests by their parts")
    _show_parts(answer.parts)
    out.print()
    _print_lines([_honesty(found)])


def _print_lines(lines: Iterable[str]) -> None:
    """Print lines, folded under their text where they are wider than the terminal."""
    out = console(WIDTH)
    for line in lines:
        indent = " " * 10 if line[8:10] == "  " else ""
        for part in textwrap.wrap(line, out.width, subsequent_indent=indent, break_on_hyphens=False):
            out.print(part, markup=False)


def price_line(answer: Answer) -> str:
    """Write the floor as the price of a model in bursar.toml."""
    words = {"input": answer.floor.fresh, "cache_read": answer.floor.cached, "output": answer.floor.output}
    rates = ", ".join(f'{word} = "{nano_to_usd(rate.nano)}"' for word, rate in words.items())
    return f"price = {{ {rates} }}"


def as_json(answer: Answer) -> dict[str, Any]:
    """Give an answer for machines: money as decimal text, estimates as numbers."""
    plan, found, pace = answer.plan, answer.floor, answer.floor.pace
    return {
        "model": plan.deployment.shape.name,
        "chip": plan.deployment.chip.name,
        "chips": plan.deployment.chips,
        "weights": plan.deployment.weights,
        "usd_per_million": {
            _KINDS[name].replace(" ", "_"): {
                "floor": nano_to_usd(rate.nano),
                "low": nano_to_usd(rate.low_nano),
                "high": nano_to_usd(rate.high_nano),
                "joules_per_token": found.joules_per_token[name],
            }
            for name, rate in answer.rates.items()
        },
        "training_usd_per_million": None if answer.training_nano is None else nano_to_usd(answer.training_nano),
        "request": {
            "dollars": dollars(answer.request_nano),
            "tokens_dollars": found.request_dollars,
            "parts_dollars": dict(found.parts_dollars),
            "usd_by_part": {name: nano_to_usd(nano) for name, nano in answer.parts.items()},
            "joules": found.joules_per_request,
            **_left_behind(answer),
        },
        "replica": _replica(answer),
        "break_even_dollars_per_chip_hour": break_even(plan) if isinstance(plan.terms.holding, Owned) else None,
        "batch": pace.batch,
        "batch_limit": pace.limit,
        "tpot_ms": pace.tpot_s * 1_000,
        "prefill_step_ms": pace.prefill.seconds * 1_000,
        "decode_step_ms": pace.decode.seconds * 1_000,
        "binds": {name: dict(shares) for name, shares in pace.binds.items()},
        "offers": [_offer(answer, each) for each in answer.offers],
        "dials": {"machine": _turns(answer.machine), "request": _turns(answer.request)},
        "techniques": [
            {"technique": each.technique, "setting": each.setting, "saves": each.share, "status": each.status}
            for each in answer.techniques
        ],
        "acceptance_measured_on": answer.drafted,
        "interval": "90 %",
        "error_ln": found.error,
        "extrapolates": list(found.extrapolates),
        "calibration": plan.calibration.source,
    }


def _left_behind(answer: Answer) -> dict[str, Any]:
    place, joules = answer.place, answer.floor.joules_per_request
    if place is None:
        return {"carbon_g": None, "water_l": None, "region": None, "carbon_year": None}
    return {
        "carbon_g": place.carbon_g(joules),
        "water_l": place.water_l(joules, answer.plan.terms.pue),
        "region": place.region.name,
        "carbon_year": place.region.year,
    }


def _replica(answer: Answer) -> dict[str, Any]:
    a_day, kwh, day_nano = _day(answer)
    paid = nano_to_usd(day_nano) if answer.plan.terms.holding.pays_power else None
    return {"requests_per_day": a_day, "kwh_per_day": kwh, "power_usd_per_day": paid}


def _day(answer: Answer) -> tuple[float, float, Money]:
    """Give a replica's requests a day, its kWh at the meter of the building, and what they cost."""
    plan = answer.plan
    per_s = requests_per_s(plan)
    machines_w = answer.floor.joules_per_request * per_s / plan.terms.pue
    kwh, day_nano = electricity(machines_w, plan.terms.pue, 24, plan.terms.power_nano_per_kwh)
    return per_s * 86_400, kwh, day_nano


def _offer(answer: Answer, offer: Offer) -> dict[str, Any]:
    asked = listed(offer.card, answer.plan.traffic.input_tokens)
    return {
        "seller": offer.seller,
        "request_dollars": offer.request_dollars,
        "times_floor": offer.request_dollars / answer.sold_dollars,
        "inside_interval": answer.holds(offer.request_dollars),
        "met_at_utilisation": answer.met_at(offer.request_dollars),
        "usd_per_million": {
            "input": nano_to_usd(asked.fresh_nano),
            "cached_input": nano_to_usd(asked.cached_nano),
            "output": nano_to_usd(asked.output_nano),
        },
        "source": offer.card.source.url,
        "checked": offer.card.source.checked,
    }


def _turns(turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
    return [
        {
            "dial": turn.dial.name,
            "value": turn.dial.value,
            "low": turn.dial.low,
            "high": turn.dial.high,
            "unit": turn.dial.unit,
            "why": turn.dial.why,
            "elasticity": turn.elasticity,
            "best": turn.best,
            "dollars_per_million_requests": turn.dollars,
        }
        for turn in turns
    ]


def _terms(plan: Plan, assumed: str) -> list[str]:
    return [_paid(plan), *([f"priced by {assumed}"] if assumed else [])]


def _paid(plan: Plan) -> str:
    terms = plan.terms
    power = f"power at {nano_to_usd(terms.power_nano_per_kwh)} USD a kWh, PUE {terms.pue:g}"
    use = f"{terms.utilisation:.0%} utilised" + (f", {terms.reserve:.0%} kept free" if terms.reserve else "")
    holding = terms.holding
    if isinstance(holding, Owned):
        paid = f"bought at {nano_to_usd(holding.capex_nano)} USD a chip, paid back in {holding.life_years:g} "
        return f"{paid}years at {holding.interest:.0%}, {holding.upkeep:.0%} a year for upkeep; {power}; {use}"
    return f"rented at {nano_to_usd(holding.nano_per_hour)} USD a chip-hour, power in it; {use}"


def _show_rates(answer: Answer) -> None:
    rows = [
        [
            _KINDS[name],
            _usd(rate.nano),
            f"{_usd(rate.low_nano)} to {_usd(rate.high_nano)}",
            f"{answer.floor.joules_per_token[name]:.3g}",
        ]
        for name, rate in answer.rates.items()
    ]
    if answer.training_nano is not None:
        rows.append(["training, on every token", _usd(answer.training_nano), "", ""])
    print_table(
        ["USD per million tokens", "floor", "90 % interval", "joules a token"], rows, right=(1, 2, 3), width=WIDTH
    )


def _serving(answer: Answer) -> list[str]:
    pace, chips = answer.floor.pace, answer.plan.deployment.chips
    reading = f"reading   {1 / pace.fresh_s / chips:,.0f} tokens/s a chip; bound by {_bound(pace.binds['prefill'])}"
    if not answer.plan.traffic.decoded_tokens:
        return ["writing   none: the only token comes from the step that reads the prompt", reading]
    written = answer.plan.guess.accepted * pace.batch / pace.decode.seconds / chips
    return [
        f"batch     {pace.batch} sequences, kept from more by {pace.limit}; {pace.tpot_s * 1e3:.1f} ms a token",
        f"writing   a step of {pace.decode.seconds * 1e3:.1f} ms, {written:,.0f} tokens/s a chip; "
        f"bound by {_bound(pace.binds['decode'])}",
        reading,
    ]


def _energy(answer: Answer) -> list[str]:
    a_day, kwh, day_nano = _day(answer)
    paid = f"{dollars(day_nano):,.2f} USD" if answer.plan.terms.holding.pays_power else "paid with the rent"
    return [
        f"energy    {answer.floor.joules_per_request:,.0f} J a request, idle time and cooling in it; "
        f"{a_day:,.0f} requests a day take the replica {kwh:,.1f} kWh, {paid}",
        _left(answer),
    ]


def _left(answer: Answer) -> str:
    """Say what a thousand requests leave behind."""
    place, joules = answer.place, answer.floor.joules_per_request * 1_000
    if place is None:
        return "leaves    carbon and water are unknown without a --region"
    water = place.water_l(joules, answer.plan.terms.pue)
    wet = (
        f"{water:,.2f} litres of water"
        if water is not None
        else "water unknown (name an --operator, in a known region)"
    )
    return (
        f"leaves    {place.carbon_g(joules):,.1f} g CO2e a thousand requests "
        f"({place.region.place}, {place.region.year}), {wet}"
    )


def _asked(answer: Answer) -> list[str]:
    lines: list[str] = []
    if isinstance(answer.plan.terms.holding, Owned):
        lines.append(f"rent      owning costs what renting at {break_even(answer.plan):.2f} USD a chip-hour does")
    if not answer.offers:
        return [*lines, "sellers   none in the price book under this name"]
    least, median = answer.offers[0], middle(answer.offers)
    own, use = answer.sold_dollars, answer.plan.terms.utilisation
    return [
        *lines,
        f"sellers   {len(answer.offers)} in the price book: {least.seller} asks least, "
        f"{least.request_dollars / own:.2f} times the floor at {use:.0%} utilised ({_met(answer, least)}); "
        f"the middle one {median / own:.2f} times",
    ]


def _met(answer: Answer, offer: Offer) -> str:
    """Say what an offer means beside the floor: the interval's word, and the utilisation that would meet it."""
    found = "inside its 90 % interval" if answer.holds(offer.request_dollars) else "outside its 90 % interval"
    met = answer.met_at(offer.request_dollars)
    return f"{found}; {'no utilisation meets it' if met is None else f'{met:.0%} utilised meets it'}"


def _show_machine(answer: Answer) -> None:
    title = f"The machine's dials; the biggest: {biggest(answer.machine)}"
    if answer.plan.terms.holding.pays_power:
        _show_board(title, answer.machine)
        return
    _show_board(title, tuple(turn for turn in answer.machine if turn.dial.name not in OF_POWER))
    console(WIDTH).print("The rent holds the power: its price and the overhead (PUE) move nothing.")


def _show_board(title: str, turns: tuple[Turn, ...]) -> None:
    rows = [
        [
            turn.dial.name,
            f"{turn.dial.value:.4g} {turn.dial.unit}".rstrip(),
            f"{turn.dial.low:.4g} to {turn.dial.high:.4g}",
            f"{turn.elasticity:+.2f}",
            f"{turn.dollars:,.2f}",
        ]
        for turn in turns
    ]
    columns = ["dial", "now", "range", "elasticity", "USD available"]
    print_table(columns, rows, right=(1, 2, 3, 4), title=title, width=WIDTH)


def _show_techniques(found: tuple[Saving, ...], drafted: str) -> None:
    rows = [[each.technique, each.setting, "none" if each.share is None else f"{each.share:.0%}"] for each in found]
    columns = ["technique", "setting", "saves of a request's tokens"]
    print_table(columns, rows, title="What techniques save here", width=WIDTH)
    _print_lines(f"{each.technique}: {each.status}" for each in found if each.share is None)
    _print_lines([f"speculative decoding: drafts are taken as often as measured on {drafted}, coding prompts"])


def _show_parts(parts: Mapping[str, Money]) -> None:
    whole_nano = sum(parts.values())
    rows = [[name, nano_to_usd(nano * 1_000, 6), _percent(nano, whole_nano)] for name, nano in parts.items() if nano]
    rows.append(["all", nano_to_usd(whole_nano * 1_000, 6), ""])
    print_table(["part", "USD", "share"], rows, right=(1, 2), width=WIDTH)


def _percent(nano: Money, whole_nano: Money) -> str:
    return f"{'-' if nano < 0 else ''}{div_half_even(abs(nano) * 100, whole_nano)}%"


def _honesty(found: Floor) -> str:
    spread = f"90 % interval: a factor of {2.718281828**found.error:.2f} either way"
    if not found.extrapolates:
        return f"{spread}; all within the calibration"
    return f"{spread}; beyond the calibration: {', '.join(found.extrapolates)}"


def _bound(shares: Mapping[str, float]) -> str:
    ordered = sorted(shares.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in ordered if share >= 0.005)


def _usd(nano: Money) -> str:
    """Write a price with as many decimals as its size makes worth reading."""
    value = dollars(nano)
    return f"{value:,.2f}" if value >= 10 else f"{value:.3g}" if value < 0.01 else f"{value:.4f}"
