"""Gather what `bursar floor` answers, and write it for people and for machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bursar.cli.common import console, print_table
from bursar.core.money import Money, div_half_even, nano_to_usd
from bursar.physics.asked import Offer, middle
from bursar.physics.boards import biggest
from bursar.physics.cost import JOULES_PER_KWH, Owned, dollars, electricity
from bursar.physics.dials import Turn
from bursar.physics.floor import Floor, Plan, Rate, break_even
from bursar.physics.footprint import Region
from bursar.physics.request import listed
from bursar.physics.technique import Saving

MILLION: Final = 1_000_000
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

    @property
    def rates(self) -> Mapping[str, Rate]:
        """Give the floor's prices by what they are for."""
        return {"fresh": self.floor.fresh, "cached": self.floor.cached, "output": self.floor.output}


def show(answer: Answer, assumed: str) -> None:
    """Print an answer for people."""
    out = console()
    deployment, traffic, found = answer.plan.deployment, answer.plan.traffic, answer.floor
    out.print(
        f"[bold]{deployment.shape.name}[/bold] in {deployment.weights} on {deployment.chips} x {deployment.chip.name}; "
        f"{traffic.input_tokens:,} tokens in ({traffic.cached_share:.0%} cached), {traffic.output_tokens:,} out"
    )
    out.print(_terms(answer.plan, assumed))
    out.print()
    _show_rates(answer)
    out.print()
    for line in (*_serving(answer), *_energy(answer), *_asked(answer)):
        out.print(line)
    out.print()
    out.print(f"A million such requests cost {found.request_dollars * MILLION:,.2f} USD. What dials make of that:")
    out.print()
    _show_board(f"The machine's dials; the biggest: {biggest(answer.machine)}", answer.machine)
    out.print()
    _show_board(f"The request's dials; the biggest: {biggest(answer.request)}", answer.request)
    out.print()
    _show_techniques(answer.techniques)
    out.print()
    out.print("A thousand requests by their parts")
    _show_parts(answer.parts)
    out.print()
    out.print(_honesty(found))


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
            "dollars": found.request_dollars,
            "parts_dollars": dict(found.parts_dollars),
            "usd_by_part": {name: nano_to_usd(nano) for name, nano in answer.parts.items()},
            "joules": found.joules_per_request,
            **_left_behind(answer),
        },
        "break_even_dollars_per_chip_hour": break_even(plan) if isinstance(plan.terms.holding, Owned) else None,
        "batch": pace.batch,
        "batch_limit": pace.limit,
        "tpot_ms": pace.tpot_s * 1_000,
        "prefill_step_ms": pace.prefill.seconds * 1_000,
        "decode_step_ms": pace.decode.seconds * 1_000,
        "binds": {name: dict(shares) for name, shares in pace.binds.items()},
        "offers": [_offer(each, plan.traffic.input_tokens) for each in answer.offers],
        "dials": {"machine": _turns(answer.machine), "request": _turns(answer.request)},
        "techniques": [
            {"technique": each.technique, "setting": each.setting, "saves": each.share, "status": each.status}
            for each in answer.techniques
        ],
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


def _offer(offer: Offer, input_tokens: int) -> dict[str, Any]:
    asked = listed(offer.card, input_tokens)
    return {
        "seller": offer.seller,
        "request_dollars": offer.request_dollars,
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


def _terms(plan: Plan, assumed: str) -> str:
    terms, source = plan.terms, f" ({assumed})" if assumed else ""
    power = f"power at {nano_to_usd(terms.power_nano_per_kwh)} USD a kWh, PUE {terms.pue:g}"
    use = f"{terms.utilisation:.0%} utilised" + (f", {terms.reserve:.0%} kept free" if terms.reserve else "")
    holding = terms.holding
    if isinstance(holding, Owned):
        paid = f"bought at {nano_to_usd(holding.capex_nano)} USD a chip{source}, paid back in {holding.life_years:g} "
        return f"{paid}years at {holding.interest:.0%}, {holding.upkeep:.0%} a year for upkeep; {power}; {use}"
    return f"rented at {nano_to_usd(holding.nano_per_hour)} USD a chip-hour, power in it{source}; {use}"


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
    print_table(["USD per million tokens", "floor", "90 % interval", "joules a token"], rows, right=(1, 2, 3))


def _serving(answer: Answer) -> list[str]:
    pace, chips = answer.floor.pace, answer.plan.deployment.chips
    return [
        f"batch     {pace.batch} sequences, kept from more by {pace.limit}; {pace.tpot_s * 1e3:.1f} ms a token",
        f"writing   a step of {pace.decode.seconds * 1e3:.1f} ms, {1 / pace.output_s / chips:,.0f} tokens/s a chip; "
        f"bound by {_bound(pace.binds['decode'])}",
        f"reading   {1 / pace.fresh_s / chips:,.0f} tokens/s a chip; bound by {_bound(pace.binds['prefill'])}",
    ]


def _energy(answer: Answer) -> list[str]:
    plan, found = answer.plan, answer.floor
    busy_w = found.draw.decode_w * plan.terms.busy + found.draw.idle_w * (1 - plan.terms.busy)
    kwh, day_nano = electricity(busy_w, plan.terms.pue, 24, plan.terms.power_nano_per_kwh)
    return [
        f"energy    {found.joules_per_request:,.0f} J a request, idle time and cooling in it; "
        f"the replica {kwh:,.1f} kWh a day, {nano_to_usd(round(day_nano, -7))} USD",
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
    own = answer.floor.request_dollars
    return [
        *lines,
        f"sellers   {len(answer.offers)} in the price book: {least.seller} asks least, "
        f"{least.request_dollars / own:.2f} times the floor, the middle one {median / own:.2f} times",
    ]


def _show_board(title: str, turns: tuple[Turn, ...]) -> None:
    rows = [
        [
            turn.dial.name,
            f"{turn.dial.value:.4g} {turn.dial.unit}".rstrip(),
            f"{turn.dial.low:.4g} to {turn.dial.high:.4g}",
            f"{turn.elasticity:+.2f}",
            f"{turn.dollars:,.2f}",
            turn.dial.why,
        ]
        for turn in turns
    ]
    columns = ["dial", "now", "range", "elasticity", "USD available", "range from ... to"]
    print_table(columns, rows, right=(1, 2, 3, 4), title=title)


def _show_techniques(found: tuple[Saving, ...]) -> None:
    rows = [
        [each.technique, each.setting, f"{each.share:.0%}" if each.share is not None else each.status.split(":")[0]]
        for each in found
    ]
    print_table(["technique", "setting", "saves of a request"], rows, title="What techniques save here")


def _show_parts(parts: Mapping[str, Money]) -> None:
    whole_nano = sum(parts.values())
    rows = [
        [name, nano_to_usd(nano * 1_000, 6), f"{div_half_even(nano * 100, whole_nano)}%"]
        for name, nano in parts.items()
        if nano
    ]
    rows.append(["all", nano_to_usd(whole_nano * 1_000, 6), ""])
    print_table(["part", "USD", "share"], rows, right=(1, 2))


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
