"""Whatever a scorer of words says, what a sentence hangs on stays."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.savings.compress.compress import compress
from bursar.savings.compress.edits import replay
from bursar.savings.compress.prompt import Budget
from bursar.wires.parts import Kind, Part

TEXT = """The toll was not 12 pence in York, unless somebody had paid it before; it never rose again.

```python
def toll(rate): return rate if rate else 0
```

| year | toll |
|---|---|
| 1894 | none |
"""
STAYS = (
    "not 12",
    "York,",
    "unless",
    "before;",
    "never",
    "again.",
    "def toll(rate): return rate if rate else 0",
    "| year | toll |",
)


class Says:
    """Say the same scores of any words, for as many as are wanted."""

    def __init__(self, scores: Sequence[Any]) -> None:
        self.scores = scores

    def keep_scores(self, question: str, words: Sequence[str]) -> Sequence[float]:
        """Return the scores in turn."""
        del question
        return [self.scores[place % len(self.scores)] for place in range(len(words))]


def pruned(parts: Sequence[Part], scores: Sequence[Any], ratio: float = 100) -> tuple[str, ...]:
    found = compress(parts, "what was the toll", Budget(ratio=ratio), len, pruner=Says(scores))
    assert replay([part.text for part in parts], found.removals) == found.texts
    assert found.tokens_after <= found.tokens_before
    return found.texts


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_what_a_sentence_hangs_on_stays_whatever_the_scores(scores: list[float]) -> None:
    (text,) = pruned([Part(TEXT, Kind.retrieved)], scores)
    assert all(each in text for each in STAYS)
    assert "somebody" not in text
    assert pruned([Part(text, Kind.retrieved)], scores) == (text,)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "all seven of them had come over two dozen times and half went",
            "all seven of over two dozen times and half went",
        ),
        ("it was the third of those and the twenty-first day of it", "the third of the twenty-first day"),
        ("they paid more than they had and at most that or less", "more than they at most that or less"),
        ("he was taller than any and at least that old except here", "taller than any at least that except"),
        ("go there only before noon unless told until after dark", "only before unless until after"),
        ("it rose by 12 metres a year and then fell", "by 12 metres"),
    ],
)
def test_numbers_limits_and_what_they_are_of_stay(text: str, kept: str) -> None:
    (left,) = pruned([Part(text, Kind.retrieved)], [0.0])
    assert left.split() == kept.split()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("das ist nicht wahr und kein Wort davon", "nicht kein Wort"),
        ("ce n'est pas vrai et jamais il ne dort", "n'est pas et jamais ne"),
        ("eso no fue nunca cierto", "no nunca"),
        ("isto não foi nunca verdade", "não nunca"),
        ("questo non fu mai vero", "non mai"),
        ("это не так и нет ничего", "не нет ничего"),
        ("dat is niet waar en geen woord", "niet en geen"),
        ("detta är inte sant", "inte"),
        ("dette er ikke sandt", "ikke"),
        ("to nie jest prawda", "nie"),
        ("bu doğru değil", "değil"),
        ("这 不 是 真的 没 有", "这 不 是 真的 没 有"),
        ("これは 本当 では ない です", "これは 本当 では ない です"),
        ("هذا ليس صحيحا", "هذا ليس صحيحا"),
    ],
)
def test_negations_stay_in_other_languages(text: str, kept: str) -> None:
    (left,) = pruned([Part(text, Kind.retrieved)], [0.0])
    assert left.split() == kept.split()


@pytest.mark.parametrize("kind", [Kind.system, Kind.tools, Kind.user])
def test_instructions_and_the_last_turn_lose_no_word(kind: Kind) -> None:
    said = Part("please keep all of these words as they are", kind)
    assert pruned([said, Part(TEXT, Kind.retrieved, protected=True)], [0.0]) == (said.text, TEXT)


def test_what_scores_least_goes_first_and_no_more_than_must() -> None:
    (text,) = pruned([Part("alpha beta gamma delta", Kind.retrieved)], [3, 1, 2, 4], ratio=22 / 17)
    assert text == "alpha gamma delta"


@pytest.mark.parametrize(
    ("score", "told"), [(float("nan"), "nan"), (float("inf"), "inf"), ("secret", "str"), (None, "NoneType")]
)
def test_a_score_that_is_none_is_refused(score: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"keep_scores\[1\] is {told}; give a finite number for each word") as caught:
        pruned([Part(TEXT, Kind.retrieved)], [1.0, score])
    assert "secret" not in str(caught.value)


def test_too_few_scores_are_refused() -> None:
    class Short:
        def keep_scores(self, question: str, words: Sequence[str]) -> Sequence[float]:
            """Return one score, whatever is asked."""
            del question, words
            return [1.0]

    with pytest.raises(ConfigError, match="keep_scores gave 1 numbers for 4 words; give one for each word"):
        compress([Part("alpha beta gamma delta", Kind.retrieved)], "", Budget(ratio=4), len, pruner=Short())
