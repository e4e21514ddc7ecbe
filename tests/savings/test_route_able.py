"""A model that cannot serve a call, or whose price nobody knows, never comes up."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.savings.route.able import able
from bursar.savings.route.choice import Option, Target
from tests.savings.routing import BIG, SMALL, asked

BLIND = msgspec.structs.replace(SMALL, model="blind", takes_images=False)
HANDLESS = msgspec.structs.replace(SMALL, model="handless", takes_tools=False)
UNPRICED = msgspec.structs.replace(SMALL, model="unpriced", output_rate_nano=None)
ENDLESS = msgspec.structs.replace(SMALL, model="endless", context_tokens=None)


@pytest.mark.parametrize(
    ("option", "call", "reason"),
    [
        (BLIND, {"images": True}, "takes no images"),
        (HANDLESS, {"tools": True}, "takes no tools"),
        (UNPRICED, {}, "has no known price"),
        (SMALL, {"prompt_tokens": 15_801}, "holds 16,000 tokens of the 16,001 needed"),
        (SMALL, {"prompt_tokens": 15_000, "output_cap": 1_001}, "holds 16,000 tokens of the 16,001 needed"),
    ],
)
def test_a_model_that_lacks_what_a_call_needs_is_left_out_with_its_reason(option, call, reason) -> None:
    found = able(asked(**call), [option, BIG])

    assert found.options == (BIG,)
    assert found.reasons == ((option.model, reason),)


def test_a_call_that_just_fits_a_context_is_taken() -> None:
    assert able(asked(prompt_tokens=15_800), [SMALL]).options == (SMALL,)


def test_where_the_estimate_alone_leaves_nobody_the_largest_is_taken_with_a_word() -> None:
    wide = msgspec.structs.replace(SMALL, model="wide", context_tokens=18_000)
    found = able(asked(prompt_tokens=40_000), [SMALL, wide])

    assert found.options == (wide,)
    assert found.unsure["wide"].startswith("may be too small: it holds 18,000 tokens of the 40,")
    assert [model for model, _ in found.reasons] == ["small"]


def test_what_cannot_fit_whatever_its_tokens_are_is_left_to_nobody() -> None:
    assert able(asked(prompt_tokens=80_000), [SMALL]).options == ()
    assert able(asked(prompt_tokens=1_000, output_cap=16_001), [SMALL]).options == ()
    assert able(asked(prompt_tokens=20_000), [SMALL], Target(cost_max_nano=1)).options == ()


def test_a_context_of_unknown_size_is_enough_for_a_short_call() -> None:
    assert able(asked(), [ENDLESS, BIG]).options == (ENDLESS, BIG)


def test_a_context_of_unknown_size_is_left_out_of_a_long_call_where_another_is_known_to_hold_it() -> None:
    found = able(asked(prompt_tokens=9_000), [ENDLESS, BIG])

    assert found.options == (BIG,)
    assert found.reasons == (("endless", "has a context of unknown size"),)


def test_a_context_of_unknown_size_is_taken_with_a_word_where_no_other_holds_the_call() -> None:
    found = able(asked(prompt_tokens=20_000), [ENDLESS, SMALL])

    assert found.options == (ENDLESS,)
    assert found.unsure == {"endless": "has a context of unknown size"}


@pytest.mark.parametrize(
    ("target", "models"),
    [
        (Target(cost_max_nano=270_000), ["small"]),
        (Target(cost_max_nano=269_999), []),
        (Target(seconds_max=4.0), ["big"]),
        (Target(seconds_max=3.9), ["small"]),  # of it no time is known, and no other is left
    ],
)
def test_the_most_a_call_may_cost_and_take_leaves_dearer_and_slower_ones_out(target, models) -> None:
    assert [each.model for each in able(asked(), [SMALL, BIG], target).options] == models


@given(
    st.builds(
        Option,
        model=st.sampled_from("abc"),
        input_rate_nano=st.none() | st.integers(0, 10**10),
        output_rate_nano=st.none() | st.integers(0, 10**10),
        output_tokens=st.integers(0, 2_000),
        context_tokens=st.none() | st.integers(1, 20_000),
        takes_tools=st.booleans(),
        takes_images=st.booleans(),
    ),
    st.integers(0, 30_000),
    st.booleans(),
    st.booleans(),
)
def test_what_is_able_is_priced_and_has_all_that_is_needed(option, tokens, tools, images) -> None:
    call = asked(prompt_tokens=tokens, tools=tools, images=images)
    found = able(call, [option])

    assert len(found.options) + len(found.reasons) == 1
    for each in found.options:
        assert each.priced
        assert each.takes_tools >= tools
        assert each.takes_images >= images
        fits = each.context_tokens is None or tokens + each.output_tokens <= each.context_tokens
        assert fits or each.model in found.unsure
