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
