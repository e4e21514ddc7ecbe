"""Read what a key is limited to, as people write it on a command line or in a request."""

from collections.abc import Sequence
from typing import Final

from bursar.core.addresses import read_network
from bursar.core.errors import OperatorError
from bursar.core.times import DAY_US, moment_from_text, span_from_text

_MODEL_CHARS_MAX: Final = 256
_NAMES_MAX: Final = 100
_OVERLAP_MAX_US: Final = 90 * DAY_US


def read_models(models: Sequence[str], where: str) -> tuple[str, ...]:
    """Read the models of a scope: names, or beginnings that end in `*`. Raises `OperatorError`."""
    for model in models:
        fine = model.isprintable() and 0 < len(model) <= _MODEL_CHARS_MAX and "*" not in model[:-1]
        if not fine:
            raise OperatorError(f"{where}: expected a model's name, or its beginning and a *, got {model[:80]!r}")
    return _bounded(models, where)


def read_addresses(texts: Sequence[str], where: str) -> tuple[str, ...]:
    """Read the networks of a scope, one or more to a text. Raises `OperatorError`."""
    try:
        return _bounded([read_network(part) for text in texts for part in text.split(",")], where)
    except ValueError as error:
        raise OperatorError(f"{where}: {error}") from None


def read_expiry(text: str | None, now_us: int, where: str) -> int | None:
    """Read when a key expires: a date, or a span of time from now. Raises `OperatorError`."""
    if text is None:
        return None
    try:
        expires_us = now_us + span_from_text(text)
    except ValueError:  # then it is a date
        try:
            expires_us = moment_from_text(text)
        except ValueError as error:
            raise OperatorError(f"{where}: {error}, or a span of time such as 30d") from None
    if expires_us <= now_us:
        raise OperatorError(f"{where}: {text} is past")
    return expires_us


def read_overlap(text: str, where: str) -> int:
    """Read how long a replaced secret stays good, in microseconds. Raises `OperatorError`."""
    try:
        overlap_us = span_from_text(text)
    except ValueError as error:
        raise OperatorError(f"{where}: {error}") from None
    if overlap_us > _OVERLAP_MAX_US:
        raise OperatorError(f"{where}: expected at most 90d, got {text}")
    return overlap_us


def _bounded(names: Sequence[str], where: str) -> tuple[str, ...]:
    if len(names) > _NAMES_MAX:
        raise OperatorError(f"{where}: expected at most {_NAMES_MAX}, got {len(names)}")
    return tuple(dict.fromkeys(names))
