"""Each dial says how much it moves the cost, and what turning it would save."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.physics.boards import Habits, biggest, machine_board, request_board
from bursar.physics.dials import Dial, board
from bursar.physics.floor import request_dollars
from bursar.physics.request import Request, at_floor
from bursar.physics.serving import Traffic
from tests.physics.working_point import OWNED, plan

PLAN = plan()
OWN = replace(PLAN, terms=replace(PLAN.terms, holding=OWNED, waste=0.02, reserve=0.1))


def elasticities(turns) -> dict[str, float]:
    return {turn.dial.name: turn.elasticity for turn in turns}


@settings(max_examples=50)
@given(st.floats(-3, 3), st.floats(0.1, 9), st.floats(0.1, 9))
def test_the_elasticity_of_a_power_is_its_exponent(exponent: float, scale: float, value: float) -> None:
    dials = (Dial("x", value, value / 2, value * 2, "", ""), Dial("y", 1.0, 0.5, 2.0, "", ""))
    found = elasticities(board(dials, lambda at: scale * at["x"] ** exponent / at["y"]))
    assert found["x"] == pytest.approx(exponent, abs=1e-4)
    assert found["y"] == pytest.approx(-1, abs=1e-4)


def test_the_elasticities_of_the_machine_are_those_of_its_formula() -> None:
    """Cost is time times the chips' price plus power: chips and power share it, and all scales with throughput."""
    found = elasticities(machine_board(OWN))
    assert found["chip cost"] + found["power price"] == pytest.approx(1, abs=1e-3)
    assert found["power price"] == pytest.approx(found["overhead (PUE)"], abs=1e-6)
    assert found["throughput"] == pytest.approx(-1, abs=1e-3)
    assert -1 < found["utilisation"] < -0.9  # power at work does not wait
    assert found["serving waste"] == pytest.approx(0.02 / 0.98, abs=1e-4)


def test_rent_that_holds_the_power_leaves_its_price_nothing_to_move() -> None:
    turns = {turn.dial.name: turn for turn in machine_board(PLAN)}
    assert turns["power price"].dollars == turns["overhead (PUE)"].dollars == 0
    assert turns["utilisation"].elasticity == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("working", [PLAN, OWN])
def test_the_dollars_available_are_what_the_best_end_saves(working) -> None:
    turns = {turn.dial.name: turn for turn in machine_board(working)}
    best = replace(working, terms=replace(working.terms, utilisation=0.8))
    saved = (request_dollars(working) - request_dollars(best)) * 1e6
    assert turns["utilisation"].best == 0.8
    assert turns["utilisation"].dollars == pytest.approx(saved, rel=1e-6)


def test_a_dial_at_its_end_is_turned_one_way() -> None:
    full = replace(OWN, terms=replace(OWN.terms, utilisation=1.0, pue=1.0, reserve=0.0, waste=0.0))
    found = elasticities(machine_board(full))
    assert -1 < found["utilisation"] < -0.9
    assert found["overhead (PUE)"] == pytest.approx(found["power price"], rel=1e-2)
    assert elasticities(request_board(full, Habits(retries=1.0, batchable=1.0)))["retries"] == pytest.approx(
        0.5, abs=1e-3
    )


def test_the_biggest_dial_of_the_machine_is_utilisation() -> None:
    turns = machine_board(OWN)
    assert biggest(turns) == "utilisation"
    assert [turn.dollars for turn in turns] == sorted((turn.dollars for turn in turns), reverse=True)
    assert all(turn.dollars >= 0 for turn in turns)


def test_the_biggest_dial_of_a_long_answer_is_its_length() -> None:
    talkative = replace(PLAN, traffic=Traffic(200, 2_000), terms=replace(PLAN.terms, utilisation=0.75))
    assert biggest(request_board(talkative, Habits())) == "answer length"


def test_the_biggest_dial_of_a_long_prompt_is_its_misses() -> None:
    reading = replace(PLAN, traffic=Traffic(8_000, 50), terms=replace(PLAN.terms, utilisation=0.75))
    assert biggest(request_board(reading, Habits())) == "cache misses"


def test_the_elasticities_of_a_request_are_those_of_its_formula() -> None:
    found = elasticities(request_board(PLAN, Habits(retries=0.05, batchable=0.2)))
    assert found["retries"] == pytest.approx(0.05 / 1.05, abs=1e-5)
    assert found["batchable share"] == pytest.approx(-0.1 / 0.9, abs=1e-5)
    assert found["idle capacity"] == pytest.approx(0.6 / 0.4, abs=1e-4)
    assert 0 < found["answer length"] < 1


@pytest.mark.parametrize("working", [PLAN, OWN])
def test_both_boards_start_at_what_the_parts_of_a_request_add_up_to(working) -> None:
    """A dial's elasticity times the whole is what a share of it moves, so the whole can be read off it."""
    request = Request(
        1_000, 300, retrieval_nano=90_000, tools_nano=2_000_000, safety_nano=10_000, training_nano=70_000,
        retries_ppm=50_000, batchable_ppm=200_000,
    )  # fmt: skip
    habits = Habits(0.05, 0.2, training_dollars=7e-5 / 1_300, again_dollars=0.00209, once_dollars=0.00001)
    whole = sum(at_floor(working, request).values()) / 1e3
    tokens = request_dollars(working) * 1e6 * 1.05 * 0.9
    machine, asked = ({turn.dial.name: turn for turn in each} for each in (
        machine_board(working, habits), request_board(working, habits),
    ))  # fmt: skip
    assert -tokens / machine["throughput"].elasticity == pytest.approx(whole, rel=1e-4)
    assert asked["retries"].dollars == pytest.approx((whole - 10) * 0.05 / 1.05, rel=1e-4)
    assert asked["retries"].elasticity * whole == pytest.approx(asked["retries"].dollars, rel=1e-3)


def test_ranges_and_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="dial x is 3; its range is 1 to 2"):
        Dial("x", 3, 1, 2, "", "")
    with pytest.raises(ConfigError, match="dial x has the range 2 to 1"):
        Dial("x", 1, 2, 1, "", "")
    with pytest.raises(ConfigError, match=r"retries is 1\.5; it is a share"):
        Habits(retries=1.5)
