"""Texts are cut into word pieces as BERT cuts them, and what is remembered stays bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.embed.tokenize import CACHED_CHUNKS_MAX, WordPiece

PIECES = (
    *("[UNK]", "hello", "world", "un", "##aff", "##able", "##a", "cafe", "##s", "!", "'", "t", "don", "北", "京"),
    *("$", "5", "##5", ".", "-", "a", "b", "ab", "ß", "i"),
)
CUT = [
    ("Hello world", ["hello", "world"]),
    ("HELLO, world!", ["hello", "[UNK]", "world", "!"]),
    ("unaffable", ["un", "##aff", "##able"]),
    ("unaffables", ["un", "##aff", "##able", "##s"]),
    ("unaffablex", ["[UNK]"]),
    ("UNAFFABLE unaffable! Ab", ["un", "##aff", "##able", "un", "##aff", "##able", "!", "ab"]),
    ("a A x 5 55", ["a", "a", "[UNK]", "5", "5", "##5"]),
    ("Café cafés", ["cafe", "cafe", "##s"]),
    ("cafe\u0301", ["cafe"]),
    ("don't", ["don", "'", "t"]),
    ("hello北京world", ["hello", "北", "京", "world"]),
    ("$5.55", ["$", "5", ".", "5", "##5"]),
    ("a\u200db", ["ab"]),
    ("a\u00a0b", ["a", "b"]),
    ("a\u2028b\x0cb", ["a", "b", "b"]),
    ("a\x00\ufffdb", ["ab"]),
    ("a\u2014b", ["a", "[UNK]", "b"]),
    ("ß", ["ß"]),
    ("\u0130", ["i"]),
    ("a" * 101, ["[UNK]"]),
    ("a" + "a" * 99, ["a", *["##a"] * 99]),
    ("", []),
    (" \t\n", []),
    ("\U0001f600", ["[UNK]"]),
    ("\ud800", []),
]


@pytest.mark.parametrize(("text", "pieces"), CUT)
def test_a_text_is_cut_as_bert_cuts_it(text: str, pieces: list[str]) -> None:
    assert [PIECES[number] for number in WordPiece(PIECES).numbers(text)] == pieces


def test_what_is_unknown_is_left_out_where_the_vocabulary_has_no_mark_for_it() -> None:
    assert WordPiece(("hello",)).numbers("hello there, hello") == [0, 0]


@given(st.text())
def test_memory_changes_nothing(text: str) -> None:
    cutter = WordPiece(PIECES)

    first = cutter.numbers(text)

    assert cutter.numbers(text) == first


LETTERS = st.text("ab", min_size=1, max_size=6)


@given(
    vocabulary=st.lists(st.builds(str.__add__, st.sampled_from(["", "##"]), LETTERS), unique=True),
    word=st.text("ab", min_size=1, max_size=12),
)
def test_the_longest_piece_is_taken_again_and_again(vocabulary: list[str], word: str) -> None:
    expected: list[int] = []
    rest = word
    while rest:
        mark = "##" if rest != word else ""
        ends = [end for end in range(1, len(rest) + 1) if mark + rest[:end] in vocabulary]
        if not ends:
            expected = []
            break
        expected.append(vocabulary.index(mark + rest[: ends[-1]]))
        rest = rest[ends[-1] :]

    assert WordPiece(vocabulary).numbers(word) == expected


def test_memory_is_bounded_in_words_and_in_their_length() -> None:
    cutter = WordPiece(PIECES)
    cutter.numbers("a" * 50)
    assert len(cutter._chunks) == 0

    for number in range(CACHED_CHUNKS_MAX + 5):
        cutter.numbers(f"x{number}")

    assert len(cutter._chunks) == CACHED_CHUNKS_MAX
    assert "x4" not in cutter._chunks
    assert "x5" in cutter._chunks


def test_a_word_is_remembered_once_whatever_stands_beside_it() -> None:
    cutter = WordPiece(PIECES)
    cutter.numbers('(Hello, "hello") hello.')
    assert set(cutter._chunks) == {*'(,")', ".", "hello"}


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_is_cut_as_any_other(text: str) -> None:
    beside = "\u0301"  # an accent is dropped, and a text with one is read character by character
    accented = " ".join(chunk + beside for chunk in text.split())

    assert WordPiece(PIECES).numbers(text) == WordPiece(PIECES).numbers(accented)
