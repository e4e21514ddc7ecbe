"""Leave single words out of prose by the scores of a model that somebody brings, as LLMLingua does."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from bursar.core.errors import ConfigError
from bursar.savings.compress.context import may_lose
from bursar.savings.compress.edits import replay
from bursar.savings.compress.finding import Stuff, pieces
from bursar.savings.compress.prompt import Removal
from bursar.savings.compress.spacing import looks_like_code
from bursar.savings.compress.telling_words import TELLING, holds_neighbours
from bursar.wires.parts import Kind, Part

WHY: Final = "a word the question does not need"

_WORD: Final = re.compile(r"\S+")
_LINE: Final = re.compile(r"[^\n]+")
_BLANK: Final = re.compile(r"[ \t]*")


@runtime_checkable
class WordPruner(Protocol):
    """Score words in the place of sentences: any small model somebody brings."""

    def keep_scores(self, question: str, words: Sequence[str]) -> Sequence[float]:
        """Return for each word of a text how much the answer needs it; what has less goes first."""
        ...


class _Word(NamedTuple):
    """Hold a word that may go, with the blank behind it, and its score."""

    part: int
    start: int
    end: int
    score: float


def drop_words(
    parts: Sequence[Part],
    question: str,
    pruner: WordPruner,
    room: dict[Kind | None, int],
    count: Callable[[str], int],
) -> tuple[Removal, ...]:
    """Return which words to take out so that each kind fits into its room, as far as words that may go reach.

    Only words in small letters of retrieved prose and of turns that are not recent may go, whatever their scores:
    numbers and the words beside them, names, negations, limits, ends of sentences, code and tables stay. Raises
    `ConfigError` for scores that are none.
    """
    found: list[Removal] = []
    for kind, tokens in room.items():
        apart = [number for number, part in enumerate(parts) if (part.kind if part.kind in room else None) is kind]
        if sum(count(parts[number].text) for number in apart) <= tokens:
            continue
        words = [word for number in apart if may_lose(parts, number) for word in _open(parts, number, question, pruner)]
        words.sort(key=lambda word: (word.score, word.part, word.start))
        texts = [part.text if number in apart else "" for number, part in enumerate(parts)]
        low, high = 0, len(words)
        while low < high:
            middle = (low + high) // 2
            fits = sum(map(count, replay(texts, _removals(words[:middle])))) <= tokens
            low, high = (low, middle) if fits else (middle + 1, high)
        found += _removals(words[:low])
    return tuple(sorted(found, key=lambda each: (each.part, each.start)))


def _removals(words: Sequence[_Word]) -> list[Removal]:
    return [Removal(word.part, word.start, word.end, "", WHY) for word in words]


def _open(parts: Sequence[Part], number: int, question: str, pruner: WordPruner) -> list[_Word]:
    """Return the words of a part that may go, each scored among all words of its prose."""
    text = parts[number].text
    words = [
        match
        for piece in pieces(text)
        if piece.stuff is Stuff.prose
        for line in _LINE.finditer(text, piece.start, piece.end)
        if not looks_like_code(text, line.start(), line.end())
        for match in _WORD.finditer(text, line.start(), line.end())
    ]
    scores: list[object] = list(pruner.keep_scores(question, [match[0] for match in words])) if words else []
    if len(scores) != len(words):
        raise ConfigError(f"keep_scores gave {len(scores)} numbers for {len(words)} words; give one for each word")
    numbers = [_finite(score, place) for place, score in enumerate(scores)]
    # Also across a line's end: what a number is of may stand there.
    holding = [False, *(holds_neighbours(match[0]) for match in words), False]
    return [
        _Word(number, match.start(), _behind(text, match.end()), numbers[place])
        for place, match in enumerate(words)
        if not (holding[place] or holding[place + 2]) and _may_go(match[0])
    ]


def _finite(score: object, place: int) -> float:
    """Return a score as a number. Raises `ConfigError` for what is none; of a text only its kind is told."""
    known = isinstance(score, int | float)
    if known and math.isfinite(score):
        return float(score)
    told = f"{score}" if known else type(score).__name__
    raise ConfigError(f"keep_scores[{place}] is {told}; give a finite number for each word")


def _may_go(word: str) -> bool:
    return word.isalpha() and word.islower() and word not in TELLING


def _behind(text: str, end: int) -> int:
    blank = _BLANK.match(text, end)
    return end if blank is None else blank.end()
