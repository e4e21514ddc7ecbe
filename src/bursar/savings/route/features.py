"""See in a prompt what makes it hard or easy: how long it is, what it counts, asks and forbids.

All is read from the text alone, in one language-blind pass where that can be had; words are English ones. Counts enter
as log2(1 + n), so that the tenth number says less than the first.
"""

import re
from collections import Counter
from collections.abc import Callable
from itertools import chain, filterfalse, pairwise
from math import log2
from string import ascii_uppercase
from typing import Final
from zlib import crc32

import msgspec

from bursar.savings.route.words import words_of

EXCERPT_CHARS: Final = 2_000
"""How much of a long text is read word by word: two thirds from its start, one from its end, where questions stand."""

BUCKETS: Final = 16_384
"""How many the words and pairs of words of a question are spread over."""

_OPTION: Final = re.compile(r"\n[^\S\n]*\(?([A-Ja-j])[.)]\s+([^\n]*)")
"""Of blanks before a letter only those of its line are read: a run of line ends would be read again from each."""
_LETTERS: Final = "ABCDEFGHIJ"
_LONG_WORD: Final = 9
"""Letters beyond which a word is long."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:[\u2019'][a-z]+)?")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_MARKED: Final = re.compile(r"[a-z]+|\d+")
_SIGNS: Final = b"=^+*/<>|"
_SYMBOLS: Final = re.compile("[\u00b0\u00d7\u00f7\u03c0\u2190-\u22ff]")
_ASCII: Final = bytes(range(128))
_CAPITALS: Final = ascii_uppercase.encode()
_NO_SIGNS: Final = bytes(set(_ASCII) - set(_SIGNS + b'\\{};("$%'))
"""All of ASCII but what is counted by itself: of what is left counts are quick."""
_WORDS_LEFT: Final = bytes(byte if byte > 127 or chr(byte).isalpha() or byte == ord("'") else 32 for byte in range(256))
_NUMBERS_LEFT: Final = bytes(byte if byte > 127 or byte in b"0123456789.," else 32 for byte in range(256))
"""Blank in UTF-8 what can stand in no word, and in no number: of ASCII, which most texts are made of."""
_ENDS: Final = re.compile(r"\.[ \n]")
_ASKS: Final = re.compile(r"\?(?= )")
"""Ends of sentences: found by their rarer sign, in half the time `str.count` takes for both at once."""
_ONSETS: Final = ("what", "which", "who", "when", "where", "why", "how")
_SETS: Final[dict[str, frozenset[str]]] = {
    "negations": words_of("not except least incorrect false never no none cannot neither without unlikely"),
    "conditions": words_of("if then suppose assume assuming given when unless whether let would"),
    "comparisons": words_of(
        "more less fewer than twice thrice double triple half times as most least greater larger smaller older "
        "younger taller longer shorter"
    ),
    "shares": words_of("half third quarter fifth percent fraction ratio rate average share remaining rest left"),
    "each": words_of("each every per apiece both either all another"),
    "number_words": words_of(
        "one two three four five six seven eight nine ten eleven twelve dozen hundred thousand million"
    ),
    "time_words": words_of(
        "second seconds minute minutes hour hours day days week weeks month months year years monday tuesday "
        "wednesday thursday friday saturday sunday"
    ),
    "money_words": words_of("dollar dollars cent cents price cost costs pay paid buy buys bought sell sells sold"),
    "persons": words_of("he she his her him they their i my me you your we our"),
    "code_words": words_of("def return function print class import int str array string code algorithm list"),
    "asks_prove": words_of("prove explain why derive evaluate compute calculate find determine solve show"),
    "views": words_of("best most likely primarily mainly generally according following true correct statement"),
}

_KINDS: Final[dict[str, tuple[str, ...]]] = {
    word: tuple(name for name, words in _SETS.items() if word in words)
    for word in frozenset[str]().union(*_SETS.values())
}
"""Which sets a word belongs to."""

_EFFORT: Final = {
    "characters": (7.68, 0.80),
    "words": (5.11, 0.80),
    "numbers": (1.72, 1.06),
    "comparisons": (0.27, 0.55),
    "shares": (0.30, 0.44),
}
"""Mean and spread of what makes problems hard, over six tasks of LLMRouter's set (MIT): MATH, HumanEval and others."""

NAMES: Final = (
    "characters",
    "words",
    "word_length",
    "long_words",
    "sentences",
    "lines",
    "numbers",
    "longest_number",
    "symbols",
    "latex",
    "code_signs",
    "brackets",
    "quotes",
    "capitals",
    "question_marks",
    "blank_to_fill",
    "dollars",
    "percents",
    "options",
    "option_length",
    "option_spread",
    "options_of_numbers",
    "all_of_the_above",
    "option_words",
    "options_share_words",
    "stem_length",
    "distinct_words",
    *_SETS,
    *_ONSETS,
)
"""What is measured of a text, in the order of its figures."""


def excerpt(text: str) -> str:
    """Return a text, or of a long one its start and its end."""
    if len(text) <= EXCERPT_CHARS:
        return text
    tail = EXCERPT_CHARS // 3
    return f"{text[: EXCERPT_CHARS - tail]}\n{text[-tail:]}"


class Look(msgspec.Struct, frozen=True):
    """Hold what is seen in a text: a figure a name of `NAMES`, its question, its lettered answers, and its marks."""

    figures: list[float]
    question: str
    options: list[str]
    marks: list[int]


def look(text: str) -> Look:
    """Return what a text shows."""
    read = excerpt(text)
    data = read.encode("utf-8", "surrogatepass")
    words = _words(data)
    counts = Counter(words)
    options = _lettered(read)
    question = _before_options(read) if options else read
    asked: list[str] = _MARKED.findall(question.lower())
    onset = next((word for word in asked if word in _ONSETS), "")
    kinds = dict.fromkeys(_SETS, 0)
    for word in counts.keys() & _KINDS.keys():
        for name in _KINDS[word]:
            kinds[name] += counts[word]
    figures = [
        *_lengths(text, len(text) / max(1, len(read)), words),
        sum(count for word, count in counts.items() if len(word) > _LONG_WORD) / max(1, len(words)),
        *_parting(text),
        *_signs(text, read, data),
        *_choices(options, question),
        len(counts) / max(1, len(words)),
        *map(_log, kinds.values()),
        *(float(word == onset) for word in _ONSETS),
    ]
    return Look(figures, question, options, _marks(asked))


def effort(seen: Look) -> float:
    """Return how much work a text asks for beside the usual problem: 0 is usual, 1 a spread more.

    It needs no labels: equal weights on what makes problems of several steps hard in other tasks.
    """
    figures = dict(zip(NAMES, seen.figures, strict=True))
    return sum((figures[name] - mean) / spread for name, (mean, spread) in _EFFORT.items()) / len(_EFFORT)


def named_marks(question: str) -> list[tuple[str, int]]:
    """Return a question's words and pairs of words with their marks, each once."""
    asked = _MARKED.findall(question.lower())
    return [(mark.replace("_", " "), crc32(mark.encode())) for mark in dict.fromkeys(_words_and_pairs(asked))]


def _marks(asked: list[str]) -> list[int]:
    """Return the marks of a question's words and pairs of words, each once."""
    words = " ".join(asked).encode().split()
    return list(dict.fromkeys(map(crc32, chain(words, map(b"_".join, pairwise(words))))))


def _words_and_pairs(asked: list[str]) -> list[str]:
    return [*asked, *map("_".join, pairwise(asked))]


def _words(data: bytes) -> list[str]:
    """Return the words of a text in UTF-8 in lower case, in no order: those of letters alone need no closer look."""
    parts = data.translate(_WORDS_LEFT).decode("utf-8", "surrogatepass").split()
    found = list(filter(str.isalpha, parts))
    if len(found) < len(parts):
        found += _WORD.findall(" ".join(filterfalse(str.isalpha, parts)))
    return " ".join(found).lower().split()


def _lettered(read: str) -> list[str]:
    """Return the answers of the first question with lettered ones: A, B and so on; fewer than two are none."""
    found: list[str] = []
    for letter, content in _OPTION.findall("\n" + read):
        if letter.upper() != _LETTERS[len(found)]:
            break
        found.append(content)
        if len(found) == len(_LETTERS):
            break
    return found if len(found) > 1 else []


def _log(count: float) -> float:
    return log2(1 + count)


def _before_options(read: str) -> str:
    """Return what stands before the first lettered answer, without the line ends between them."""
    found = _OPTION.search("\n" + read)
    before = read[: max(0, found.start() - 1)] if found else read
    bare = before.rstrip()
    return bare + before[len(bare) :].partition("\n")[0]


def _lengths(text: str, scale: float, words: list[str]) -> list[float]:
    """Measure lengths. Those of a long text go by the whole of it."""
    return [_log(len(text)), _log(len(words) * scale), sum(map(len, words)) / max(1, len(words))]


def _parting(text: str) -> list[float]:
    """Count what parts a text, in the whole of it: sentences and lines."""
    sentences = len(_ENDS.findall(text)) + len(_ASKS.findall(text)) + text.count("!") + text.endswith((".", "?"))
    return [_log(sentences), _log(text.count("\n"))]


def _signs(text: str, read: str, data: bytes) -> list[float]:
    """Count signs: question marks in all of a text, others in what is read of it; `data` is that in UTF-8."""
    strange = data.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    numbers = _NUMBER.findall(" ".join(data.translate(_NUMBERS_LEFT).decode("utf-8", "surrogatepass").split()))
    signs = data.translate(None, _NO_SIGNS)
    count: Callable[[bytes], int] = signs.count
    doubled = data.count(b"()") + data.count(b"==") + data.count(b"```")
    return [
        _log(len(numbers)),
        float(min(8, max(map(len, numbers), default=0))),
        _log(sum(map(signs.count, _SIGNS)) + len(_SYMBOLS.findall(strange))),
        _log(count(b"\\")),
        _log(count(b"{") + count(b"}") + count(b";") + doubled),
        _log(count(b"(")),
        _log(count(b'"') + strange.count("\u201c") + strange.count("\u2018")),
        (len(data) - len(data.translate(None, _CAPITALS))) / max(1, len(read)),
        _log(text.count("?")),
        float(b"__" in data),
        _log(count(b"$")),
        _log(count(b"%")),
    ]


def _choices(options: list[str], stem: str) -> list[float]:
    """Measure a question with lettered answers; one without has none of them."""
    if not options:
        return [0.0] * 7 + [_log(len(stem))]
    lengths = [len(option) for option in options]
    words = [set(_WORD.findall(option.lower())) for option in options]
    return [
        float(len(options)),
        _log(sum(lengths) / len(options)),
        _log(max(lengths) - min(lengths)),
        sum(bool(_NUMBER.search(option)) for option in options) / len(options),
        float(any("of the above" in option.lower() or "of these" in option.lower() for option in options)),
        _log(sum(map(len, words)) / len(words)),
        len(set[str].intersection(*words)) / max(1, len(set[str].union(*words))),
        _log(len(stem)),
    ]
