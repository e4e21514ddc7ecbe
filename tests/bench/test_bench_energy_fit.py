"""A fit of energy finds what made the numbers, and learns nothing from what it is scored on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bench.calibrate.energy_fit import Choice, fit, left_out, residuals_of, table_of
from bench.calibrate.mlenergy import Run, held_up, out_of_balance, steady
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.energy import chip_j
from bursar.physics.facts import load

FACTS = load()
CHIPS = ("B200", "H100")
MODELS = {
    "Llama": "Meta-Llama-3.1-8B",
    "Gemma": "gemma-3-12b-it",
    "Qwen": "Qwen3-30B-A3B",
    "Nemotron": "NVIDIA-Nemotron-Nano-9B-v2",
}
CHOICE = Choice(FACTS.energy.skew, 0.1)


def run_of(family: str, chip: str, decodes: int, task: str = "lm-arena-chat") -> Run:
    """Make a run that takes exactly what the shipped coefficients say, its prompts as long as assumed."""
    deployment = Deployment(FACTS.shape(MODELS[family]), FACTS.chip(chip))
    decode = Batch(decodes, 800)
    mixed = Batch(decodes, 800, 250, 1)
    share = 1 - 0.998**decodes
    joules = (1 - share) * chip_j(deployment, decode, FACTS.energy) + share * chip_j(deployment, mixed, FACTS.energy)
    return Run(
        family, MODELS[family], task, decodes, deployment, decode, mixed, share, 600, joules, 0.02, 0.02, joules, 8.0
    )


RUNS = [run_of(family, chip, 2**i) for family in MODELS for chip in CHIPS for i in range(3, 10)]


def median_pct(runs: Sequence[Run], joules: np.ndarray) -> float:
    return float(np.median(np.abs(joules / np.array([run.step_j for run in runs]) - 1)) * 100)


def test_a_fit_finds_what_made_the_numbers() -> None:
    table = table_of(RUNS, CHIPS, CHOICE.skew)
    assert median_pct(RUNS, fit(table, 2, CHOICE).joules(table)) < 5


def test_a_family_left_out_is_predicted_from_the_others() -> None:
    joules, chosen = left_out({CHOICE.skew: table_of(RUNS, CHIPS, CHOICE.skew)}, 2, [CHOICE])
    assert set(chosen) == set(MODELS)
    assert median_pct(RUNS, joules) < 15


@pytest.mark.parametrize("family", MODELS)
def test_a_familys_prediction_learns_nothing_from_its_own_measurements(family: str) -> None:
    odd = [replace(run, step_j=run.step_j * 5) if run.family == family else run for run in RUNS]
    choices = [CHOICE, Choice(0.0, 0.1)]
    predictions = [
        left_out({choice.skew: table_of(runs, CHIPS, choice.skew) for choice in choices}, 2, choices)[0]
        for runs in (RUNS, odd)
    ]
    own = [i for i, run in enumerate(RUNS) if run.family == family]
    assert predictions[0][own] == pytest.approx(predictions[1][own])
    assert not np.allclose(np.delete(predictions[0], own), np.delete(predictions[1], own), rtol=1e-3)


def test_residuals_of_a_family_are_those_of_a_fit_without_it() -> None:
    table = table_of(RUNS, CHIPS, CHOICE.skew)
    others = fit(table.part([i for i, run in enumerate(RUNS) if run.family != "Gemma"]), 2, CHOICE)
    rows = table.part([i for i, run in enumerate(RUNS) if run.family == "Gemma"])
    found = residuals_of(table, 2, CHOICE, ["Gemma", "Llama", "Nemotron", "Qwen"])[: len(rows.logs)]
    assert found == pytest.approx(rows.logs - np.log(others.joules(rows) / rows.limits_w))


def test_a_run_out_of_balance_is_not_learnt_from() -> None:
    cliff = replace(RUNS[0], step_j=RUNS[0].step_j * 50, step_s=0.05)
    assert out_of_balance(cliff)
    assert not out_of_balance(RUNS[0])
    with_it, without = (fit(table_of(runs, CHIPS, CHOICE.skew), 2, CHOICE) for runs in ([cliff, *RUNS], RUNS))
    assert with_it.shared == pytest.approx(without.shared)


def test_a_step_that_leaps_or_sinks_from_a_smaller_batch_is_told() -> None:
    sweep = [replace(RUNS[i], median_itl_s=seconds) for i, seconds in enumerate((0.010, 0.012, 0.020, 0.021, 0.015))]
    assert held_up(sweep) == {2, 4}


def test_contexts_are_those_of_the_window_that_was_measured() -> None:
    # Two slots, four answers of ten tokens: the window ends when the last two begin.
    written, begun = steady(((10.0, 10.0), (1.0,)), 4, 2)
    assert (written, begun) == (5, 0.2)
    # With many more answers than slots it is as in the long run: half of each is written on average.
    written, begun = steady(((10.0, 10.0), (1.0,)), 400, 2)
    assert written == pytest.approx(5)
    assert begun == pytest.approx(0.2)
