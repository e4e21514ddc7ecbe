"""Tokens are estimated from bytes, never as none where there are some."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.tokens.estimate import tokens_from_bytes


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4_000, 1_000)])
def test_four_bytes_are_a_token(size: int, tokens: int) -> None:
    assert tokens_from_bytes(size) == tokens


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_estimates_grow_with_the_text_and_stay_below_its_bytes(left: int, right: int) -> None:
    assert tokens_from_bytes(left) <= tokens_from_bytes(left + right) <= left + right
    assert tokens_from_bytes(left + right) <= tokens_from_bytes(left) + tokens_from_bytes(right)
