"""The table's fit goes down the slope of its loss, and finds what texts were made of."""

import numpy as np
import pytest
import scipy.sparse as sparse

from bench.embedding_fit import Adam, Fit, Settings, count, loss, main_directions
from bench.ranks import cosines_of_pairs, pairs, spearman
from bursar.embed.embedder import Floats, unit

PIECES = 40
SETTINGS = Settings(dimensions=6, width=5, epochs=60, batch=64, row_rate=0.01, rate=0.005)


def texts_of(random: np.random.Generator, texts: int) -> sparse.csr_matrix:
    return sparse.csr_matrix(random.integers(0, 3, (texts, PIECES)).astype(np.float32))


def vectors(fit: Fit, counts: sparse.csr_matrix) -> Floats:
    return unit(fit.layer.bend(unit(counts @ fit.rows)))


@pytest.fixture
def fit() -> Fit:
    random = np.random.default_rng(2)
    made = Fit(random.standard_normal((PIECES, 8)).astype(np.float32), np.eye(8, 6, dtype=np.float32), SETTINGS)
    made.narrow.values += 0.3 * random.standard_normal(made.narrow.values.shape).astype(np.float32)
    made.own.values += 0.02 * random.standard_normal(made.own.values.shape).astype(np.float32)
    return made


@pytest.mark.parametrize("part", ["weights", "matrix", "own", "widen", "shift", "narrow"])
def test_each_part_moves_by_the_slope_of_the_loss(part: str, fit: Fit) -> None:
    random = np.random.default_rng(4)
    counts, wanted = texts_of(random, 12), unit(random.standard_normal((12, 6)).astype(np.float32))
    slope = fit.slopes(counts, wanted, np.arange(PIECES))[part]
    adam: Adam = getattr(fit, part)
    towards = random.standard_normal(adam.values.shape).astype(np.float32)
    far = 2e-3 if part != "own" else 5e-4

    losses = []
    for sign in (1, -1):
        adam.values += sign * far * towards
        losses.append(loss(vectors(fit, counts), wanted))
        adam.values -= sign * far * towards

    assert (losses[0] - losses[1]) / (2 * far) == pytest.approx((slope * towards).sum(), rel=0.03)


def test_what_texts_were_made_of_is_found(fit: Fit) -> None:
    random = np.random.default_rng(9)
    truth = random.standard_normal((PIECES, 6)).astype(np.float32)
    counts = texts_of(random, 700)
    wanted = unit(counts @ truth)

    fit.run(counts[:600], wanted[:600])

    found, meant = cosines_of_pairs(vectors(fit, counts[600:]), wanted[600:], 2_000, 1)
    assert spearman(found, meant) > 0.97


def test_pieces_are_counted_by_text() -> None:
    assert count(["red sky", "", "sky sky blue"], ["red", "sky"]).toarray().tolist() == [[1, 1], [0, 0], [0, 2]]


def test_main_directions_hold_most_of_each_set_alike() -> None:
    one, other = np.zeros((10, 3), np.float32), np.zeros((1_000, 3), np.float32)
    one[:, 0], other[:, 2] = 2, 1

    assert np.abs(main_directions([one, other], 2)).tolist() == [[1, 0], [0, 0], [0, 1]]


def test_ranks_that_are_equal_are_shared() -> None:
    one = np.array([1, 2, 2, 4], np.float32)

    assert spearman(one, one**3) == pytest.approx(1)
    assert spearman(one, np.array([1, 2, 3, 4], np.float32)) == pytest.approx(0.9486833)


def test_pairs_are_of_two_different_texts() -> None:
    first, second = pairs(5, 1_000, 3)

    assert (first != second).all()
    assert set(first.tolist()) == set(second.tolist()) == set(range(5))
