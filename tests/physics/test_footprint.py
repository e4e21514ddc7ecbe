"""Carbon and water follow the joules; where and which year stand beside every gram."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError, NotThere
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.energy import Site, energy
from bursar.physics.facts import load
from bursar.physics.footprint import Building, footprint

FACTS = load()
LLAMA = Deployment(FACTS.shape("Meta-Llama-3.1-8B"), FACTS.chip("H100"))
STEP = energy(LLAMA, Batch(64, context=1000), 0.02, FACTS.energy, Site(pue=1.2))


def test_grams_are_kilowatt_hours_times_the_regions_intensity() -> None:
    found = footprint(STEP, 1, FACTS.region("FRA"))
    assert found.carbon_g == pytest.approx(STEP.total_j / 3.6e6 * 56.0)
    assert found.low_g == pytest.approx(found.carbon_g * STEP.low)
    assert found.high_g == pytest.approx(found.carbon_g * STEP.high)
    assert (found.region, found.year, found.water_l) == ("FRA", 2023, None)
    assert found.source.startswith("codecarbon")


def test_water_is_what_the_site_and_the_power_plants_evaporate() -> None:
    region = replace(FACTS.region("FRA"), water_l_per_kwh=3.0)
    found = footprint(STEP, 1, region, Building(water_l_per_kwh=0.5))
    servers_kwh = STEP.total_j / 1.2 / 3.6e6
    assert found.water_l == pytest.approx(servers_kwh * (0.5 + 1.2 * 3.0))


def test_making_a_chip_is_spread_over_the_seconds_it_serves() -> None:
    region = FACTS.region("United States")
    whole = footprint(STEP, 8, region, Building(embodied_kg_per_chip=876.5))
    half = footprint(STEP, 8, region, Building(embodied_kg_per_chip=876.5, used=0.5))
    assert half.embodied_g == pytest.approx(2 * whole.embodied_g)
    assert whole.embodied_g == pytest.approx(8 * 876_500 * STEP.seconds / (3 * 8_760 * 3_600))
    assert whole.total_g == whole.carbon_g + whole.embodied_g


@given(st.floats(1, 3), st.sampled_from(sorted(FACTS.regions)))
def test_carbon_scales_with_what_the_building_adds(pue: float, name: str) -> None:
    built = energy(LLAMA, Batch(64, context=1000), 0.02, FACTS.energy, Site(pue=pue))
    region = FACTS.region(name)
    per_kwh = footprint(built, 1, region).carbon_g / (built.total_j / 3.6e6)
    assert per_kwh == pytest.approx(region.carbon_g_per_kwh)


def test_every_region_says_its_year_and_its_source() -> None:
    assert {region.year for region in FACTS.regions.values()} <= set(range(2009, 2025))
    assert all(region.source and region.carbon_g_per_kwh > 0 for region in FACTS.regions.values())
    assert {name: FACTS.region(name).carbon_g_per_kwh for name in ("USA", "DEU", "FRA", "POL")} == snapshot(
        {"USA": 369.5, "DEU": 380.9, "FRA": 56.0, "POL": 661.9}
    )


def test_an_unknown_region_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(NotThere, match="no region 'Germny' is known; near it: Germany"):
        FACTS.region("Germny")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"water_l_per_kwh": -1.0}, "water_l_per_kwh is -1.0; it cannot be below 0"),
        ({"embodied_kg_per_chip": -1.0}, "embodied_kg_per_chip is -1.0; it cannot be below 0"),
        ({"life_years": 0.0}, "life_years is 0.0 and used 1.0"),
        ({"used": 1.5}, "used 1.5; give years above 0 and a share above 0"),
    ],
)
def test_a_building_that_cannot_be_is_refused(given: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Building(**given)
