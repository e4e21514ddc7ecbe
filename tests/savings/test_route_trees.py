"""Trees tell how models differ where texts do, and say nothing where they do not."""

import numpy as np
import pytest

from bursar.savings.route.trees import grow

ROWS = np.random.default_rng(3).normal(size=(600, 4))


def differences(apart: np.ndarray) -> np.ndarray:
    """Give how far two models are from their mean."""
    return np.stack([-apart, apart], axis=1) / 2


def test_trees_find_the_column_and_the_side_on_which_a_model_is_better() -> None:
    trees = grow(ROWS, differences((ROWS[:, 2] > 0.5).astype(float)), seed=1)

    told = trees.differences(np.array([[0.0, 0.0, 2.0, 0.0], [0.0, 0.0, -2.0, 0.0]]))

    assert told[0, 1] - told[0, 0] > 0.7
    assert told[1, 1] - told[1, 0] < 0.1
    np.testing.assert_allclose(told.sum(axis=1), 0, atol=1e-12)  # what all models have in common is not told


def test_trees_say_little_of_noise() -> None:
    noise = np.random.default_rng(4).choice([-1.0, 0.0, 1.0], 600)

    told = grow(ROWS, differences(noise), seed=1).differences(np.random.default_rng(5).normal(size=(200, 4)))

    assert told.std() < 0.15 * noise.std()


def test_the_same_rows_and_seed_grow_the_same_trees() -> None:
    wanted = differences(ROWS[:, 0])
    first, second, other = (grow(ROWS, wanted, seed).values for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_no_row_changes_sides_when_thresholds_are_kept_in_half_precision() -> None:
    rows = np.log2(1 + np.random.default_rng(6).integers(0, 9, size=(500, 2)))  # counts, as figures are

    trees = grow(rows, differences(rows[:, 0]), seed=1)

    np.testing.assert_array_equal(trees.thresholds, trees.thresholds.astype(np.float16))
    gaps = np.abs(np.unique(rows)[:, None] - trees.thresholds.ravel())
    assert gaps.min() > 0.05  # halfway between two of the counts


def test_many_rows_are_told_as_each_alone() -> None:
    trees = grow(ROWS, differences(ROWS[:, 1]), seed=1)
    many = np.random.default_rng(7).normal(size=(2_300, 4))

    told = trees.differences(many)

    alone = [trees.differences(row[None])[0] for row in many[990:1_010]]
    np.testing.assert_allclose(told[990:1_010], alone)
    assert trees.differences(many[:0]).shape == (0, 2)


def test_only_what_differs_is_asked_and_rows_all_alike_are_told_nothing() -> None:
    rows = np.ones((60, 3))
    apart = np.arange(60) % 2.0

    none = grow(rows, differences(apart), seed=1)
    rows[:, 1] = apart
    some = grow(rows, differences(apart), seed=1)

    assert none.differences(rows).tolist() == [[0.0, 0.0]] * 60
    assert set(some.columns.ravel().tolist()) == {1}
    assert some.differences(rows[:2])[:, 1].tolist() == [0.0, pytest.approx(0.41, abs=0.05)]  # of a half, for few rows
