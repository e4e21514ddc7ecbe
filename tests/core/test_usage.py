"""Leaves of usage never overlap and never fall below zero."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.usage import COUNT_LEAVES, INPUT_LEAVES, LEAVES, MAIN_LEAVES, OUTPUT_LEAVES, Usage, UsageContradiction

counts = st.integers(0, 10**9)
rare = st.dictionaries(st.sampled_from(sorted(LEAVES - set(MAIN_LEAVES))), counts)
usages = st.builds(Usage, *[counts] * 6, other=rare)


@given(usages)
def test_totals_are_sums_of_leaves(usage: Usage) -> None:
    leaves = usage.leaves()
    assert usage.input_total == sum(leaves.get(leaf, 0) for leaf in INPUT_LEAVES)
    assert usage.output_total == sum(leaves.get(leaf, 0) for leaf in OUTPUT_LEAVES)
    assert 0 not in leaves.values()


@given(usages, usages)
def test_adding_adds_every_leaf(left: Usage, right: Usage) -> None:
    both = left.plus(right).leaves()
    for leaf in (*INPUT_LEAVES, *OUTPUT_LEAVES, *COUNT_LEAVES):
        assert both.get(leaf, 0) == left.leaves().get(leaf, 0) + right.leaves().get(leaf, 0)


@pytest.mark.parametrize("leaf", MAIN_LEAVES)
def test_a_negative_leaf_is_a_contradiction_that_names_it(leaf: str) -> None:
    with pytest.raises(UsageContradiction, match=leaf):
        Usage(**{leaf: -1}).check()


def test_a_negative_or_unknown_rare_leaf_is_a_contradiction() -> None:
    with pytest.raises(UsageContradiction, match="web_searches would be -2"):
        Usage(other={"web_searches": -2}).check()
    with pytest.raises(UsageContradiction, match="brain_waves is not a leaf"):
        Usage(other={"brain_waves": 2}).check()
