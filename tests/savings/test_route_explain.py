"""An explanation names what in a prompt spoke for which model."""

import pytest

from bursar.embed import table
from bursar.savings.route.explain import TREES, Explanation, explain, said
from bursar.savings.route.features import effort, look
from bursar.savings.route.learned import Learned
from bursar.savings.route.policy import Policy
from bursar.savings.route.train import train
from tests.savings.test_route_learned import ABOUT, sums_and_greetings

EMBEDDER = table.load()


@pytest.fixture(scope="module")
def learned() -> Learned:
    return Learned(train(sums_and_greetings(200), EMBEDDER, ABOUT).router, EMBEDDER)


def explained(learned: Learned, text: str) -> Explanation:
    return explain(text, learned.predictor(Policy(name="x", models=("small", "big")), []))


def test_what_makes_a_sum_a_sum_speaks_for_the_big_model(learned) -> None:
    found = explained(learned, "Compute 71 * 13 + 5 = ?")

    assert found.models == ("small", "big")
    assert found.chances[0] < 0.3 < found.chances[1]
    spoke = {reason.what: reason.adds for reason in found.reasons}
    assert {"numbers", "symbols"} & spoke.keys()
    for what in {"numbers", "symbols", '"compute"'} & spoke.keys():
        assert spoke[what][1] > spoke[what][0]


def test_what_trees_add_is_one_part_of_the_sum(learned) -> None:
    text = "Compute 71 * 13 + 5 = ?"
    found = explained(learned, text)
    parts = learned.predictor(Policy(name="x", models=("small", "big")), []).coefficients.parts(look(text))

    (trees,) = (reason for reason in found.reasons if reason.what == TREES)
    assert trees.adds == pytest.approx(parts.trees.tolist(), abs=1e-5)
    assert trees.adds[1] - trees.adds[0] > 0.05
    assert said(trees, found.models).startswith("figures and topic together, by trees: +")


def test_reasons_are_said_in_words_strongest_first(learned) -> None:
    found = explained(learned, "Compute 71 * 13 + 5 = ?")
    apart = [max(reason.adds) - min(reason.adds) for reason in found.reasons]

    assert apart == sorted(apart, reverse=True)
    assert all(" points for " in said(reason, found.models) for reason in found.reasons)


def test_a_text_of_nothing_is_explained_too(learned) -> None:
    assert len(explained(learned, "").chances) == 2


def test_effort_rises_with_numbers_ratios_and_length() -> None:
    easy, hard = (
        effort(look(text))
        for text in (
            "Tom has 3 apples. How many apples does he have?",
            "Tom has 3 apples, Ann has twice as many as Tom, and Ben has a third more than both of them together. "
            "They sell half of the rest at 25 cents each. How much more does Ben earn than Tom, in percent?",
        )
    )

    assert easy < 0 < hard
