"""Load the facts that ship with the package: chips, models and what things cost, each with its source and day."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Final

import msgspec

from bursar.core.errors import NotThere
from bursar.core.money import Money, usd_to_nano
from bursar.physics.calibration import Calibration, Calibrations, Range, Rates
from bursar.physics.chip import Chip
from bursar.physics.config import shape_of
from bursar.physics.energy import EnergyCalibration
from bursar.physics.footprint import Region
from bursar.physics.power import PowerCalibration
from bursar.physics.shape import Shape

_EDITION: Final = re.compile(r"-(?:instruct|chat|chat-hf|hf|it)$")


@dataclass(frozen=True, slots=True)
class Fact:
    """Hold a price somebody published: in nano-USD, of what, where it stands and the day it was read."""

    nano: Money
    what: str
    source: str
    checked: str


@dataclass(frozen=True, slots=True)
class Operator:
    """Hold what an operator says of its sites: power usage effectiveness, and litres evaporated on site a kWh."""

    pue: float
    wue_l_per_kwh: float
    source: str
    checked: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """Hold what analysts say owning a chip comes to an hour, power in it, at a hyperscaler and a smaller cloud.

    `all_in_kw` is what a site must provide for a chip: its share of server, network and cooling with it.
    """

    hyperscaler_nano: Money
    neocloud_nano: Money
    all_in_kw: float
    source: str
    checked: str


@dataclass(frozen=True, slots=True)
class Trained:
    """Hold what training a model cost, in nano-USD, with its weights and tokens where its makers say them."""

    nano: Money
    active_weights: int | None
    tokens: int | None
    source: str
    checked: str


@dataclass(frozen=True, slots=True)
class Costs:
    """Hold published prices.

    `rents` of a chip-hour and `purchases` of a chip by its name, `server` a chip's share of what is around a board,
    `ownership` analysts' figures to check against,
    `memory` of a gigabyte in the host, `electricity` of a kWh by region, `operators` by name,
    `water_l_per_kwh` evaporated where power is made, by country, `acceptance` tokens a step by how many were drafted,
    and `training` by model.
    """

    rents: Mapping[str, Fact]
    purchases: Mapping[str, Fact]
    ownership: Mapping[str, Ownership]
    server: Fact
    memory: Fact
    electricity: Mapping[str, Fact]
    operators: Mapping[str, Operator]
    water_l_per_kwh: Mapping[str, float]
    acceptance: Mapping[str, tuple[float, ...]]
    training: Mapping[str, Trained]

    def electricity_in(self, region: str) -> Fact:
        """Give the price of a kWh in a region. Raises `NotThere` with the nearest names."""
        return self.electricity[_known("region", region, self.electricity)]

    def operator(self, name: str) -> Operator:
        """Give what an operator says of its sites. Raises `NotThere` with the nearest names."""
        return self.operators[_known("operator", name, self.operators)]


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold chips and models' configs by name, prices, and what was calibrated. A shape is built when asked for."""

    chips: Mapping[str, Chip]
    configs: Mapping[str, Mapping[str, Any]]
    costs: Costs
    energy: EnergyCalibration
    power: PowerCalibration
    regions: Mapping[str, Region]
    times: Calibrations

    def region(self, name: str) -> Region:
        """Give a country's electricity by its ISO code or its name. Raises `NotThere` with the nearest ones."""
        named = {**{region.place: region for region in self.regions.values()}, **self.regions}
        try:
            return named[_known("region", name, named)]
        except NotThere as error:
            raise NotThere(
                f"{error}; give a country's ISO code of three letters, its name, or US- and a state"
            ) from None

    def state(self, name: str) -> str:
        """Give a state of the USA as its power's price is filed. Raises `NotThere` for one without a price."""
        known = [each for each in self.costs.electricity if each.startswith("US-")]
        if name.upper() not in known:
            raise NotThere(f"no state {name!r} is known, only {', '.join(known)}; USA stands for the country")
        return name.upper()

    def chip(self, name: str) -> Chip:
        """Give a chip by its name, in any case. Raises `NotThere` with the nearest names."""
        return self.chips[_known("chip", name, self.chips)]

    def shape(self, name: str) -> Shape:
        """Give a model's shape by its name; maker and edition may be left out. Raises `NotThere` with the nearest.

        An edition (instruct, chat) has its base's shape, so the one stands for the other where only one is meant.
        """
        meant = [each for each in self.configs if _bare(each) == _bare(name) and _maker(name) in ("", _maker(each))]
        found = meant[0] if len(meant) == 1 else _known("model", name, self.configs)
        config = self.configs[found]
        return shape_of(found, config, precision=config["precision"])


def load() -> Facts:
    """Read the package's data."""
    folder = files("bursar.physics") / "data"
    chips = json.loads((folder / "chips.json").read_bytes())
    configs = json.loads((folder / "models.json").read_bytes())
    costs = json.loads((folder / "costs.json").read_bytes())
    measured = json.loads((folder / "energy.json").read_bytes())
    regions = json.loads((folder / "regions.json").read_bytes())
    return Facts(
        chips={name: Chip(name, **facts) for name, facts in chips.items()},
        configs=configs,
        costs=_costs(costs),
        energy=msgspec.convert(measured, EnergyCalibration),
        power=msgspec.convert(measured["power"], PowerCalibration),
        regions={name: Region(name, **facts) for name, facts in regions.items()},
        times=_times(json.loads((folder / "time.json").read_bytes())),
    )


def _times(found: Mapping[str, Any]) -> Calibrations:
    source = f"{found['source']}, {found['checked']}"
    ranges = {name: msgspec.convert(each, Range) for name, each in found["range"].items()}
    by: dict[tuple[str, str], Calibration] = {}
    for who, rates in found["rates"].items():
        engine, generation = who.split()
        held = msgspec.convert(rates, Rates)
        by[engine, generation] = Calibration(engine, generation, held, found["error"], source, ranges[generation])
    return Calibrations(by)


def _costs(found: Mapping[str, Any]) -> Costs:
    return Costs(
        rents={name: _fact(each, "usd_per_hour") for name, each in found["rents"].items()},
        purchases={name: _fact(each, "usd") for name, each in found["purchases"].items()},
        ownership={name: _ownership(each) for name, each in found["ownership"].items()},
        server=_fact(found["server"], "usd"),
        memory=_fact(found["memory"], "usd_per_gb"),
        electricity={name: _fact(each, "usd_per_kwh") for name, each in found["electricity"].items()},
        operators={name: _operator(each) for name, each in found["sites"].items()},
        water_l_per_kwh={name: each["l_per_kwh"] for name, each in found["water"].items()},
        acceptance={name: tuple(each["tokens"]) for name, each in found["acceptance"].items()},
        training={name: _trained(each) for name, each in found["training"].items()},
    )


def _fact(found: Mapping[str, Any], key: str) -> Fact:
    return Fact(usd_to_nano(found[key]), found.get("what", ""), found["source"], found["checked"])


def _operator(found: Mapping[str, Any]) -> Operator:
    source = f"PUE: {found['source']}; water: {found['wue_source']}"
    return Operator(found["pue"], found["wue_l_per_kwh"], source, found["checked"])


def _ownership(found: Mapping[str, Any]) -> Ownership:
    hyperscaler_nano, neocloud_nano = (
        usd_to_nano(found[f"{kind}_usd_per_hour"]) for kind in ("hyperscaler", "neocloud")
    )
    return Ownership(hyperscaler_nano, neocloud_nano, found["all_in_kw"], found["source"], found["checked"])


def _trained(found: Mapping[str, Any]) -> Trained:
    nano = usd_to_nano(found["usd"])
    return Trained(nano, found["active_weights"], found["tokens"], found["source"], found["checked"])


def _last(name: str) -> str:
    return name.casefold().rsplit("/", 1)[-1]


def _maker(name: str) -> str:
    return name.casefold().rpartition("/")[0]


def _bare(name: str) -> str:
    """Give a model's name without its maker and edition; its format is part of it."""
    return _EDITION.sub("", _last(name).removeprefix("meta-"))


def _known(kind: str, name: str, known: Mapping[str, object]) -> str:
    wanted = name.casefold()
    names = {each.casefold(): each for each in known}
    by_last = {each.casefold().rsplit("/", 1)[-1]: each for each in known}
    found = names.get(wanted) or by_last.get(wanted)
    if found is None:
        near = [{**by_last, **names}[each] for each in get_close_matches(wanted, {**by_last, **names}, 3, 0.5)]
        raise NotThere(
            f"no {kind} {name!r} is known" + (f"; near it: {', '.join(dict.fromkeys(near))}" if near else "")
        )
    return found
