"""Read how far calls are to be compressed: off, lossless, or by a ratio."""

import re
from enum import IntEnum
from typing import Any, Final

import msgspec

RATIO_MAX: Final = 100.0
EXPECTED: Final = f'"off", "lossless", or a ratio from 1 to {RATIO_MAX:g} such as 4'


class Mode(IntEnum):
    """Say what may be taken out of a prompt."""

    off = 0
    lossless = 1  # only what says nothing
    contextual = 2  # of what was retrieved, also what the question does not need


class Setting(msgspec.Struct, frozen=True):
    """Say how far to compress. With `read_more` the model may ask for what was left out of a tool's result."""

    mode: Mode = Mode.off
    ratio: float = 1.0
    read_more: bool = False


OFF: Final = Setting()

_DECIMAL: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a setting that is written as a table."""

    ratio: float
    read_more: bool = False


def read_setting(value: Any) -> Setting:
    """Read a setting of a configuration file. Raises `ValueError` saying what was expected."""
    if isinstance(value, str):
        return read_word(value)
    if isinstance(value, dict):
        try:
            table = msgspec.convert(value, _Table)
        except msgspec.ValidationError as error:
            raise ValueError(f"expected {{ ratio = 4, read_more = true }}: {error}") from None
        if table.read_more and table.ratio == 1.0:
            raise ValueError("read_more: nothing is left out at ratio 1; leave it out, or give a larger ratio")
        return _by_ratio(table.ratio, read_more=table.read_more)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {EXPECTED}")
    return _by_ratio(float(value))


def read_word(text: str) -> Setting:
    """Read a setting that is one word or number, as in a header. Raises `ValueError` saying what was expected."""
    if text in ("off", "lossless"):
        return Setting(Mode[text])
    if not _DECIMAL.fullmatch(text):  # `float` would also read 4_0 as 40
        raise ValueError(f"expected {EXPECTED}, got {text!r}")
    return _by_ratio(float(text))


def _by_ratio(ratio: float, *, read_more: bool = False) -> Setting:
    if not 1.0 <= ratio <= RATIO_MAX:
        raise ValueError(f"expected {EXPECTED}, got {ratio:g}")
    return Setting(Mode.contextual, ratio, read_more) if ratio > 1.0 else Setting(Mode.lossless)
