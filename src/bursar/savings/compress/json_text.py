"""Read and write JSON without loss: a number keeps its spelling, an object the order of its keys."""

import json
import re
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple, TypeAlias

from bursar.savings.compress.spacing import INVISIBLE

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HALVES: Final = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_DEPTH_MAX: Final = 100
_WINDOW: Final = 512  # characters that are looked at first
_MARGIN: Final = 32  # what is cut off may show as an error so near the cut


class Number(NamedTuple):
    """Be a number as it was spelled: 1.0 and 1 are not the same, and no digit is lost."""

    text: str


Value: TypeAlias = "bool | str | Number | list[Value] | dict[str, Value] | None"


class NotPlain(ValueError):
    """Report JSON that cannot be written again as it was: twice the same key, half a surrogate pair, NaN, too deep."""


class NoJson(ValueError):
    """Report a text that is no JSON from `at` on."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(f"no JSON: {why} at character {at}")
        self.at = at


def read(text: str, start: int = 0) -> tuple[Value, int]:
    """Read the value that begins at `start`; return it and where it ends.

    Raises `NotPlain` for what would not come back as it was, and `NoJson` for what is no JSON.
    """
    value, end = _decoded(_DECODER, text, start)
    _check_depth(value, 0)
    if _HALVES.search(text, start, end):
        _check_halves(value)
    return value, end


def extent(text: str, start: int) -> int:
    """Return where the JSON that begins at `start` ends, plain or not, or where it turns out to be none."""
    try:
        return _decoded(_LENIENT, text, start)[1]
    except NoJson as error:
        return error.at
    except NotPlain:
        return len(text)


def read_whole(text: str) -> Value:
    """Read a text that is one value and white space around it; raises `ValueError` for any other."""
    begin = _SPACE.match(text)
    value, end = read(text, begin.end() if begin else 0)
    rest = _SPACE.match(text, end)
    if rest is None or rest.end() != len(text):
        raise NotPlain(f"more than one value: the first ends at character {end}")
    return value


def write(value: Value) -> str:
    """Write a value without white space."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join([f"{quote(key)}:{write(each)}" for key, each in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([write(each) for each in value]) + "]"
    return "null" if value is None else "true" if value else "false"


def quote(text: str) -> str:
    """Write a string in quotes; besides what JSON asks for, characters nobody sees are escaped: they may get lost."""
    quoted = encode_basestring(text)
    return quoted if text.isascii() else INVISIBLE.sub(_escaped, quoted)


def is_number(text: str) -> bool:
    """Tell whether JSON would read a bare text as a number."""
    return _NUMBER.fullmatch(text) is not None


def _decoded(decoder: json.JSONDecoder, text: str, start: int) -> tuple[Any, int]:
    """Read a value in ever longer windows: what is no JSON then costs what was read, not what is before and behind."""
    width = _WINDOW
    while True:
        window = text[start : start + width]
        cut = start + width < len(text)
        try:
            value, end = decoder.raw_decode(window)
        except json.JSONDecodeError as error:
            if not cut or (len(window[error.pos :].strip()) > _MARGIN and "nterminated" not in error.msg):
                raise NoJson(error.msg, start + error.pos) from None
        except RecursionError:
            raise NotPlain("nested too deep") from None
        else:
            if not cut or end + _MARGIN < width:
                return value, start + end
        width *= 8


def _escaped(match: re.Match[str]) -> str:
    return "".join([f"\\u{ord(each):04x}" for each in match[0]])


def _pairs(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotPlain("an object has a key twice")
    return found


def _constant(name: str) -> Value:
    raise NotPlain(f"{name} is no JSON")


def _check_depth(value: Value, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise NotPlain("nested too deep")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            if isinstance(each, (dict, list)):
                _check_depth(each, depth + 1)


def _check_halves(value: Value) -> None:
    if _SURROGATE.search(write(value)):
        raise NotPlain("half a surrogate pair")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=Number, parse_float=Number, parse_constant=_constant
)
_LENIENT: Final = json.JSONDecoder(parse_int=str, parse_float=str)
