"""`bursar floor`: what a model's tokens must cost on given chips, and which dial moves it most."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from bursar.cli.common import Json, console, now_us, print_json, print_table
from bursar.cli.floor_text import WIDTH, Answer, Place, as_json, price_line, show
from bursar.cli.machines import NOWHERE, On, deployment_of, model_shape, usd
from bursar.core.errors import ConfigError, OperatorError
from bursar.core.money import Money, div_half_even, nano_to_usd, usd_to_nano
from bursar.physics.asked import offers
from bursar.physics.boards import Habits, machine_board, request_board
from bursar.physics.chip import Chip
from bursar.physics.cost import Holding, Owned, Rented, Terms, dollars
from bursar.physics.energy import Site
from bursar.physics.facts import Fact, Facts, load
from bursar.physics.floor import Plan, Store
from bursar.physics.floor import floor as physics_floor
from bursar.physics.request import Request, at_floor
from bursar.physics.serving import Promise, Traffic
from bursar.physics.shape import Shape
from bursar.physics.technique import savings
from bursar.physics.training import amortised_nano_per_million
from bursar.prices import load as load_book
from bursar.prices.units import MILLION

DEFAULT_PUE: Final = 1.15
DEFAULT_USD_PER_KWH: Final = "0.10"
TOKENS_MAX: Final = 1_000_000_000
_HEADS: Final = {"billion_weights": "billion", "cache_elements_per_token": "cache_a_token"}
"""Shorter words for heads of lists, so that the longest model's name stands beside them."""
LAPTOP: Final = Site(host_w=10.0, fans=0.02, supply=0.9)
DRAFTED: Final = "deepseek-v4-pro"
"""Whose measured acceptance stands for speculative decoding: the lowest of those known."""


@Parameter(name="*")
@dataclass(frozen=True)
class For:
    """Hold what is asked of it."""

    input_tokens: Annotated[int, Parameter(help="Tokens of input of a request.")] = 1_000
    output_tokens: Annotated[int, Parameter(help="Tokens of output of a request, reasoning included.")] = 300
    cached_share: Annotated[float, Parameter(help="Share of the input that a prefix cache holds.")] = 0.0
    slo_tpot_ms: Annotated[float, Parameter(help="Promised mean time per output token.")] = 50.0
    batch: Annotated[int | None, Parameter(help="Sequences in flight; the most that keep the promise without it.")] = (
        None
    )
    prefill_apart: Annotated[bool, Parameter(negative="", help="Prompts are read on other such chips.")] = False
    retries: Annotated[float, Parameter(help="Share of requests made once more.")] = 0.05
    batchable: Annotated[float, Parameter(help="Share of requests that can wait for a batch lane.")] = 0.0
    retrieval_usd: Annotated[str, Parameter(help="What retrieval costs a request.")] = "0"
    tools_usd: Annotated[str, Parameter(help="What tools cost a request.")] = "0"
    safety_usd: Annotated[str, Parameter(help="What safety checks cost a request.")] = "0"
    logging_usd: Annotated[str, Parameter(help="What logging costs a request.")] = "0"


@Parameter(name="*")
@dataclass(frozen=True)
class At:
    """Hold the terms."""

    own: Annotated[bool, Parameter(negative="", help="Chips are bought, not rented.")] = False
    chip_usd_per_hour: Annotated[str | None, Parameter(help="Rent of a chip; a published one without it.")] = None
    capex_usd: Annotated[str | None, Parameter(help="Price of a chip with its share of the server, for --own.")] = None
    life_years: Annotated[float | None, Parameter(help="Years a purchase is paid back in; 5 without it.")] = None
    interest: Annotated[float | None, Parameter(help="Interest a year on a purchase; 0.08 without it.")] = None
    power_usd_per_kwh: Annotated[str | None, Parameter(help="Price of power; the region's, or 0.10 without.")] = None
    region: Annotated[
        str | None, Parameter(help="Where it stands: price of power, carbon, water; `--list regions` names all.")
    ] = None
    pue: Annotated[float | None, Parameter(help="The site's power over the machines'; 1.15 without it.")] = None
    operator: Annotated[str | None, Parameter(help="Whose PUE and water to take; `--list operators` names all.")] = None
    utilisation: Annotated[float, Parameter(help="Share of paid time in which work is done.")] = 0.4
    reserve: Annotated[float, Parameter(help="Share of capacity kept free for peaks.")] = 0.0
    waste: Annotated[float, Parameter(help="Share of work that is thrown away.")] = 0.0
    training_usd: Annotated[str | None, Parameter(help="What training cost, to be carried by --tokens-served.")] = None
    tokens_served: Annotated[int | None, Parameter(help="Tokens the model serves in its life.")] = None


def floor(
    model: Annotated[str | None, Parameter(help="A model's name, or the path of its config.json.")] = None,
    /,
    *,
    on: On = NOWHERE,
    work: For = For(),
    at: At = At(),
    list: Annotated[  # noqa: A002 - the word users type
        Literal["chips", "models", "prices", "regions", "operators"] | None,
        Parameter(help="List what is known, and stop."),
    ] = None,
    price: Annotated[
        bool, Parameter(negative="", help="Print it as the price of a model in bursar.toml, and nothing else.")
    ] = False,
    plot: Annotated[Path | None, Parameter(help="Draw the cost and the dials into this .svg or .png.")] = None,
    json: Json = False,
) -> None:
    """Say what a model's tokens must cost on given chips: the floor under any price, and the dials that move it.

    Every figure has a 90 % interval, and what lies outside the calibration is named.
    """
    facts = load()
    if list is not None:
        _list(facts, list, as_json=json)
        return
    if model is None:
        raise OperatorError("name a model or the path of its config.json; `bursar floor --list models` names the known")
    plan = _plan(facts, model_shape(facts, model), on, work, at)
    answer = _answer(facts, plan, work, at)
    if price:
        print(price_line(answer))
        return
    if plot is not None:
        from bursar.cli.floor_plot import draw

        draw(answer, plot)
    if json:
        print_json(as_json(answer))
    else:
        show(answer, _assumed(facts, on, at))


def _answer(facts: Facts, plan: Plan, work: For, at: At) -> Answer:
    """Work everything out."""
    training_nano = _training(at)
    asked = _request(work, training_nano or 0)
    habits = _habits(work, asked)
    return Answer(
        plan=plan,
        floor=physics_floor(plan),
        machine=machine_board(plan, habits),
        request=request_board(plan, habits),
        techniques=savings(plan, facts.costs.acceptance[DRAFTED]),
        offers=offers(load_book(), plan.deployment.shape.name, plan.traffic, now_us()),
        parts=at_floor(plan, asked),
        training_nano=training_nano,
        place=_place(facts, at),
        drafted=DRAFTED,
        habits=habits,
    )


def _plan(facts: Facts, shape: Shape, on: On, work: For, at: At) -> Plan:
    deployment = deployment_of(facts, shape, on)
    terms = Terms(
        holding=_holding(facts, deployment.chip.name, at),
        power_nano_per_kwh=_power(facts, at),
        pue=_pue(facts, at),
        utilisation=at.utilisation,
        reserve=at.reserve,
        waste=at.waste,
    )
    for name, tokens in (("input_tokens", work.input_tokens), ("output_tokens", work.output_tokens)):
        if tokens > TOKENS_MAX:
            raise ConfigError(f"{name} is {tokens}; it is a number of tokens of a request, at most {TOKENS_MAX:,}")
    return Plan(
        deployment,
        Traffic(work.input_tokens, work.output_tokens, work.cached_share),
        Promise(work.slo_tpot_ms, work.batch, apart=work.prefill_apart),
        terms,
        Store(facts.costs.memory.nano),
        facts.times.of(deployment),
        facts.energy,
        _server(deployment.chip),
    )


def _server(chip: Chip) -> Site:
    """Say what stands around a chip; one that is a machine by itself has a small one's memory, disk and fan."""
    return Site() if chip.chips_per_node > 1 else LAPTOP


def _holding(facts: Facts, chip: str, at: At) -> Holding:
    if not at.own:
        _only_for_own(at)
        known = facts.costs.rents.get(chip)
        if at.chip_usd_per_hour is None and known is None:
            raise ConfigError(
                f"no rent of {chip} is known; give it with --chip-usd-per-hour, or --own with --capex-usd"
            )
        return Rented(usd("--chip-usd-per-hour", at.chip_usd_per_hour) if known is None else _rent(at, known.nano))
    if at.chip_usd_per_hour is not None:
        raise ConfigError("chip_usd_per_hour is what renting costs; leave it out with --own, or leave out --own")
    bought = facts.costs.purchases.get(chip)
    if at.capex_usd is None and bought is None:
        raise ConfigError(f"no purchase price of {chip} is known; give it with --capex-usd")
    capex_nano = usd("--capex-usd", at.capex_usd) if bought is None or at.capex_usd else _with_server(facts, chip)
    return Owned(capex_nano, *_payback(at))


def _only_for_own(at: At) -> None:
    for name in ("capex_usd", "life_years", "interest"):
        if getattr(at, name) is not None:
            raise ConfigError(f"{name} is for chips that are bought; give --own with it, or leave it out")


def _payback(at: At) -> tuple[float, float]:
    """Give the years and the interest a purchase is paid back with."""
    return 5.0 if at.life_years is None else at.life_years, 0.08 if at.interest is None else at.interest


def _rent(at: At, known_nano: Money) -> Money:
    return known_nano if at.chip_usd_per_hour is None else usd("--chip-usd-per-hour", at.chip_usd_per_hour)


def _with_server(facts: Facts, chip: str) -> Money:
    """Add a chip's share of the server to the price of a bare board. Raises `ConfigError` for a bare card."""
    bought = facts.costs.purchases[chip]
    if bought.what == "card":
        raise ConfigError(
            f"of {chip} only the bare card's price is known, {nano_to_usd(bought.nano)} USD; "
            "give --capex-usd, the card with its share of a server"
        )
    return bought.nano + (facts.costs.server.nano if _is_board(bought) else 0)


def _is_board(bought: Fact) -> bool:
    return bought.what.startswith("board")


def _power(facts: Facts, at: At) -> Money:
    """Give the price of power; rent holds it already, so there a region without a price is none that is missing."""
    if at.power_usd_per_kwh is not None:
        return usd("--power-usd-per-kwh", at.power_usd_per_kwh)
    if at.region is None:
        return usd_to_nano(DEFAULT_USD_PER_KWH)
    region = facts.state(at.region) if _is_state(at.region) else facts.region(at.region).name
    known = facts.costs.electricity.get(region)
    if known is None and at.own:
        raise ConfigError(f"no power price of {at.region} is known; give it with --power-usd-per-kwh")
    return usd_to_nano(DEFAULT_USD_PER_KWH) if known is None else known.nano


def _is_state(region: str) -> bool:
    return region.upper().startswith("US-")


def _place(facts: Facts, at: At) -> Place | None:
    """Give what is known of carbon and water where it stands; a state's power is its country's."""
    if at.region is None:
        return None
    region = facts.region("USA" if _is_state(at.region) and facts.state(at.region) else at.region)
    on_site = facts.costs.operator(at.operator).wue_l_per_kwh if at.operator else None
    return Place(region, facts.costs.water_l_per_kwh.get(region.name), on_site)


def _pue(facts: Facts, at: At) -> float:
    if at.pue is not None:
        return at.pue
    return facts.costs.operator(at.operator).pue if at.operator else DEFAULT_PUE


def _request(work: For, training_nano: Money) -> Request:
    """Set up the work of a request; `training_nano` is what a million tokens carry of the training."""
    habits = Habits(work.retries, work.batchable)
    cached = round(work.input_tokens * work.cached_share)
    return Request(
        fresh_tokens=work.input_tokens - cached,
        output_tokens=work.output_tokens,
        cached_tokens=cached,
        retrieval_nano=usd("--retrieval-usd", work.retrieval_usd),
        tools_nano=usd("--tools-usd", work.tools_usd),
        safety_nano=usd("--safety-usd", work.safety_usd),
        logging_nano=usd("--logging-usd", work.logging_usd),
        training_nano=div_half_even(training_nano * (work.input_tokens + work.output_tokens), MILLION),
        retries_ppm=round(habits.retries * MILLION),
        batchable_ppm=round(habits.batchable * MILLION),
    )


def _habits(work: For, asked: Request) -> Habits:
    """Say the same of a request's surroundings as an estimate, for the dials."""
    return Habits(
        work.retries,
        work.batchable,
        training_dollars=dollars(asked.training_nano) / (work.input_tokens + work.output_tokens),
        again_dollars=dollars(asked.retrieval_nano + asked.tools_nano),
        once_dollars=dollars(asked.safety_nano + asked.logging_nano),
    )


def _training(at: At) -> Money | None:
    if at.training_usd is None:
        if at.tokens_served is not None:
            raise ConfigError("tokens_served carries what training cost; give --training-usd with it, or leave it out")
        return None
    return amortised_nano_per_million(usd("--training-usd", at.training_usd), at.tokens_served or 0)


def _assumed(facts: Facts, on: On, at: At) -> str:
    """Say where the prices are from that were not given."""
    chip = facts.chip(on.chip or "").name
    known = facts.costs.purchases.get(chip) if at.own else facts.costs.rents.get(chip)
    given = at.capex_usd if at.own else at.chip_usd_per_hour
    if known is None or given is not None:
        return ""
    server = facts.costs.server
    share = f"; {nano_to_usd(server.nano)} USD of it for the server, {server.source}, {server.checked}"
    return f"{known.what}, {known.source}, {known.checked}{share if at.own and _is_board(known) else ''}"


def _list(facts: Facts, kind: str, *, as_json: bool) -> None:
    columns, rows = {
        "chips": _chips,
        "models": _models,
        "prices": _prices,
        "regions": _regions,
        "operators": _operators,
    }[kind](facts)
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    _show_list(columns, rows)


def _show_list(columns: list[str], rows: list[list[Any]]) -> None:
    """Print what is known; sources are long and shared, so rows give their number and the list of them follows."""
    told = [dict(zip(columns, row, strict=True)) for row in rows]
    sources = dict.fromkeys(_source(each) for each in told if "source" in each)
    numbers = {source: f"[{number}]" for number, source in enumerate(sources, 1)}
    shown = [name for name in columns if name != "checked"]
    cells = [[numbers[_source(each)] if name == "source" else _cell(each[name]) for name in shown] for each in told]
    figures = tuple(i for i in range(1, len(shown)) if shown[i] not in ("place", "source", "what", "format"))
    print_table([_HEADS.get(name, name) for name in shown], cells, right=figures, width=WIDTH)
    for source, number in numbers.items():
        console(WIDTH).print(f"{number} {source}", markup=False)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _source(row: Mapping[str, Any]) -> str:
    return ", ".join(row[name] for name in ("source", "checked") if name in row)


def _chips(facts: Facts) -> tuple[list[str], list[list[Any]]]:
    columns = ["chip", "memory_gb", "tb_per_s", "bf16_tflops", "limit_w", "idle_w", "source", "checked"]
    return columns, [
        [
            chip.name,
            round(chip.memory_bytes / 1e9),
            round(chip.memory_bytes_per_s / 1e12, 2),
            round(chip.flops_per_s["bf16"] / 1e12, 1),
            chip.power_limit_w,
            chip.power_idle_w,
            chip.source,
            chip.checked,
        ]
        for chip in facts.chips.values()
    ]


def _models(facts: Facts) -> tuple[list[str], list[list[Any]]]:
    columns = ["model", "billion_weights", "billion_active", "cache_elements_per_token", "format"]
    shapes = [facts.shape(name) for name in facts.configs]
    return columns, [
        [
            shape.name,
            round(shape.total_weights / 1e9, 1),
            round(shape.active_weights / 1e9, 1),
            shape.kv_elements(8_192) // 8_192,
            shape.precision,
        ]
        for shape in shapes
    ]


def _prices(facts: Facts) -> tuple[list[str], list[list[Any]]]:
    rents = [[name, nano_to_usd(each.nano), "an hour", each] for name, each in facts.costs.rents.items()]
    bought = [[name, nano_to_usd(each.nano), "a chip", each] for name, each in facts.costs.purchases.items()]
    rows = [[name, usd, per, each.what, each.source, each.checked] for name, usd, per, each in (*rents, *bought)]
    for name, each in facts.costs.ownership.items():
        ranged = f"{nano_to_usd(each.hyperscaler_nano)} to {nano_to_usd(each.neocloud_nano)}"
        what = f"owning, hyperscaler to smaller cloud; {each.all_in_kw} kW a chip provided"
        rows.append([name, ranged, "an hour", what, each.source, each.checked])
    return ["chip", "usd", "per", "what", "source", "checked"], rows


def _regions(facts: Facts) -> tuple[list[str], list[list[Any]]]:
    columns = ["region", "place", "usd_per_kwh", "carbon_g_per_kwh", "year", "source"]
    priced = facts.costs.electricity
    states = [name for name in priced if name.startswith("US-")]
    rows: list[list[Any]] = []
    for name, region in [*((state, facts.region("USA")) for state in states), *facts.regions.items()]:
        price = priced.get(name)
        source = "" if price is None else f"power: {price.source}, {price.checked}; carbon: "
        usd_per_kwh = None if price is None else nano_to_usd(price.nano)
        row = [name, region.place, usd_per_kwh, region.carbon_g_per_kwh, region.year, f"{source}{region.source}"]
        rows.append(row)
    return columns, rows


def _operators(facts: Facts) -> tuple[list[str], list[list[Any]]]:
    rows = [[name, each.pue, each.wue_l_per_kwh, each.source] for name, each in facts.costs.operators.items()]
    return ["operator", "pue", "litres_per_kwh", "source"], rows
