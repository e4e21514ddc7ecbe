"""A request costs what its parts cost, to the nano-dollar."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError, UnpricedUsage
from bursar.core.money import usd_to_nano
from bursar.physics.cost import Holding
from bursar.physics.floor import request_dollars
from bursar.physics.request import Rates, Request, at_floor, listed, parts
from bursar.physics.serving import Traffic
from bursar.prices import load
from bursar.prices.price import RateCard, Source
from tests.physics.working_point import OWNED, RENTED, plan

RATES = Rates(*(usd_to_nano(usd) for usd in ("0.15", "0.075", "0.60", "0.60")))
REQUEST = Request(
    fresh_tokens=1_000,
    cached_tokens=4_000,
    output_tokens=300,
    reasoning_tokens=700,
    retrieval_nano=usd_to_nano("0.0001"),
    tools_nano=usd_to_nano("0.001"),
    safety_nano=usd_to_nano("0.00002"),
    logging_nano=usd_to_nano("0.00001"),
    retries_ppm=50_000,
    idle_ppm=200_000,
)


def test_every_part_of_the_formula_is_there() -> None:
    assert parts(REQUEST, RATES) == snapshot(
        {
            "fresh": 150000,
            "cached": 300000,
            "output": 180000,
            "reasoning": 420000,
            "retrieval": 100000,
            "tools": 1000000,
            "retries": 107500,
            "safety": 20000,
            "logging": 10000,
            "training": 0,
            "idle": 275625,
            "batch lane": 0,
        }
    )


counts = st.integers(0, 10**6)


@given(counts, counts, counts, counts, st.integers(0, 10**6), st.integers(0, 999_999))
def test_no_part_is_negative_and_more_of_any_never_costs_less(
    fresh: int, output: int, cached: int, reasoning: int, retries: int, idle: int
) -> None:
    request = Request(fresh, output, cached, reasoning, retries_ppm=retries, idle_ppm=idle)
    found = parts(request, RATES)
    assert min(found.values()) >= 0
    for name in ("fresh_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"):
        more = parts(replace(request, **{name: getattr(request, name) + 1_000}), RATES)
        assert sum(more.values()) >= sum(found.values())


def test_a_machine_that_waits_half_its_time_makes_tokens_cost_twice() -> None:
    found = parts(Request(1_000, 500, idle_ppm=500_000), RATES)
    assert found["idle"] == found["fresh"] + found["output"]


@pytest.mark.parametrize("holding", [RENTED, OWNED])
def test_the_parts_at_a_floor_add_up_to_the_floor(holding: Holding) -> None:
    working = plan()
    working = replace(working, terms=replace(working.terms, holding=holding), traffic=Traffic(1_000, 300, 0.4))
    found = at_floor(working, Request(600, 300, 400))
    assert sum(found.values()) == pytest.approx(request_dollars(working) * 1e9, abs=5)
    assert found["idle"] > 0.5 * sum(found.values())  # a machine that waits 60 % of its time
    twice = at_floor(working, Request(600, 300, 400, retries_ppm=1_000_000))
    assert sum(twice.values()) == pytest.approx(2 * sum(found.values()), abs=5)


def test_training_is_part_of_every_try_and_the_batch_lane_takes_off_tokens_alone() -> None:
    waiting = replace(REQUEST, training_nano=40_000, batchable_ppm=500_000)
    before, after = parts(REQUEST, RATES), parts(waiting, RATES)
    assert after["training"] == 40_000
    assert after["retries"] - before["retries"] == 2_000
    tokens_nano = sum(before[name] for name in ("fresh", "cached", "output", "reasoning"))
    assert after["batch lane"] == -round((tokens_nano * 1.05 + before["idle"]) / 4)
    at = at_floor(plan(), Request(1_000, 300, retries_ppm=50_000, batchable_ppm=1_000_000, tools_nano=7))
    assert -at["batch lane"] == pytest.approx(request_dollars(plan()) * 1e9 * 1.05 / 2, abs=5)


def test_a_list_gives_its_rates_for_the_length_asked() -> None:
    card = load().find_any("claude-sonnet-4-5").at(1_795_000_000_000_000)
    assert listed(card, 200_000).fresh_nano == usd_to_nano("3")
    assert listed(card, 200_001).fresh_nano == usd_to_nano("6")
    assert listed(card, 1_000).cached_nano == usd_to_nano("0.3")


def test_a_list_without_a_rate_is_refused() -> None:
    with pytest.raises(UnpricedUsage, match="no rate for input_tokens"):
        listed(RateCard("mine", {}, 0, Source("", "")), 1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fresh_tokens": -1}, "fresh_tokens is -1; it must be at least 0"),
        ({"tools_nano": -1}, "tools_nano is -1"),
        ({"idle_ppm": 1_000_000}, "idle_ppm is 1000000; capacity that only waits serves nothing"),
    ],
)
def test_a_request_that_cannot_be_is_refused_by_name(changed: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(REQUEST, **changed)
