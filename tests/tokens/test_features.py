"""A text is counted by classes of pieces, the same whichever way it comes, and in time that grows with it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.tokens.features import FEATURES, PLACES, Reader
from bursar.tokens.pieces import PieceTable, load, read_table, write_table

PIECES = load()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(PIECES)


def named(counts: tuple[int, ...]) -> dict[str, int]:
    return {name: count for name, count in zip(FEATURES, counts, strict=True) if count}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        (" the", {"word_0": 1}),
        ("1234567", {"digit_groups": 3, "digits": 7}),
        ("a\n\n\nb", {"word_0": 2, "line_breaks": 1, "line_breaks_more": 2}),
        ("x        y", {"word_0": 2, "blanks": 1, "blanks_more": 6}),
        ("我们", {"han_2_0": 1}),
        ("\uff0c你好", {"han_2_1": 1, "han_marks": 1}),
        ("qzxqzxqzx", {"word_pieces": 9, "words_cut": 1}),
    ],
)
def test_each_class_is_counted(reader: Reader, text: str, found: dict[str, int]) -> None:
    assert named(reader.text(text)) == found


def test_a_call_is_its_texts_and_one_frame(reader: Reader) -> None:
    found = named(reader.call([" the", " the"]))
    assert found == {"call": 1, "texts": 2, "word_0": 2}


@given(st.lists(st.text(max_size=80), max_size=4))
def test_lines_count_the_same_together_and_apart(texts: list[str]) -> None:
    reader = Reader(PIECES)
    apart = [reader.call([text]) for text in texts]
    together = reader.call(texts)
    frame = {PLACES["call"], PLACES["texts"]}
    assert all(
        together[place] == sum(each[place] for each in apart) for place in range(len(FEATURES)) if place not in frame
    )
    assert all(count >= 0 for count in together)


_LOADED = load()


def load_once():
    return _LOADED


@given(st.text(min_size=1, max_size=300))
def test_no_text_is_without_features(text: str) -> None:
    assert any(Reader(PIECES).text(text))


@pytest.mark.parametrize("unit", ["a", "A", "ﬁ", " ", "_", "你", "\n", "🙂", "aA", " \n", "=", "1"])
def test_a_long_run_of_anything_takes_no_longer_than_its_length(reader: Reader, unit: str) -> None:
    begun = time.process_time()
    reader.text(unit * (100_000 // len(unit)))
    assert time.process_time() - begun < 3.0


def test_a_table_is_read_as_it_was_written() -> None:
    table = PieceTable("s", "MIT", "m", "2026-11-22", (b"a",), (0,), (b"\xe4\xbd\xa0",))
    assert read_table(write_table(table)) == table
    for broken in (b"", b"x" * 20, write_table(table)[:-3]):
        with pytest.raises(ConfigError, match="no table of word pieces"):
            read_table(broken)
