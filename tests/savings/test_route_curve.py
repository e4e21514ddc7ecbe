"""A ranking is measured as RouteLLM measures it, and costs and savings are read off the curve."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bursar.savings.route.choice import Option
from bursar.savings.route.curve import Point, cheapest, curve, gap, quality_at, taken
from bursar.savings.route.evaluate import dollars_of, evaluate
from bursar.savings.route.labels import Label, labels_of

WEAK = np.array([1.0, 0, 0, 1, 0, 1, 1, 0, 1, 0])
STRONG = np.array([1.0, 1, 1, 1, 1, 0, 1, 1, 1, 0])


def test_a_perfect_ranking_sends_up_what_gains_first_and_what_loses_last() -> None:
    found = gap(STRONG - WEAK, WEAK, STRONG)

    assert (found.cpt50, found.cpt80) == (0.2, 0.3)
    assert found.apgr == pytest.approx(1.05)  # from 0, 1/3, 2/3 and 1, six times 4/3, to 1
    assert found.calls_at_95 == 0.3  # 0.8 of 10 are right, 0.76 are wanted, 0.5 come for nothing


def test_the_worst_ranking_is_below_random() -> None:
    assert gap(WEAK - STRONG, WEAK, STRONG).apgr < 0


def test_a_strong_model_that_is_no_better_closes_no_gap() -> None:
    with pytest.raises(ValueError, match="no better than the weak one"):
        gap(WEAK, STRONG, WEAK)


@given(arrays.arrays(np.float64, 40, elements=st.floats(0, 1)))
def test_random_rankings_close_the_gap_evenly_when_every_call_gains_alike(ranking) -> None:
    assert gap(ranking, np.zeros(40), np.ones(40)).apgr == pytest.approx(0.5)


def test_of_equal_worth_the_cheaper_is_taken() -> None:
    chances = np.array([[0.5, 0.5, 0.4]])

    assert taken(chances, np.array([[2.0, 1.0, 0.1]]), 0.0).tolist() == [1]
    assert taken(chances, np.array([[2.0, 1.0, 0.1]]), 1.0).tolist() == [2]


@given(
    arrays.arrays(np.float64, (30, 3), elements=st.floats(0, 1)),
    arrays.arrays(np.float64, (30, 3), elements=st.floats(0, 1)),
)
def test_a_dearer_dollar_never_buys_a_dearer_mix(chances, scores) -> None:
    dollars = np.tile([0.001, 0.01, 0.1], (30, 1))
    costs = [point.dollars for point in curve(chances, scores, dollars)]

    assert all(one <= other + 1e-12 for one, other in pairwise(costs))


def test_a_curve_is_read_at_a_cost_and_at_a_quality() -> None:
    points = [Point(0.1, 0.5), Point(0.2, 0.7), Point(0.4, 0.6)]

    assert quality_at(points, 0.3) == 0.7
    assert quality_at(points, 0.05) is None
    assert cheapest(points, 0.55) == 0.2
    assert cheapest(points, 0.9) is None


LABELS = labels_of(
    [
        Label(
            prompt="x" * (10 + number),
            scores={"small": float(number % 4 > 0), "big": float(number % 8 != 7)},
            tokens={"small": 100, "big": 200},
            prompt_tokens=1_000,
            tags={"task": "odd" if number % 2 else "even"},
        )
        for number in range(80)
    ]
)
OPTIONS = [
    Option("small", 150_000_000, 600_000_000, output_tokens=1),
    Option("big", 2_500_000_000, 10_000_000_000, output_tokens=1),
]


def test_answers_cost_their_own_length_at_their_own_price() -> None:
    assert dollars_of(LABELS, OPTIONS)[0].tolist() == pytest.approx([0.00021, 0.0045])


def test_a_report_puts_trivial_rules_beside_the_router() -> None:
    chances = np.where(LABELS.scores > 0, 0.9, 0.2)  # as good as knowing
    report = evaluate(LABELS, chances, dollars_of(LABELS, OPTIONS), "task")

    assert report.single["small"].quality == 0.75
    assert report.single["big"].quality == 0.875
    assert report.best == "big"
    assert report.oracle.quality == 1.0
    assert report.by_task is not None
    assert report.by_task.quality == 1.0  # even ones to the big model, odd ones to the small one
    assert report.gap is not None
    assert report.longest_first is not None
    assert report.gap.apgr > report.longest_first.apgr
    assert report.savings[100] == pytest.approx(
        1 - (0.75 * 0.00021 + 0.125 * 0.0045 + 0.125 * 0.00021) / 0.0045, abs=0.3
    )
    assert all(saving is not None and saving > 0.5 for saving in report.savings.values())


def test_a_router_that_knows_nothing_saves_nothing_at_full_quality() -> None:
    report = evaluate(LABELS, np.full(LABELS.scores.shape, 0.5), dollars_of(LABELS, OPTIONS))

    assert report.savings[100] == 0
    assert report.by_task is None
