"""The words of a text are read by bytes, and edits are judged by the lines they touch: both as by reading it whole."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from bursar.savings.compress.common_words import words_of
from bursar.savings.compress.hits import read_words
from bursar.savings.compress.ranker import ROWS_AT_ONCE, load
from bursar.savings.compress.spacing import keeps_meaning, meaning, spaces
from bursar.savings.compress.words import PREFIX, Flag, codes, known, read, read_question

SIGNS = st.sampled_from(
    [*" .,'-_\n\u2019\u2013\u00a0", "\r\n", "''", "s's", "1999", "3.5", "Été", "漢字語", "กขค", "\ud800", "a_b", "The"]
)
TEXTS = st.lists(st.one_of(SIGNS, st.text(max_size=6)), max_size=20).map("".join)
LINES = st.lists(
    st.sampled_from([" ", "  ", "\t", "\n", "\r\n", "word", "x", "|", "\u200b", "\u00ad", "ก"]), max_size=24
).map("".join)

EDITS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4), st.sampled_from(["", " ", "\n", "z"])), max_size=6)


@given(TEXTS)
@example("")
@example("It's o'clock, don't 'quote' a'b'c\u2019s.\nÜber-große Wörter")
def test_words_read_from_bytes_are_those_of_the_text(text: str) -> None:
    found = read(text)
    words = [known(word) for word in words_of(text)]
    assert found.stem.tolist() == codes([stem for stem, _ in words]).tolist()
    assert found.prefix.tolist() == codes([stem[:PREFIX] for stem, _ in words]).tolist()
    assert found.flags.tolist() == [flags for _, flags in words]


def test_a_line_end_within_a_text_parts_no_texts() -> None:
    words = read_words(["One\ntwo towers", "", "the tower"], read_question("which tower"))
    assert words.text.tolist() == [0, 0, 0, 2, 2]
    assert words.term.tolist() == [-1, -1, 0, -1, 0]
    assert not (words.flags & int(Flag.line_end)).any()


@given(
    LINES, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4), st.sampled_from(["", " ", "\n", "z"])), max_size=6)
)
def test_edits_keep_the_meaning_if_the_whole_reads_the_same(text: str, drawn: list[tuple[int, int, str]]) -> None:
    edits: list[tuple[int, int, str]] = []
    for start, size, new in sorted(drawn):
        if start + size <= len(text) and (not edits or start >= edits[-1][1]):
            edits.append((start, start + size, new))
    for each in (edits, list(spaces(text, 0, len(text)))):
        said = text
        for start, end, new in reversed(each):
            said = said[:start] + new + said[end:]
        assert keeps_meaning(text, 0, len(text), each) == (meaning(text) == meaning(said))


def test_trees_score_many_rows_as_they_score_few() -> None:
    trees = load().by_words
    rows = np.random.default_rng(7).random((ROWS_AT_ONCE + 3, int(trees.columns.max()) + 1))
    scores = trees.score(rows)
    assert len(scores) == len(rows)
    assert scores[-2:].tolist() == trees.score(rows[-2:]).tolist()
    assert len(trees.score(rows[:0])) == 0
