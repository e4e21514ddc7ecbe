"""A token's floor is what the machines, the power and the storage it takes must cost."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.physics.cost import Owned, Rented, dollars
from bursar.physics.deployment import Deployment
from bursar.physics.energy import Site
from bursar.physics.floor import Floor, Plan, break_even, floor, request_dollars, settled
from bursar.physics.serving import Guess, Promise, Traffic, sequences_max
from tests.physics.working_point import FACTS, OWNED, RENTED, plan

PLAN = plan()
OWN = replace(PLAN, terms=replace(PLAN.terms, holding=OWNED))


def terms(working: Plan, **changed: object) -> Plan:
    return replace(working, terms=replace(working.terms, **changed))


def million(found: Floor, traffic: Traffic) -> float:
    """Add up a million requests from the prices alone, in dollars."""
    counts = ((found.fresh, traffic.fresh_tokens), (found.cached, traffic.cached_tokens))
    nano = sum(rate.nano * count for rate, count in (*counts, (found.output, traffic.output_tokens)))
    return nano / 1e9


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("working", [PLAN, OWN])
def test_the_prices_of_the_tokens_add_up_to_the_request(working: Plan, share: float) -> None:
    working = replace(working, traffic=replace(working.traffic, cached_share=share))
    found = floor(working)
    assert sum(found.parts_dollars.values()) == pytest.approx(found.request_dollars)
    assert million(found, working.traffic) == pytest.approx(found.request_dollars * 1e6, rel=1e-6)


# Measured by ML.ENERGY benchmark v3 (Apache-2.0): model, chip, chips, sequences in flight, tokens out, tokens/s.
# Chat prompts have about 250 tokens; the set does not say.
MEASURED = [
    ("Qwen3-8B", "H100", 1, 8, 647, 962),
    ("Qwen3-8B", "H100", 1, 64, 645, 4_315),
    ("Qwen3-8B", "H100", 1, 255, 654, 7_719),
    ("Qwen3-32B", "H100", 2, 8, 631, 522),
    ("Qwen3-32B", "H100", 2, 64, 635, 2_654),
    ("Qwen3-32B", "H100", 2, 256, 634, 5_155),
    ("Qwen3-32B", "B200", 1, 64, 631, 3_024),
    ("Qwen3-32B", "B200", 1, 256, 627, 6_444),
    ("DeepSeek-V3", "B200", 8, 64, 849, 1_776),
    ("DeepSeek-V3", "B200", 8, 511, 849, 5_588),
]


def test_the_interval_holds_what_measured_speed_costs() -> None:
    """Dense models lie within; DeepSeek on B200 with vLLM of that day costs 1.6 and 2 times the floor, never less."""
    found = {row: measured_and_bounds(row) for row in MEASURED}
    assert all(low <= measured for low, measured, _ in found.values())
    assert [row[0] for row, (_, measured, high) in found.items() if measured > high] == ["DeepSeek-V3", "DeepSeek-V3"]


def measured_and_bounds(row: tuple[str, str, int, int, int, float]) -> tuple[float, float, float]:
    model, chip, chips, batch, output_tokens, tokens_per_s = row
    working = plan(model, chips, chip)
    deployment = replace(working.deployment, weights=working.deployment.shape.precision)
    if deployment.shape.expert_weights:
        deployment = replace(deployment, expert=chips)
    working = terms(replace(working, deployment=deployment, promise=Promise(batch=batch)), utilisation=1.0)
    calibration = FACTS.times.of(deployment)
    found = floor(replace(working, traffic=Traffic(250, output_tokens), calibration=calibration))
    measured = chips * 1.30 / 3_600 / tokens_per_s * output_tokens
    spread = math.exp(found.error)
    return found.request_dollars / spread, measured, found.request_dollars * spread


def test_what_a_busy_replica_takes_in_is_what_it_costs() -> None:
    """Serve without a pause for an hour at the floor: what comes in is the rent of the hour."""
    busy = terms(PLAN, utilisation=1.0)
    found = floor(busy)
    reading_s = found.pace.fresh_s * busy.traffic.input_tokens
    turn_s = reading_s + found.pace.tpot_s * (busy.traffic.output_tokens - 1)
    requests_per_hour = 3_600 * found.pace.batch / turn_s
    assert requests_per_hour * found.request_dollars == pytest.approx(4 * 1.30, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0.01, 0.05))
def test_every_price_falls_as_utilisation_rises(utilisation: float, more: float) -> None:
    for working in (PLAN, OWN):
        idle, busy = (floor(terms(working, utilisation=each)) for each in (utilisation, utilisation + more))
        assert idle.fresh.nano > busy.fresh.nano
        assert idle.output.nano > busy.output.nano
        assert idle.joules_per_request > busy.joules_per_request


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 20))
def test_a_rented_floor_scales_with_the_rent(times: int) -> None:
    dearer = floor(terms(PLAN, holding=Rented(RENTED.nano_per_hour * times)))
    once = floor(PLAN)
    for name in ("fresh", "output"):
        assert abs(getattr(dearer, name).nano - times * getattr(once, name).nano) <= times


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_owning_and_renting_cost_the_same_at_the_break_even(share: float) -> None:
    own = replace(OWN, traffic=replace(OWN.traffic, cached_share=share))
    rent_nano = round(break_even(own) * 1e9)
    assert 1.0 < dollars(rent_nano) < 3.0
    assert request_dollars(terms(own, holding=Rented(rent_nano))) == pytest.approx(request_dollars(own), rel=1e-6)


@pytest.mark.parametrize("chip", ["H100", "H200", "B200", "MI300X"])
def test_an_hour_of_owning_is_near_what_analysts_say(chip: str) -> None:
    """What one pays, fully used, lies within 15 % of the range from hyperscaler to smaller cloud."""
    costs = FACTS.costs
    bought = costs.purchases[chip]
    capex_nano = bought.nano + (costs.server.nano if bought.what.startswith("board") else 0)
    working = terms(plan("Qwen3-8B", 1, chip), holding=Owned(capex_nano), utilisation=1.0)
    said = costs.ownership[chip]
    assert 0.85 * dollars(said.hyperscaler_nano) < break_even(working) < 1.15 * dollars(said.neocloud_nano)


def test_what_a_site_provides_covers_what_a_chip_can_draw() -> None:
    for chip, said in FACTS.costs.ownership.items():
        assert Site(pue=1.15).at_wall(FACTS.chip(chip).power_limit_w, 1) < said.all_in_kw * 1_000


def test_power_is_a_small_share_of_what_is_owned() -> None:
    found = floor(OWN)
    assert 0.01 < found.parts_dollars["power"] / found.request_dollars < 0.2


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (replace(PLAN, speed=2.0), PLAN),
        (terms(PLAN, waste=0.0), terms(PLAN, waste=0.1)),
        (terms(PLAN, reserve=0.0), terms(PLAN, reserve=0.3)),
        (terms(OWN, pue=1.0), OWN),
        (replace(PLAN, promise=Promise(100.0)), PLAN),
        (replace(PLAN, traffic=Traffic(1_000, 300, 0.5)), PLAN),
        (replace(PLAN, guess=Guess(3, 2.5)), PLAN),
        (plan(weights="fp8"), PLAN),
        (plan(chip="H200"), PLAN),
    ],
)
def test_what_is_better_costs_less(better: Plan, worse: Plan) -> None:
    assert request_dollars(better) < request_dollars(worse)


def test_the_batch_is_the_largest_that_keeps_the_promise() -> None:
    found = PLAN.pace
    assert found.limit == "the promised time per token"
    assert found.tpot_s <= 0.050
    larger = replace(PLAN, promise=replace(PLAN.promise, batch=found.batch + 1)).pace
    assert larger.tpot_s > 0.050


def test_prompts_read_apart_leave_room_for_a_larger_batch_at_the_same_prices() -> None:
    apart = replace(PLAN, promise=replace(PLAN.promise, apart=True))
    assert apart.pace.batch > PLAN.pace.batch
    assert floor(apart).fresh == floor(PLAN).fresh
    assert floor(apart).output.nano < floor(PLAN).output.nano


def test_the_batch_fits_the_memory() -> None:
    slow = replace(PLAN, promise=Promise(10_000.0), traffic=Traffic(20_000, 500))
    assert slow.pace.limit == "memory for the cache"
    assert slow.pace.batch == sequences_max(slow.deployment, 20_500)
    # 320 GiB of 4 chips, a tenth and 3.5 GiB a chip kept free, 141 GB of weights; 327,680 bytes a token.
    assert slow.pace.batch == int((4 * (80 * 2**30 * 0.9 - 3.5 * 2**30) - 141.1e9) / 327_680 / 20_500)
    with pytest.raises(ConfigError, match="the memory beside the weights holds"):
        _ = replace(slow, promise=Promise(batch=slow.pace.batch + 1)).pace


def test_a_settled_plan_keeps_its_batch_at_any_speed() -> None:
    fixed = settled(PLAN)
    assert replace(fixed, speed=0.1).pace.batch == PLAN.pace.batch
    assert replace(fixed, promise=replace(fixed.promise, tpot_ms=1.0)).pace.limit == "set"


def test_the_interval_holds_the_price_and_widens_with_the_error() -> None:
    found = floor(PLAN)
    for rate in (found.fresh, found.cached, found.output):
        assert rate.low_nano < rate.nano < rate.high_nano
        assert math.log(rate.high_nano / rate.nano) == pytest.approx(found.error, abs=1e-4)
    surer = floor(replace(PLAN, calibration=replace(PLAN.calibration, error=0.1)))
    assert surer.output.high_nano - surer.output.low_nano < found.output.high_nano - found.output.low_nano


def test_the_interval_is_wider_on_a_chip_that_was_not_measured() -> None:
    found = {}
    for chip in ("H100", "MI300X", "LAPTOP-CPU"):
        working = replace(plan("Qwen3-8B", 1, chip), promise=Promise(2_000.0))
        found[chip] = floor(replace(working, calibration=FACTS.times.of(working.deployment)))
    assert found["MI300X"].error >= 2 * found["H100"].error > 0
    assert any("MI300X was not measured" in each for each in found["MI300X"].extrapolates)
    assert any("plain roofline" in each for each in found["LAPTOP-CPU"].extrapolates)
    assert not any("chip" in each for each in found["H100"].extrapolates)


@pytest.mark.parametrize(
    ("chip", "weights", "cache", "said"),
    [
        ("H100", "int4", "bf16", ["format: weights in int4 were not measured on Hopper"]),
        ("H200", "fp4", "bf16", ["format: weights in fp4 were not measured on Hopper"]),
        ("B200", "int8", "fp4", ["format: weights in int8 were not measured on Blackwell", "a cache in fp4"]),
        ("H100", "bf16", "int8", ["format: a cache in int8 was not measured"]),
        ("H100", "fp8_block", "fp8", []),
        ("B200", "fp4", "fp8", []),
    ],
)
def test_formats_nobody_measured_are_named(chip: str, weights: str, cache: str, said: list[str]) -> None:
    working = plan("Qwen3-8B", 1, chip, weights)
    deployment = replace(working.deployment, cache=cache)
    working = replace(working, deployment=deployment, calibration=FACTS.times.of(deployment))
    named = [each for each in working.pace.extrapolates if each.startswith("format")]
    assert len(named) == len(said)
    assert all(word in each for word, each in zip(said, named, strict=True))


def test_shares_of_what_binds_add_up() -> None:
    found = PLAN.pace
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found.binds.values())
    assert found.binds["prefill"]["compute"] > 0.5
    assert found.binds["decode"]["memory"] > 0.5
    assert found.binds["decode"]["link"] > 0


CHIPS = st.sampled_from(["A100", "H100", "H200", "B200", "MI300X", "RTX4090"])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(FACTS.configs)), CHIPS, st.integers(1, 130_000), st.floats(0, 0.95), st.sampled_from([0, 1])
)
def test_cached_input_is_never_dearer_than_fresh(model: str, chip: str, tokens: int, share: float, own: int) -> None:
    try:
        working = plan(model, 8 if FACTS.shape(model).total_weights > 3e10 else 1, chip, "fp8")
        working = replace(working, promise=Promise(10_000.0), traffic=Traffic(tokens, 20, share))
        found = floor(terms(working, holding=(RENTED, OWNED)[own]))
    except ConfigError:  # too large for the chips, or heads that eight do not divide
        return
    assert 0 <= found.cached.nano <= found.fresh.nano + 1


@pytest.mark.parametrize(("tokens", "share"), [(64_000, 0.25), (100_000, 0.0), (128_000, 0.5)])
def test_attention_to_cached_tokens_is_paid_by_the_token_computed(tokens: int, share: float) -> None:
    working = replace(plan("Meta-Llama-3.1-8B", 1), traffic=Traffic(tokens, 300, share))
    found, bare = floor(working), floor(replace(working, traffic=Traffic(round(tokens * (1 - share)), 300)))
    assert found.cached.nano < found.fresh.nano
    assert found.fresh.nano > bare.fresh.nano or not share
    # Loading alone: bytes of the cache over the host's link, whatever else is read.
    deployment = working.deployment
    assert found.pace.cached_s == pytest.approx(131_072 / deployment.chip.host_bytes_per_s)


def test_the_first_token_of_an_answer_is_the_prompts() -> None:
    working = plan("Meta-Llama-3.1-8B", 1)
    by_length = {each: replace(working, traffic=Traffic(1_000, each)) for each in (1, 2, 3, 4, 16, 256)}
    found = {each: floor(asked) for each, asked in by_length.items()}
    one = found[1]
    assert one.output.nano == 0
    assert one.request_dollars == pytest.approx(dollars(one.fresh.nano) / 1_000, rel=1e-6)
    for each in (2, 16, 256):
        pace = found[each].pace
        steps_s = (each - 1) * pace.decode.seconds / pace.batch
        assert pace.request_s(by_length[each].traffic) == pytest.approx(1_000 * pace.fresh_s + steps_s)
    cost = [found[each].request_dollars for each in found]
    assert all(after > 0.99 * before for before, after in pairwise(cost))
    assert cost[0] == min(cost)


def test_chips_that_do_not_hold_the_model_are_refused_with_how_many_would() -> None:
    with pytest.raises(ConfigError, match=r"1 x H100 do not hold .*70B in bf16 .* give at least 2 chips"):
        floor(plan(chips=1))


@pytest.mark.parametrize(
    ("model", "chip", "chips", "tensor", "expert", "tokens"),
    [
        ("DeepSeek-R1", "B200", 4, 1, 4, 1_300),  # attention is copied to every chip
        ("DeepSeek-R1", "H100", 8, 8, 1, 1_300),
        ("Meta-Llama-3.1-405B", "H100", 8, 8, 1, 1_300),
        ("Qwen3-235B-A22B", "H100", 2, 2, 2, 1_300),
        ("Llama-4-Maverick-17B-128E-Instruct", "H100", 4, 4, 1, 1_300),  # 40 heads
    ],
)
def test_the_number_of_chips_named_does_hold_the_model(
    model: str, chip: str, chips: int, tensor: int, expert: int, tokens: int
) -> None:
    shape = FACTS.shape(model)
    small = Deployment(shape, FACTS.chip(chip), chips, tensor, expert, weights=shape.precision)
    with pytest.raises(ConfigError) as refused:
        sequences_max(small, tokens)
    found = re.search(r"takes (\d+) GB of (\d+) GB a chip; give at least (\d+) chips", str(refused.value))
    assert found is not None
    needed, usable, enough = (int(each) for each in found.groups())
    assert needed > usable
    assert (enough, enough) > (chips, tensor)
    assert sequences_max(replace(small, chips=enough, tensor=enough, expert=1), tokens) >= 1


def test_a_cache_that_every_chip_holds_whole_is_said_not_to_shrink() -> None:
    shape = FACTS.shape("DeepSeek-R1")
    place = Deployment(shape, FACTS.chip("H200"), 8, 8, weights="fp8")
    with pytest.raises(ConfigError, match=r"takes \d+ GB of 132 GB a chip; what every chip holds does not shrink"):
        sequences_max(place, 4_000_000)


def test_a_promise_nothing_can_keep_is_refused_with_what_can_be_had() -> None:
    with pytest.raises(ConfigError, match=r"slo_tpot_ms is 1\.0; one sequence alone takes \d+\.\d ms"):
        floor(replace(PLAN, promise=Promise(1.0)))


def split(model: str, chips: int, tensor: int, expert: int = 1) -> Deployment:
    return Deployment(FACTS.shape(model), FACTS.chip("H100"), chips, tensor, expert)


def test_heads_of_keys_and_values_may_be_held_by_several_chips() -> None:
    assert split("Meta-Llama-3.1-8B", 16, 16).groups == 1
    assert split("Qwen3.5-27B", 12, 12).groups == 1
    assert split("DeepSeek-R1", 12, 1, 12).groups == 12


@pytest.mark.parametrize(("chip", "chips", "named"), [("H100", 8, False), ("H100", 16, True), ("GB200", 16, False)])
def test_a_replica_over_several_nodes_is_named_as_beyond_the_calibration(chip: str, chips: int, named: bool) -> None:
    working = plan("Meta-Llama-3.1-70B", chips, chip)
    found = floor(replace(working, calibration=FACTS.times.of(working.deployment)))
    assert any("links between nodes" in each for each in found.extrapolates) is named


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Traffic(0, 1), "input_tokens is 0"),
        (lambda: Traffic(1, 0), "output_tokens is 0"),
        (lambda: Traffic(1, 1, 1.0), "cached_share is 1.0"),
        (lambda: Promise(0.0), "slo_tpot_ms is 0.0"),
        (lambda: Promise(batch=0), "batch is 0"),
        (lambda: Guess(2, 4.0), "accepted is 4.0 tokens a step with 2 drafted"),
        (lambda: Deployment(FACTS.shape("Qwen3-8B"), FACTS.chip("H100"), 4, 3), "tensor is 3"),
        (lambda: split("Meta-Llama-3.1-8B", 64, 64), "tensor is 64, which does not divide the 32 heads"),
        (lambda: split("Meta-Llama-3.1-8B", 3, 3), "tensor is 3, which does not divide the 32 heads"),
        (lambda: split("DeepSeek-R1", 10, 10), "tensor is 10, which does not divide the 128 heads"),
        (lambda: split("Qwen3.5-27B", 6, 6), "tensor is 6; it must divide the 4 heads of keys and values"),
        (lambda: split("Meta-Llama-3.1-8B", 4, 4, 4), "expert is 4, but .* has no experts"),
        (lambda: split("Mixtral-8x7B-v0.1", 16, 16, 16), "expert is 16; it must be at most the 8 experts"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
