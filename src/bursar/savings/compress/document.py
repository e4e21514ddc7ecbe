"""Write a JSON document with fewer tokens: without white space, and what is a table in it as one."""

import re
from collections.abc import Callable
from typing import Final, cast

from bursar.savings.compress.columns import Row
from bursar.savings.compress.json_text import Value, read_whole, write
from bursar.savings.compress.table import members, table
from bursar.savings.compress.table_text import NoTable, read_table

_ROWS_MIN: Final = 2
_MARK_TOKENS: Final = 8  # what a mark in the document and a table's number in its header take
FIRST_BELOW: Final = "\n[table 1: "
_MARK: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|\[table ([0-9]{1,9})\]')


def shortest(value: Value, count: Callable[[str], int]) -> str:
    """Write a value as compact JSON whose tables stand below it, or as one table, where that takes fewer tokens."""
    compact = write(value)
    whole = tabled(value, count)
    found = [compact] if whole is None else [compact, whole]
    if whole is None or count(whole) >= count(compact):
        writer = _Writer(count)
        skeleton = writer.write(value)
        if writer.tables:
            found.append("\n".join([skeleton, *writer.tables]))
    return min(found, key=count)


def tabled(value: Value, count: Callable[[str], int]) -> str | None:
    """Write a value as one table; None where it is no array or object of objects."""
    if isinstance(value, list):
        if len(value) < _ROWS_MIN or not all(isinstance(each, dict) for each in value):
            return None
        return table(cast("list[Row]", value), count)
    rows = members(value)
    return table(rows, count, "keys") if rows and len(rows) >= _ROWS_MIN else None


def below(text: str, start: int) -> int:
    """Return where the last of the tables ends that stand below the JSON that begins at `start`.

    Raises `NoTable` where `start` does not begin what `shortest` writes so.
    """
    line_end = text.find(FIRST_BELOW, start)
    if line_end < 0:
        raise NoTable(FIRST_BELOW.strip(), len(text))
    skeleton = text[start:line_end]
    try:
        marks = [match[1] for match in _MARK.finditer(skeleton) if match[1] is not None]
        read_whole(_MARK.sub(lambda match: match[0] if match[1] is None else "0", skeleton))
    except ValueError as error:
        raise NoTable("JSON", line_end) from error
    at = line_end
    for number, mark in enumerate(marks, 1):
        if int(mark) != number or not text.startswith(f"\n[table {number}: ", at):
            raise NoTable(f"[table {number}]", at)
        at = read_table(text, at + 1).end
    return at


def unfold(text: str) -> str:
    """Return the compact JSON that `shortest` was given the value of. Raises `ValueError` for anything else."""
    try:
        found = read_table(text)
    except NoTable:
        return _unfold_below(text)
    if found.end != len(text):
        raise NoTable("the end", found.end)
    return write(found.value())


class _Writer:
    """Write compact JSON and keep its tables aside."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self.count = count
        self.tables: list[str] = []

    def write(self, value: Value) -> str:
        if not isinstance(value, (dict, list)):
            return write(value)
        found = tabled(value, self.count)
        if found is not None and self.count(found) + _MARK_TOKENS < self.count(write(value)):
            number = len(self.tables) + 1
            self.tables.append(f"[table {number}: {found[1:]}")
            return f"[table {number}]"
        if isinstance(value, list):
            return f"[{','.join([self.write(each) for each in value])}]"
        return f"{{{','.join([f'{write(key)}:{self.write(each)}' for key, each in value.items()])}}}"


def _unfold_below(text: str) -> str:
    skeleton, _, below = text.partition("\n")
    tables: list[str] = []
    at = 0
    while at < len(below):
        found = read_table(below, at)
        tables.append(write(found.value()))
        at = found.end + 1

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        if not 0 < int(match[1]) <= len(tables):
            raise NoTable(f"{match[0]} below", match.start())
        return tables[int(match[1]) - 1]

    return write(read_whole(_MARK.sub(put, skeleton)))
