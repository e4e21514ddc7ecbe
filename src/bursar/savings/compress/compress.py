"""Compress a prompt: first without loss, then by leaving out what its question does not need."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from bursar.core.errors import ConfigError
from bursar.embed.embedder import Embedder
from bursar.savings.compress.central import central
from bursar.savings.compress.context import MAY_LOSE, Count, shorten
from bursar.savings.compress.edits import compose, replay
from bursar.savings.compress.evidence import Floats, Text
from bursar.savings.compress.lossless import ALL, lossless
from bursar.savings.compress.markup import unmark
from bursar.savings.compress.prompt import Budget, Compressed, Handle, Removal
from bursar.savings.compress.ranker import likeness_of, load
from bursar.savings.compress.restoring import Means
from bursar.savings.compress.word_pruning import WordPruner, drop_words
from bursar.savings.compress.words import read_question
from bursar.tokens.estimate import tokens_from_bytes
from bursar.wires.parts import Kind, Part

HEAVY: Final = frozenset((Means.repeat, Means.table, Means.lines))
"""What is not done before words are left out: tables could not lose a row, and what a text refers to might go."""


class Pruner(Protocol):
    """Score sentences in the shipped ranker's place: any model somebody brings."""

    def log_odds(self, question: str, sentences: Sequence[str]) -> Sequence[float]:
        """Return for each sentence how likely the answer needs it, as log odds: 0 is even, more is likelier."""
        ...


class _Stage(msgspec.Struct, frozen=True):
    """Hold parts as they are after a stage, and all that was done to them since the first."""

    parts: tuple[Part, ...]
    removals: tuple[Removal, ...] = ()
    handles: tuple[Handle, ...] = ()

    def then(self, removals: Sequence[Removal], handles: Sequence[Handle] = ()) -> "_Stage":
        """Return what becomes of it by a further round."""
        texts = replay([part.text for part in self.parts], removals)
        parts = tuple(msgspec.structs.replace(part, text=text) for part, text in zip(self.parts, texts, strict=True))
        return _Stage(parts, compose(self.removals, removals), (*self.handles, *handles))

    def tokens(self, count: Count) -> int:
        """Count the tokens of all parts."""
        return sum(count(part.text) for part in self.parts)


def estimate(text: str) -> int:
    """Estimate the tokens of a text."""
    return tokens_from_bytes(len(text.encode(errors="surrogatepass")))


def compress(
    parts: Sequence[Part],
    question: str,
    budget: Budget,
    count: Callable[[str], int] = estimate,
    embedder: Embedder | None = None,
    pruner: Pruner | WordPruner | None = None,
) -> Compressed:
    """Compress a prompt to its budget: without markup if asked, without loss, then down to what the question needs.

    `question` is what the prompt is asked; empty stands for the last turn of the user, and where there is none, what is
    central stays. Protected parts, instructions, tools, the last turn, code and tables are not cut, so a budget that
    they alone exceed is not met; `tokens_after` tells. The result is never longer than the input by `count`.

    A `pruner` scores sentences, or, as a `WordPruner`, single words. Raises `ConfigError` for a budget that is none.
    """
    check(budget)
    before = sum(count(part.text) for part in parts)
    given = _Stage(tuple(parts))
    given = given.then(unmark(parts, count)) if budget.markup else given
    full = _without_loss(given, count, ALL)
    if _fits(full, budget, before, count):
        return _compressed(full, before, count)
    heavy = any(each.why in HEAVY for each in full.removals)
    light = _without_loss(given, count, ALL - HEAVY) if heavy else full
    asked = question or last_asked(parts)
    room = _room(light, budget, before, count)
    if isinstance(pruner, WordPruner):
        cut = light.then(drop_words(light.parts, asked, pruner, room, count))
    else:
        share = None if budget.ratio is None else 1 / budget.ratio
        cut = light.then(shorten(light.parts, _scorer(asked, embedder, pruner), room, count, budget.order, share))
    done = _without_loss(cut, count, ALL)
    if done.tokens(count) > before:
        return _compressed(_Stage(tuple(parts)), before, count)
    return _compressed(done, before, count)


def check(budget: Budget) -> None:
    """Check a budget. Raises `ConfigError` naming what is wrong with it."""
    if budget.ratio is not None and not budget.ratio >= 1:
        raise ConfigError(f"ratio is {budget.ratio}, and must be 1 or more: 4 keeps a quarter of the tokens")
    if budget.tokens is not None and budget.tokens < 0:
        raise ConfigError(f"tokens is {budget.tokens}, and must be 0 or more")
    if budget.ratio is not None and budget.tokens is not None:
        raise ConfigError("give ratio or tokens, not both: each says how long the whole may be")
    for kind, tokens in budget.by_kind.items():
        if tokens < 0:
            raise ConfigError(f"by_kind.{kind} is {tokens}, and must be 0 or more")
        if kind not in MAY_LOSE:
            raise ConfigError(f"by_kind.{kind}: of {kind} nothing is left out; give {' or '.join(MAY_LOSE)}")


def _without_loss(stage: _Stage, count: Count, means: frozenset[Means]) -> _Stage:
    found = lossless(stage.parts, count, means)
    return stage.then(found.removals, found.handles)


def _compressed(stage: _Stage, before: int, count: Count) -> Compressed:
    texts = tuple(part.text for part in stage.parts)
    handles = tuple(each for each in stage.handles if any(_names(text, each.name) for text in texts))
    return Compressed(texts, stage.removals, handles, before, stage.tokens(count))


def _names(text: str, name: str) -> bool:
    """Tell whether a text holds a name: base64-1 is not in base64-10."""
    return name in text and re.search(rf"(?<![\w-]){re.escape(name)}(?!\w)", text) is not None


def _fits(stage: _Stage, budget: Budget, before: int, count: Count) -> bool:
    """Tell whether a stage is within its budget: each kind that has one, and the whole."""
    room = _room(stage, budget, before, count)
    taken = dict.fromkeys(room, 0)
    for part in stage.parts:
        kind = part.kind if part.kind in room else None
        if kind in taken:
            taken[kind] += count(part.text)
    return all(taken[kind] <= tokens for kind, tokens in room.items())


def _room(stage: _Stage, budget: Budget, before: int, count: Count) -> dict[Kind | None, int]:
    """Return the tokens of each kind that has a budget of its own, and under `None` what the others have together."""
    room: dict[Kind | None, int] = {**budget.by_kind}
    whole = budget.tokens if budget.ratio is None else int(before / budget.ratio)
    if whole is not None:
        taken = dict.fromkeys(budget.by_kind, 0)
        for part in stage.parts:
            if part.kind in taken:
                taken[part.kind] += count(part.text)
        room[None] = whole - sum(min(taken[kind], tokens) for kind, tokens in budget.by_kind.items())
    return room


def last_asked(parts: Sequence[Part]) -> str:
    """Return what the user said last."""
    return next((part.text for part in reversed(parts) if part.kind is Kind.user and part.text.strip()), "")


def _scorer(asked: str, embedder: Embedder | None, pruner: Pruner | None) -> Callable[[Text], Floats]:
    def score(text: Text) -> Floats:
        if pruner is not None:
            return np.asarray(pruner.log_odds(asked, text.sentences), float)
        question = read_question(asked)
        if not question.terms:
            return central(text)
        likeness = None if embedder is None else likeness_of(text, asked, embedder)
        return load().log_odds(text, question, likeness)

    return score
