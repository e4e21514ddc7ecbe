"""What is looked up is what physics predicts, and a cache is as large as the memory beside the weights."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.facts import load
from bursar.physics.step import step
from bursar.simulate.modelled import Modelled, blocks_beside

FACTS = load()
DEPLOYMENTS = [
    Deployment(FACTS.shape("Meta-Llama-3.1-8B"), FACTS.chip("H100")),
    Deployment(FACTS.shape("Meta-Llama-3.1-70B"), FACTS.chip("H100"), 4, 4),
    Deployment(FACTS.shape("Qwen3-30B-A3B"), FACTS.chip("A100"), 2, 2, 2),
    Deployment(FACTS.shape("DeepSeek-V3"), FACTS.chip("B200"), 8, 1, 8),
]
CALIBRATIONS = [FACTS.times.of(each) for each in DEPLOYMENTS]
MODELLED = [Modelled(each, rates) for each, rates in zip(DEPLOYMENTS, CALIBRATIONS, strict=True)]


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 3), decodes=st.integers(1, 600), context=st.integers(1, 30_000))
def test_a_decode_step_takes_what_physics_says(place: int, decodes: int, context: int) -> None:
    base, slope, until = MODELLED[place].decode(decodes, decodes * context)
    assert decodes * context <= until
    said = step(DEPLOYMENTS[place], Batch(decodes, context), CALIBRATIONS[place]).seconds
    assert base + slope * decodes * context == pytest.approx(said, rel=0.02)


@settings(max_examples=200, deadline=None)
@given(
    place=st.integers(0, 3), decodes=st.integers(0, 400), context=st.integers(1, 9000), chunk=st.integers(1, 2000),
    chunks=st.integers(1, 4), past=st.integers(0, 9000),
)  # fmt: skip
def test_a_step_that_reads_prompts_takes_what_physics_says(
    place: int, decodes: int, context: int, chunk: int, chunks: int, past: int
) -> None:
    looked_up = MODELLED[place].mixed(decodes, decodes * context, chunk * chunks, chunks, past)
    said = step(DEPLOYMENTS[place], Batch(decodes, context, chunk * chunks, chunks, past), CALIBRATIONS[place]).seconds
    assert looked_up == pytest.approx(said, rel=0.03)


def test_more_chips_and_smaller_weights_leave_more_blocks() -> None:
    shape, chip = FACTS.shape("Meta-Llama-3.1-70B"), FACTS.chip("H100")
    blocks = [blocks_beside(Deployment(shape, chip, chips, chips, weights=form)) for chips, form in (
        (2, "fp8"), (4, "bf16"), (4, "fp8"), (8, "fp8"))]  # fmt: skip
    assert blocks == sorted(blocks)
    # Nine tenths of 80 GiB, less 3.5 GiB and 16.06 GB of weights, by 2 MiB a block.
    assert blocks_beside(DEPLOYMENTS[0]) == pytest.approx((68.5 * 2**30 - 16.06e9) / 2**21, rel=0.005)


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"1 x H100 do not hold .*70B in bf16: .* give more chips with --gpus"):
        blocks_beside(Deployment(FACTS.shape("Meta-Llama-3.1-70B"), FACTS.chip("H100")))
