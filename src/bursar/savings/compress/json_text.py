"""Read and write JSON without loss: a number keeps its spelling, an object the order of its keys."""

import json
import re
from json.encoder import encode_basestring
from typing import Final, NamedTuple, TypeAlias

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HALVES: Final = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_DEPTH_MAX: Final = 100


class Number(NamedTuple):
    """Be a number as it was spelled: 1.0 and 1 are not the same, and no digit is lost."""

    text: str


Value: TypeAlias = "bool | str | Number | list[Value] | dict[str, Value] | None"


class NotPlain(ValueError):
    """Report JSON that cannot be written again as it was: twice the same key, half a surrogate pair, NaN, too deep."""


def read(text: str, start: int = 0) -> tuple[Value, int]:
    """Read the value that begins at `start`; return it and where it ends.

    Raises `NotPlain` for what would not come back as it was, and `json.JSONDecodeError` for what is no JSON.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise NotPlain("nested too deep") from None
    _check_depth(value, 0)
    if _HALVES.search(text, start, end):
        _check_halves(value)
    return value, end


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
    """Write a string in quotes, with no more escapes than JSON asks for."""
    return encode_basestring(text)


def is_number(text: str) -> bool:
    """Tell whether JSON would read a bare text as a number."""
    return _NUMBER.fullmatch(text) is not None


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
