"""The fit sees what the product predicts, moves as it says, and finds rates that made up runs were made with."""

from dataclasses import replace

import numpy as np
import pytest

from bench.calibrate.score_time import half_width
from bench.calibrate.silicon import Run
from bench.calibrate.time_fit import answer, fit, names_of, rates_for, spread
from bench.calibrate.time_priors import SCHEMES
from bench.calibrate.time_table import table_of
from bursar.physics.calibration import BARE, Rates
from bursar.physics.deployment import Deployment
from bursar.physics.facts import load
from bursar.physics.loop import Clients, loop
from bursar.physics.serving import Guess, Traffic

FACTS = load()
SCHEME = SCHEMES[-1]
PLACES = (
    Deployment(FACTS.shape("Qwen3-32B"), FACTS.chip("H100"), 4, 4),
    Deployment(FACTS.shape("DeepSeek-R1"), FACTS.chip("B200"), 8, 8, 8, "fp8", "fp8", "fp8", "sglang"),
    Deployment(FACTS.shape("Qwen3.5-397B-A17B"), FACTS.chip("B200"), 4, 4, 4, "fp4", "fp8", "fp4", "trtllm"),
)


def made(factor: float) -> list[Run]:
    """Make runs up: what the scheme's starts predict, times a factor."""
    found: list[Run] = []
    for place in PLACES:
        for clients in (1, 8, 64):
            traffic = Traffic(1_000, 500)
            run = Run(
                f"{place.shape.name} {clients}", place.shape.name, place, traffic, Clients(clients, equal=True),
                Guess(), True, "", 1.0, 1.0,
            )  # fmt: skip
            names = names_of(table_of([run]), SCHEME)
            who = (place.engine, *(["blackwell"] if place.chip.name == "B200" else []), "lab")
            held = replace(BARE, rates=Rates(**rates_for(names, names.start, who)))
            told = loop(place, traffic, run.clients, held)
            found.append(replace(run, ttft_s=told.ttft_s * factor, tpot_s=told.tpot_s * factor))
    return found


def test_the_fit_predicts_what_the_product_does() -> None:
    runs = made(1.0)
    table = table_of(runs)
    names = names_of(table, SCHEME)
    told = answer(table, names, names.start)
    # The fit takes a decode step from a line between half and all sequences, the product the step itself.
    assert told.tpot_s == pytest.approx([run.tpot_s for run in runs], rel=0.02)
    assert told.ttft_s == pytest.approx([run.ttft_s for run in runs], rel=0.02)


def test_predictions_move_as_the_fit_is_told() -> None:
    table = table_of(made(1.0)[::3])
    names = names_of(table, SCHEME)
    here = answer(table, names, names.start)
    for place, name in enumerate(names.names):
        if name.startswith("wave"):
            continue  # how many decode is held still there, which a wait moves
        there = names.start.copy()
        there[place] += 1e-5
        moved = (answer(table, names, there).tpot_s - here.tpot_s) / 1e-5
        assert moved == pytest.approx(here.tpot_moves[:, place], rel=0.05, abs=1e-6), name


def test_runs_a_fifth_slower_are_met_by_a_fit_and_not_by_its_start() -> None:
    table = table_of(made(1.2))
    everyone = np.ones(len(table.runs), dtype=bool)
    names, point = fit(table, SCHEME, everyone)
    before, after = (
        np.median(np.abs(np.log(answer(table, names, at).tpot_s / table.tpot_s))) for at in (names.start, point)
    )
    assert before == pytest.approx(np.log(1.2), rel=0.1)
    assert after < before / 2
    assert np.all(spread(table, names, point, everyone) <= names.held * 1.001)


def test_a_half_width_holds_nine_of_ten_and_no_model_rules_by_its_rows() -> None:
    off = np.array([0.1] * 900 + [0.5] * 16)
    models = np.array(["many"] * 900 + ["few"] * 16)
    assert half_width(off, models) > 0.1
    assert half_width(off, np.array(["one"] * 916)) == pytest.approx(0.1)
