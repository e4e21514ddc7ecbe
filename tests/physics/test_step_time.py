"""A step takes longer for more work, never for faster chips, and the sum of its parts."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError
from bursar.physics.calibration import BARE, BLACKWELL, HOPPER, ROOFLINE, Calibration, Rates, generation_of
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.facts import load
from bursar.physics.step import step

FACTS = load()
DEPLOYMENTS = [
    Deployment(FACTS.shape("Meta-Llama-3.1-8B"), FACTS.chip("H100")),
    Deployment(FACTS.shape("Qwen3-32B"), FACTS.chip("H100"), 4, 4, weights="fp8", compute="fp8", engine="sglang"),
    Deployment(FACTS.shape("DeepSeek-R1"), FACTS.chip("B200"), 8, 1, 8, "fp4", "fp8", "fp4", "trtllm"),
    Deployment(FACTS.shape("Qwen3.5-397B-A17B"), FACTS.chip("H200"), 8, 8, 8, "fp8", "fp8", "fp8", "sglang"),
    Deployment(FACTS.shape("GLM-5"), FACTS.chip("B300"), 8, 8, 1, "fp8", "fp8", "fp8", "sglang"),
]
places = st.sampled_from(DEPLOYMENTS)
batches = st.builds(
    Batch,
    decodes=st.integers(0, 600),
    context=st.integers(1, 30_000),
    prefill=st.integers(0, 8_192),
    chunks=st.just(1),
    past=st.integers(0, 8_192),
    draft=st.integers(0, 3),
)


def of(deployment: Deployment) -> Calibration:
    return FACTS.times.of(deployment)


@settings(max_examples=150, deadline=None)
@given(places, batches)
def test_parts_are_never_below_zero_and_sum_to_the_whole(deployment: Deployment, batch: Batch) -> None:
    taken = step(deployment, batch, of(deployment))
    assert all(seconds >= 0 for seconds in taken.parts_s.values())
    assert taken.seconds == pytest.approx(sum(taken.parts_s.values()))
    assert taken.low_s <= taken.seconds <= taken.high_s


@settings(max_examples=150, deadline=None)
@given(places, batches, st.floats(1.0, 4.0), st.sampled_from(["memory_bytes_per_s", "link_bytes_per_s", "flops"]))
def test_a_faster_chip_is_never_slower(deployment: Deployment, batch: Batch, times: float, what: str) -> None:
    chip, calibration = deployment.chip, of(deployment)
    if what == "flops":
        faster = replace(chip, flops_per_s={name: peak * times for name, peak in chip.flops_per_s.items()})
    else:
        faster = replace(chip, **{what: getattr(chip, what) * times})
    before = step(deployment, batch, calibration).seconds
    assert step(replace(deployment, chip=faster), batch, calibration).seconds <= before * (1 + 1e-12)


@settings(max_examples=150, deadline=None)
@given(places, batches, st.integers(1, 200), st.sampled_from(["decodes", "context", "prefill", "past", "draft"]))
def test_more_load_is_never_faster(deployment: Deployment, batch: Batch, more: int, what: str) -> None:
    calibration = of(deployment)
    loaded = replace(batch, **{what: getattr(batch, what) + more})
    assert step(deployment, loaded, calibration).seconds >= step(deployment, batch, calibration).seconds * (1 - 1e-12)


def test_a_step_without_tokens_takes_no_time() -> None:
    assert step(DEPLOYMENTS[0], Batch(0), of(DEPLOYMENTS[0])).seconds == 0


def test_steps_of_known_deployments_take_these_milliseconds() -> None:
    found = {
        each.shape.name: [round(step(each, batch, of(each)).seconds * 1_000, 2) for batch in (
            Batch(1, 1_000), Batch(64, 1_000), Batch(64, 8_000), Batch(64, 1_000, 2_048, 1))]
        for each in DEPLOYMENTS
    }  # fmt: skip
    assert found == snapshot(
        {
            "meta-llama/Meta-Llama-3.1-8B": [7.25, 12.2, 39.64, 58.15],
            "Qwen/Qwen3-32B": [7.05, 10.73, 24.45, 68.95],
            "deepseek-ai/DeepSeek-R1": [13.42, 17.42, 18.5, 38.77],
            "Qwen/Qwen3.5-397B-A17B": [8.8, 19.91, 21.03, 61.19],
            "zai-org/GLM-5": [16.96, 29.8, 30.52, 82.71],
        }
    )


def test_four_bit_experts_leave_the_mixers_in_bf16() -> None:
    narrow = DEPLOYMENTS[2]
    assert narrow.keeps_bf16
    assert not replace(DEPLOYMENTS[0], weights="fp4").keeps_bf16
    linear = {form: step(replace(narrow, weights=form), Batch(1, 1_000), BARE).parts_s["linear"]
              for form in ("bf16", "fp8", "fp4")}  # fmt: skip
    assert linear["fp8"] < linear["fp4"] < linear["bf16"]


def test_rates_ship_for_each_engine_on_each_generation_and_are_above_zero() -> None:
    assert set(FACTS.times.by) == {(e, g) for e in ("vllm", "sglang", "trtllm") for g in (HOPPER, BLACKWELL)}
    for calibration in FACTS.times.by.values():
        assert all(getattr(calibration.rates, field.name) > 0 for field in fields(Rates))
        assert 0.1 < calibration.error < 1.0
        assert calibration.range is not None


@pytest.mark.parametrize(
    ("name", "generation"), [("A100", HOPPER), ("H100", HOPPER), ("MI300X", HOPPER), ("B200", BLACKWELL)]
)
def test_a_chip_takes_the_rates_of_its_generation(name: str, generation: str) -> None:
    assert generation_of(FACTS.chip(name)) == generation


@pytest.mark.parametrize(
    ("deployment", "batch", "said"),
    [
        (replace(DEPLOYMENTS[0], chip=FACTS.chip("A100")), Batch(1, 1_000), "chip: A100 was not measured"),
        (DEPLOYMENTS[0], Batch(5_000, 1_000), "batch: 5,000 sequences are above"),
        (DEPLOYMENTS[0], Batch(1, 100_000), "context: 100,000 tokens are above"),
        (replace(DEPLOYMENTS[2], shape=FACTS.shape("DeepSeek-V4-Pro")), Batch(1, 1_000), "model kind:"),
    ],
)
def test_a_step_outside_of_what_was_measured_says_so(deployment: Deployment, batch: Batch, said: str) -> None:
    assert any(each.startswith(said) for each in step(deployment, batch, of(deployment)).extrapolates)


def test_the_interval_is_wider_on_a_chip_nobody_measured() -> None:
    calibration = of(DEPLOYMENTS[0])
    known, unknown = (calibration.error_on(FACTS.chip(name)) for name in ("H200", "A100"))
    assert known == calibration.error
    assert unknown == 2 * calibration.error
    chip = replace(DEPLOYMENTS[0], chip=FACTS.chip("A100"))
    taken = step(chip, Batch(1, 1_000), calibration)
    assert math.log(taken.high_s / taken.seconds) == pytest.approx(unknown)


def test_a_step_within_says_nothing_and_the_plain_roofline_that_it_rests_on_nothing() -> None:
    assert step(DEPLOYMENTS[0], Batch(64, 1_000), of(DEPLOYMENTS[0])).extrapolates == ()
    (said,) = step(DEPLOYMENTS[0], Batch(64, 1_000), ROOFLINE).extrapolates
    assert said == "step time on H100: a plain roofline, nothing was measured"


def test_an_unknown_engine_is_refused_with_those_known() -> None:
    with pytest.raises(ConfigError, match="engine is 'tgi'; step times are known of sglang, trtllm, vllm"):
        of(replace(DEPLOYMENTS[0], engine="tgi"))
