"""Each technique is worth what the same request costs without it."""

from dataclasses import replace

import pytest

from bursar.core.errors import ConfigError
from bursar.physics.serving import Traffic
from bursar.physics.technique import best_guess, savings, scores_dollars
from tests.physics.working_point import FACTS, plan

ACCEPTED = FACTS.costs.acceptance["deepseek-v4-pro"]
ALL = {
    *("batching", "FlashAttention", "mixture of experts", "quantised weights"),
    *("quantised cache", "speculative decoding", "prefix caching", "compression"),
}


def shares(working) -> dict[str, float | None]:
    return {each.technique: each.share for each in savings(working, ACCEPTED)}


def test_every_technique_is_listed_the_largest_saving_first() -> None:
    found = savings(plan("gpt-oss-120b", 4), ACCEPTED)
    assert {each.technique for each in found} == ALL
    ordered = [each.share for each in found if each.share is not None]
    assert ordered == sorted(ordered, reverse=True)


def test_every_technique_saves_on_the_work_it_is_made_for() -> None:
    found = shares(replace(plan("gpt-oss-120b", 4), traffic=Traffic(20_000, 500)))
    assert all(share is not None and 0 < share < 1 for share in found.values())


def test_a_dense_model_has_no_experts_to_save_by() -> None:
    found = {each.technique: each for each in savings(plan(), ACCEPTED)}["mixture of experts"]
    assert (found.share, found.status) == (None, "the model has none")


def test_weights_that_do_not_fit_say_so() -> None:
    found = {each.technique: each for each in savings(plan("gpt-oss-120b", 1, weights="fp4"), ACCEPTED)}
    assert found["quantised weights"].share is None
    assert "give at least 4 chips" in found["quantised weights"].status


def test_flash_attention_saves_more_the_longer_the_prompt() -> None:
    costs = [scores_dollars(replace(plan(), traffic=Traffic(tokens, 300))) for tokens in (1_000, 2_000, 4_000)]
    assert costs[1] == pytest.approx(4 * costs[0])
    assert costs[2] == pytest.approx(4 * costs[1])


def test_guessing_ahead_pays_less_the_larger_the_batch() -> None:
    """A step bound by memory has room for guesses; one bound by compute has none."""
    working = plan("Meta-Llama-3.1-8B", 1)
    found = []
    for batch in (1, 64, 256):
        fixed = replace(working, promise=replace(working.promise, batch=batch), traffic=Traffic(100, 300))
        found.append(shares(fixed)["speculative decoding"])
    assert found == sorted(found, reverse=True)
    with pytest.raises(ConfigError, match="accepted is empty"):
        best_guess(working, ())
