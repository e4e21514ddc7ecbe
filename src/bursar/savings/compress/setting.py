"""Read how far calls are to be compressed: off, lossless, by a ratio, or segment by segment."""

import re
from enum import IntEnum
from typing import Annotated, Any, Final, Literal, cast

import msgspec

from bursar.wires.parts import Kind

RATIO_MAX: Final = 100.0
HISTORY_TOKENS: Final = 16_000
"""How much is said before it is condensed, where a setting does not say: seldom, as a cache is missed for it."""

EXPECTED: Final = f'"off", "lossless", or a ratio from 1 to {RATIO_MAX:g} such as 4'


class Mode(IntEnum):
    """Say what may be taken out of a prompt."""

    off = 0
    lossless = 1  # only what says nothing
    contextual = 2  # of what was retrieved or said long ago, also what the question does not need


class Setting(msgspec.Struct, frozen=True):
    """Say how far to compress. With `read_more` the model may ask for what was left out of a tool's result.

    `ratio` and `retrieved_tokens` are of what was retrieved in one turn. `history` is the ratio of what was said long
    ago, each time it has come to `history_tokens`. Segments that are `kept` lose nothing at all. With `markup`, what
    was retrieved as HTML is sent as light text.
    """

    mode: Mode = Mode.off
    ratio: float = 1.0
    read_more: bool = False
    retrieved_tokens: int | None = None
    history: float = 1.0
    history_tokens: int = HISTORY_TOKENS
    kept: tuple[Kind, ...] = ()
    markup: bool = False

    @property
    def shortens(self) -> bool:
        """Tell whether what was retrieved may lose something."""
        return self.mode is Mode.contextual and (self.ratio > 1.0 or self.retrieved_tokens is not None)

    @property
    def condenses(self) -> bool:
        """Tell whether what was said long ago may lose something."""
        return self.mode is Mode.contextual and self.history > 1.0


OFF: Final = Setting()

_DECIMAL: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_SHAPE: Final = "expected { ratio = 4, read_more = true }"
_LOSSLESS_ONLY: Final = (Kind.system, Kind.tools)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a setting that is written as a table."""

    ratio: float = 1.0
    read_more: bool = False
    retrieved_tokens: Annotated[int, msgspec.Meta(ge=100)] | None = None
    history: float = 1.0
    history_tokens: Annotated[int, msgspec.Meta(ge=1_000)] = HISTORY_TOKENS
    system: Literal["off", "lossless"] = "lossless"
    tools: Literal["off", "lossless"] = "lossless"
    markup: Literal["off", "light"] = "off"


def read_setting(value: Any) -> Setting:
    """Read a setting of a configuration file. Raises `ValueError` saying what was expected."""
    if isinstance(value, str):
        return read_word(value)
    if isinstance(value, dict):
        return _by_table(cast("dict[str, Any]", value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {EXPECTED}")
    return _by_table({"ratio": value})


def read_word(text: str) -> Setting:
    """Read a setting of one line, as in a header: `4`, or `4, history=2`. Raises `ValueError`."""
    if text in ("off", "lossless"):
        return Setting(Mode[text])
    first, *others = (piece.strip() for piece in text.split(","))
    table: dict[str, Any] = {}
    if "=" not in first:
        if not _DECIMAL.fullmatch(first):  # `float` would also read 4_0 as 40
            raise ValueError(f"expected {EXPECTED}, got {text!r}")
        table["ratio"] = float(first)
    else:
        others.insert(0, first)
    for other in others:
        name, equals, value = (piece.strip() for piece in other.partition("="))
        if not equals or name in table or name == "read_more":
            raise ValueError(f"expected {EXPECTED}, and segments such as history=4 behind it, got {text!r}")
        table[name] = _value(value)
    return _by_table(table)


def _value(text: str) -> int | float | str:
    if not _DECIMAL.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def _by_table(value: dict[str, Any]) -> Setting:
    for segment in _LOSSLESS_ONLY:
        if segment in value and value[segment] not in ("off", "lossless"):
            raise ValueError(f'{segment}: expected "lossless" or "off": its words are instructions, and none is cut')
    try:
        table = msgspec.convert(value, _Table)
    except msgspec.ValidationError as error:
        raise ValueError(f"{_SHAPE}: {error}") from None
    if not value:
        raise ValueError(f"{_SHAPE}: it says nothing")
    for name in ("ratio", "history"):
        if not 1.0 <= (ratio := getattr(table, name)) <= RATIO_MAX:
            expected = EXPECTED if name == "ratio" else f"{name} to be a ratio from 1 to {RATIO_MAX:g} such as 4"
            raise ValueError(f"expected {expected}, got {ratio:g}")
    if "history_tokens" in value and table.history == 1.0:
        raise ValueError("history_tokens: nothing is condensed at ratio 1; leave it out, or give a larger history")
    kept = tuple([segment for segment in _LOSSLESS_ONLY if getattr(table, segment) == "off"])
    light = table.markup == "light"
    plain = (table.ratio, table.read_more, table.retrieved_tokens, table.history, table.history_tokens, kept)
    setting = Setting(Mode.contextual, *plain, light)
    if table.read_more and not setting.shortens:
        raise ValueError("read_more: nothing is left out at ratio 1; leave it out, or give a larger ratio")
    return setting if setting.shortens or setting.condenses else Setting(Mode.lossless, kept=kept, markup=light)
