"""A fleet's energy is conserved, idle time is never free, and dollars follow the rent."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.money import NANO_PER_USD
from bursar.physics.cost import JOULES_PER_KWH
from bursar.physics.deployment import Deployment
from bursar.physics.energy import Site, energy, idle_w
from bursar.physics.facts import load
from bursar.simulate.bill import Rate, bill, extrapolates, mean_step
from bursar.simulate.engine import Engine
from bursar.simulate.fleet import Fleet, simulate
from bursar.simulate.modelled import Modelled
from bursar.simulate.report import Promise, Report, report
from bursar.simulate.traces import poisson

FACTS = load()
ONE = Deployment(FACTS.shape("Meta-Llama-3.1-8B"), FACTS.chip("H100"))
TIMES = FACTS.times.of(ONE)
RATE = Rate(2 * NANO_PER_USD, Site(pue=1.2))


def replayed(replicas: int, rate: str = "10") -> Report:
    run = simulate(Fleet(Engine(20_000), Modelled(ONE, TIMES), replicas), poisson(f"{rate},500,100,40", 1))
    return report(run, Promise())


def test_what_the_meter_shows_is_work_and_waiting() -> None:
    found = replayed(2)
    paid = bill(found, 2, ONE, FACTS.energy, RATE)
    work = found.work
    step = energy(ONE, mean_step(found), work.busy_s / work.steps, FACTS.energy, RATE.site)
    parts_j = step.idle_j + step.dynamic_j + step.host_j + step.losses_j + step.building_j
    waiting_s = 2 * found.seconds - work.busy_s
    whole_j = parts_j * work.steps + idle_w(ONE, RATE.site) * waiting_s
    assert paid.energy_kwh * JOULES_PER_KWH == pytest.approx(whole_j, rel=1e-9)
    assert paid.energy_low_kwh < paid.energy_kwh < paid.energy_high_kwh
    assert paid.energy_j_per_output_token * (work.decode_tokens + found.requests) == pytest.approx(whole_j, rel=1e-9)


def test_the_mean_step_holds_all_tokens() -> None:
    found = replayed(2)
    mean, steps = mean_step(found), found.work.steps
    assert mean.decodes * steps == pytest.approx(found.requests * 99)
    assert mean.prefill * steps == pytest.approx(found.requests * 500)
    assert mean.past == pytest.approx(0, abs=25)  # prompts are read at once, but for few
    assert 500 < mean.context < 600


def test_idle_replicas_are_paid_for_and_draw_power() -> None:
    few, many = (bill(replayed(replicas), replicas, ONE, FACTS.energy, RATE) for replicas in (1, 4))
    assert many.energy_kwh > few.energy_kwh
    assert many.dollars > 3.9 * few.dollars
    assert many.million_tokens_nano > 3.9 * few.million_tokens_nano


@given(st.integers(1, 1000))
def test_dollars_scale_with_the_rent(times: int) -> None:
    found = FOUND
    one = bill(found, 1, ONE, FACTS.energy, RATE)
    other = bill(found, 1, ONE, FACTS.energy, replace(RATE, hour_nano=times * RATE.hour_nano))
    assert other.dollars == pytest.approx(times * one.dollars)
    assert other.million_tokens_nano == pytest.approx(times * one.million_tokens_nano, abs=times)
    assert one.chip_hours == pytest.approx(found.seconds / 3600)


FOUND = replayed(1)


def test_a_chip_nobody_measured_is_named() -> None:
    assert extrapolates(FOUND, ONE, TIMES, FACTS.energy) == ()
    there = replace(ONE, chip=FACTS.chip("A100"))
    said = extrapolates(FOUND, there, FACTS.times.of(there), FACTS.energy)
    assert any(each.startswith("time: chip: A100 was not measured") for each in said)
    assert "energy: chip A100" in said
