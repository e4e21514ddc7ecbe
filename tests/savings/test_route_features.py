"""What a router sees in a text is counted in few passes, and is what reading sign by sign would give."""

import re
from itertools import pairwise
from math import log2
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.savings.route.features import EXCERPT_CHARS, NAMES, look

WORD = re.compile(r"[^\W\d_]+(?:[\u2019'][a-z]+)?")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SYMBOL = re.compile("[=^+*/<>|\u00b0\u00d7\u00f7\u03c0\u2190-\u22ff]")
WORDS = ("don't", "CAN'T", "o\u2019clock", "if", "then", "\u00e9t\u00e9", "\u212a", "\u0130", "\u4e2d\u6587", "x\u00b2")
NUMBERS = ("3.14", "1,000", "2nd", "7", "\u0663")
SIGNS = ("=", "==", "()", "```", "__", "\u2264", "\u201c", "\u2018", "{", "}", ";", "\\", ".", ",", "?", "!", "\ud800")
GAPS = (" ", "\n", ". ", "? ", ".\n", "\u00a0", "\u2028")
PARTS = st.sampled_from((*WORDS, *NUMBERS, *SIGNS, *GAPS))
TEXTS = st.lists(st.one_of(PARTS, st.characters())).map("".join).filter(lambda text: len(text) <= EXCERPT_CHARS)


@given(TEXTS)
def test_words_are_those_a_reader_would_find(text: str) -> None:
    words = " ".join(WORD.findall(text)).lower().split()

    seen = dict(zip(NAMES, look(text).figures, strict=True))

    assert seen["words"] == log2(1 + len(words))
    assert seen["word_length"] == sum(map(len, words)) / max(1, len(words))
    assert seen["long_words"] == sum(len(word) > 9 for word in words) / max(1, len(words))
    assert seen["distinct_words"] == len(set(words)) / max(1, len(words))
    assert seen["conditions"] == log2(1 + words.count("if") + words.count("then"))


@given(TEXTS)
def test_signs_are_those_a_reader_would_count(text: str) -> None:
    numbers = NUMBER.findall(text)
    ends = text.count(". ") + text.count(".\n") + text.count("? ") + text.count("!") + text.endswith((".", "?"))

    seen = dict(zip(NAMES, look(text).figures, strict=True))

    assert seen["numbers"] == log2(1 + len(numbers))
    assert seen["longest_number"] == min(8, max(map(len, numbers), default=0))
    assert seen["symbols"] == log2(1 + len(SYMBOL.findall(text)))
    assert seen["code_signs"] == log2(1 + sum(map(text.count, ("{", "}", ";", "()", "==", "```"))))
    assert seen["quotes"] == log2(1 + sum(map(text.count, ('"', "\u201c", "\u2018"))))
    assert seen["capitals"] == sum("A" <= letter <= "Z" for letter in text) / max(1, len(text))
    assert seen["sentences"] == log2(1 + ends)
    assert seen["lines"] == log2(1 + text.count("\n"))
    assert seen["blank_to_fill"] == ("__" in text)


@given(st.lists(st.sampled_from(["Which", "prime", "3rd", "\u0663", "don't", "\n"])).map(" ".join))
def test_marks_are_words_and_their_pairs_each_once(text: str) -> None:
    asked = re.findall(r"[a-z]+|\d+", text.lower())
    pairs = [f"{one}_{other}" for one, other in pairwise(asked)]

    assert look(text).marks == list(dict.fromkeys(crc32(mark.encode()) for mark in [*asked, *pairs]))


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("A. one\nB. two", "", ["one", "two"]),
        ("\nA. one\nB. two", "", ["one", "two"]),
        ("Which?\n (a) one\n (b) two", "Which?", ["one", "two"]),
        ("Which? A. one B. two", "Which? A. one B. two", []),
        ("A. one\nC. three", "A. one\nC. three", []),
    ],
)
def test_lettered_answers_stand_at_the_beginning_of_lines(text: str, question: str, options: list[str]) -> None:
    seen = look(text)

    assert (seen.question, seen.options) == (question, options)
