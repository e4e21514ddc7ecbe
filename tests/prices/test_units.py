"""Units cover every leaf of usage once, and their parents lead somewhere."""

import pytest

from bursar.core.usage import COUNT_LEAVES, INPUT_LEAVES, LEAVES, OUTPUT_LEAVES
from bursar.prices.catalogue import PRICE_KEYS
from bursar.prices.units import MILLION, UNIT_BY_NAME, UNITS, divisor


def test_every_leaf_of_usage_has_one_unit_with_one_name() -> None:
    assert UNITS.keys() == LEAVES
    assert len(UNIT_BY_NAME) == len(UNITS)
    assert {UNIT_BY_NAME[unit.name] is unit for unit in UNITS.values()} == {True}


@pytest.mark.parametrize(
    ("side", "leaves"), [("input", INPUT_LEAVES), ("output", OUTPUT_LEAVES), ("count", COUNT_LEAVES)]
)
def test_units_stand_on_the_side_their_leaf_counts_on(side: str, leaves: tuple[str, ...]) -> None:
    assert {leaf for leaf, unit in UNITS.items() if unit.side == side} == set(leaves)


def test_parents_are_units_of_the_same_side_and_every_token_has_one_in_the_end() -> None:
    for leaf, unit in UNITS.items():
        assert leaf not in unit.parents
        assert {UNITS[parent].side for parent in unit.parents} <= {unit.side}
        assert {UNITS[parent].size for parent in unit.parents} <= {unit.size}
        if unit.side != "count" and unit.parents:
            assert unit.parents[-1] == f"{unit.side}_tokens"
        for parent in unit.parents:
            assert set(UNITS[parent].parents) <= set(unit.parents)


def test_a_rate_is_for_a_million_units_of_its_size() -> None:
    assert divisor("input_tokens") == MILLION
    assert divisor("audio_seconds") == 3_600 * MILLION
    assert divisor("input_pixels") == 10**9 * MILLION


def test_the_catalogues_price_keys_lead_to_units() -> None:
    assert {leaf for leaf, _ in PRICE_KEYS.values()} == UNITS.keys()
    for key, (leaf, per) in PRICE_KEYS.items():
        assert per in (1, 1_000, 1_000_000), key
        assert (per == 1) == (UNITS[leaf].size > 1), key
