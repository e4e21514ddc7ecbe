"""A promise is made only where held-out labels bear it out, and is then kept as often as it says."""

import numpy as np
import pytest

from bursar.savings.route.choice import Target
from bursar.savings.route.curve import taken
from bursar.savings.route.promise import TOLERANCE, exchange

COSTS = (0.001, 0.01)


def world(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give chances and scores of two models: the small one fails where a call is hard, and chances know it roughly."""
    generator = np.random.default_rng(seed)
    hard = generator.random(rows)
    small = generator.random(rows) > hard * 0.8
    big = generator.random(rows) > hard * 0.2
    seen = np.clip(hard + generator.normal(0, 0.3, rows), 0, 1)
    return np.stack([1 - seen * 0.8, 1 - seen * 0.2], axis=1), np.stack([small, big], axis=1).astype(float)


@pytest.mark.parametrize(("percent", "promised_min"), [(80, 60), (90, 60), (95, 58), (98, 30)])
def test_a_promise_is_kept_in_nearly_all_worlds_and_saves_calls(percent: int, promised_min: int) -> None:
    kept, promised, calls = [], 0, []
    for seed in range(60):
        chances, scores = world(600, seed)
        found = exchange(chances, scores, np.tile(COSTS, (600, 1)), Target(quality_percent=percent))
        later, truth = world(8_000, 1_000 + seed)
        picks = taken(later, np.tile(COSTS, (8_000, 1)), found.per_dollar)
        delivered = truth[np.arange(8_000), picks].mean()
        if found.promised:
            promised += 1
            kept.append(delivered >= percent / 100 * truth[:, 1].mean() - TOLERANCE)
            calls.append(picks.mean())

    assert promised >= promised_min  # 600 labels are often too few for 98 %
    assert np.mean(kept) >= 0.95
    assert np.mean(calls) < 0.9


def test_a_lower_target_costs_less() -> None:
    chances, scores = world(2_000, 1)
    dearer, cheaper = (
        exchange(chances, scores, np.tile(COSTS, (2_000, 1)), Target(quality_percent=percent)) for percent in (98, 85)
    )

    assert dearer.per_dollar < cheaper.per_dollar


def test_what_no_choice_reaches_is_not_promised() -> None:
    generator = np.random.default_rng(0)
    scores = np.stack([np.zeros(500), np.ones(500)], axis=1)
    found = exchange(generator.random((500, 2)), scores, np.tile(COSTS, (500, 1)), Target(quality_percent=95))

    assert not found.promised
    assert found.per_dollar == 0
    assert found.why.startswith("95 % of the best model's quality cannot be promised: 500 labels are too few")


def test_few_labels_are_no_promise() -> None:
    chances, scores = world(150, 3)
    found = exchange(chances, scores, np.tile(COSTS, (150, 1)), Target(quality_percent=80))

    assert not found.promised


def test_without_a_quality_the_best_is_taken_of_what_a_call_may_cost() -> None:
    chances, scores = world(500, 3)
    found = exchange(chances, scores, np.tile(COSTS, (500, 1)), Target(cost_max_nano=1))

    assert (found.per_dollar, found.promised) == (0.0, False)
