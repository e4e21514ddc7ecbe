"""Read labels: prompts with how good each model's answer was, one JSON object a line."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.core.errors import ConfigError

Floats: TypeAlias = npt.NDArray[np.float64]
Score: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=10**9)]

ROWS_MIN: Final = 50
"""Fewer labels than this tell nothing of a router."""
PROMPT_CHARS_PER_TOKEN: Final = 4
"""How a prompt's tokens are estimated where a label does not give them."""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold a prompt, the score of each model's answer from 0 to 1, and how many tokens each answered with."""

    prompt: str
    scores: dict[str, Score]
    tokens: dict[str, Tokens] = {}
    prompt_tokens: Tokens | None = None
    tags: dict[str, str] = {}


class Labels(msgspec.Struct, frozen=True):
    """Hold labels as columns: `scores` and `tokens` have a row a prompt and a column a model.

    Answers whose tokens no line gives are taken as long as the model's others, or as long as all.
    """

    prompts: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats
    tokens: Floats
    prompt_tokens: Floats
    tags: tuple[dict[str, str], ...]
    counted: bool  # at least one answer's tokens were given

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, places: npt.NDArray[np.int64]) -> "Labels":
        """Return the labels at these places."""
        held: list[int] = places.tolist()
        return Labels(
            tuple(self.prompts[place] for place in held),
            self.models,
            self.scores[places],
            self.tokens[places],
            self.prompt_tokens[places],
            tuple(self.tags[place] for place in held),
            self.counted,
        )


def read_labels(text: str, where: str) -> Labels:
    """Read labels, strictly. Raises `ConfigError` naming the line and the field.

    Lines end at a line feed and at nothing else: prompts hold other separators.
    """
    rows: list[Label] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.strip():
            rows.append(_read_line(line, f"{where} line {number}", rows[0] if rows else None))
    if len(rows) < ROWS_MIN:
        raise ConfigError(f"{where}: {len(rows)} labels; a router takes at least {ROWS_MIN}")
    return labels_of(rows)


def labels_of(rows: Sequence[Label]) -> Labels:
    """Put labels in columns; all must have the same models."""
    models = tuple(rows[0].scores)
    scores = np.array([[row.scores[model] for model in models] for row in rows], np.float64)
    given = np.array([[row.tokens.get(model, np.nan) for model in models] for row in rows], np.float64)
    sizes = [
        len(row.prompt) / PROMPT_CHARS_PER_TOKEN if row.prompt_tokens is None else row.prompt_tokens for row in rows
    ]
    return Labels(
        tuple(row.prompt for row in rows),
        models,
        scores,
        _filled(given),
        np.array(sizes, np.float64),
        tuple(row.tags for row in rows),
        bool(np.isfinite(given).any()),
    )


def _filled(given: Floats) -> Floats:
    """Fill what is missing with the model's mean, or with that of all, or with 1 for each."""
    whole = np.isfinite(given)
    if not whole.any():
        return np.ones_like(given)
    everywhere = given[whole].mean()
    means = [
        given[whole[:, each], each].mean() if whole[:, each].any() else everywhere for each in range(given.shape[1])
    ]
    return np.where(whole, given, np.array(means))


def _read_line(line: str, where: str, first: Label | None) -> Label:
    try:
        row = msgspec.json.decode(line, type=Label)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".").replace("[...]", " of a model")
        raise ConfigError(f"{where}{': ' + field if field else ''}: {message}") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConfigError(f'{where}: not JSON ({error}); expected {{"prompt": ..., "scores": {{...}}}}') from None
    twice = _given_twice(line)
    if twice:
        raise ConfigError(f"{where}: {twice!r} is given twice; expected each name once")
    if not row.prompt.strip():
        raise ConfigError(f"{where}: prompt: expected a text, got an empty one")
    if len(row.scores) < 2:
        raise ConfigError(f"{where}: scores: expected those of at least two models, got {len(row.scores)}")
    if first is not None and row.scores.keys() != first.scores.keys():
        odd = sorted(row.scores.keys() ^ first.scores.keys())
        raise ConfigError(f"{where}: scores: expected the models of the first line; other: {', '.join(odd)}")
    strange = sorted(row.tokens.keys() - row.scores.keys())
    if strange:
        raise ConfigError(f"{where}: tokens: no score of {', '.join(strange)}")
    return row


def _given_twice(line: str) -> str:
    """Return the first name that an object of a line has twice; of two values a decoder keeps one and says nothing."""
    found: list[str] = []

    def names(pairs: list[tuple[str, object]]) -> None:
        counts = Counter(name for name, _ in pairs)
        found.extend(name for name, count in counts.items() if count > 1)

    json.loads(line, object_pairs_hook=names)
    return found[0] if found else ""
