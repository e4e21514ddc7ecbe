"""A price moved by load or effort follows its published function, exactly."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.core.money import usd_to_nano
from bursar.physics.dynamic import Curve, effort_ppm, factor_ppm, moved_nano, visible_nano
from tests.physics.working_point import plan

MILLION = 1_000_000
CURVES = st.builds(Curve, st.integers(1, MILLION - 1), st.integers(0, MILLION), st.integers(MILLION, 10 * MILLION))
SHARES = st.integers(0, MILLION)


@given(CURVES, SHARES, SHARES)
def test_a_price_never_falls_as_load_rises_and_stays_in_its_bounds(curve: Curve, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert curve.least_ppm <= factor_ppm(less, curve) <= factor_ppm(more, curve) <= curve.most_ppm


@given(CURVES)
def test_a_price_is_the_list_s_at_the_reference_and_its_bounds_at_the_ends(curve: Curve) -> None:
    assert factor_ppm(curve.reference_ppm, curve) == MILLION
    assert factor_ppm(0, curve) == curve.least_ppm
    assert factor_ppm(MILLION, curve) == curve.most_ppm


@given(SHARES)
def test_a_price_does_not_jump(utilisation: int) -> None:
    assume(utilisation < MILLION)
    curve = Curve()
    assert factor_ppm(utilisation + 1, curve) - factor_ppm(utilisation, curve) <= 6


def test_the_published_curve_gives_published_prices() -> None:
    list_nano = usd_to_nano("0.60")
    found = [moved_nano(list_nano, share * 100_000, Curve()) / list_nano for share in range(11)]
    assert [round(each, 4) for each in found] == [
        *(0.5, 0.5139, 0.5556, 0.625, 0.7222, 0.8472, 1.0),
        *(1.0625, 1.25, 1.5625, 2.0),
    ]


def test_seen_tokens_carry_the_unseen_ones() -> None:
    assert visible_nano(usd_to_nano("10"), 250, 750) == usd_to_nano("40")
    with pytest.raises(ConfigError, match="output_tokens is 0"):
        visible_nano(1, 0, 5)


def test_a_sparse_model_takes_little_effort_alone_and_more_in_a_batch_that_touches_most_of_it() -> None:
    """Of 117 billion weights 5 work on a token: alone it is a small model, in a batch its memory is a large one's."""
    sparse, dense = plan("gpt-oss-120b"), plan("Meta-Llama-3.1-70B")
    alone = [replace(each, promise=replace(each.promise, batch=1)) for each in (sparse, dense)]
    together = [replace(each, promise=replace(each.promise, batch=64)) for each in (sparse, dense)]
    assert 0 < effort_ppm(*alone) < MILLION / 2 < effort_ppm(*together)
    assert effort_ppm(dense, dense) == MILLION


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Curve(0), "reference_ppm is 0"),
        (lambda: Curve(500_000, 1_100_000), "least_ppm is 1100000"),
        (lambda: Curve(500_000, 500_000, 900_000), "most_ppm 900000"),
        (lambda: factor_ppm(-1, Curve()), "utilisation_ppm is -1"),
        (lambda: factor_ppm(1_000_001, Curve()), "utilisation_ppm is 1000001"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
