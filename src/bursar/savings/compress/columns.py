"""Find the columns of rows: what is the same in all, what begins alike, what lies within another.

Every function here looks at values alone; `table` writes what is found, and `table_text` reads it again.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum, StrEnum
from itertools import pairwise
from typing import Final, TypeAlias, cast

import msgspec

from bursar.savings.compress.json_text import Number, Value, is_number

_RUN_ROWS_MIN: Final = 5  # a column is said when it changes if each value holds for so many rows on average
_AFFIX_MIN: Final = 4  # characters
_SPARSE_MAX: Final = 4  # cells for each that is filled
DEPTH_MAX: Final = 6
"""How many levels of objects and arrays within rows have columns."""

_HEAD: Final = re.compile(r".*[^A-Za-z0-9]", re.DOTALL)
_TAIL: Final = re.compile(r"[^A-Za-z0-9].*", re.DOTALL)

Row: TypeAlias = "dict[str, Value]"


class Missing(Enum):
    """Stand where an object has no such key: neither null nor an empty text."""

    missing = "missing"


MISSING: Final = Missing.missing
Cell: TypeAlias = "Value | Missing"


class Form(StrEnum):
    """Say how a column's values are written."""

    plain = "plain"  # one cell a row
    constant = "constant"  # once, in the header
    run = "run"  # before the row where it changes
    group = "group"  # objects, whose columns stand among the row's own
    optional = "optional"  # objects or null, in one cell
    items = "items"  # arrays, in one cell


class Column(msgspec.Struct, frozen=True):
    """Hold what is said of a column once.

    `is_text`: bare digits in it are text, not numbers. `prefix` and `suffix` belong to every text of it. `columns` are
    those of the objects within.
    """

    name: str
    form: Form = Form.plain
    value: Value = None
    is_text: bool = False
    prefix: str = ""
    suffix: str = ""
    columns: tuple["Column", ...] = ()


def plan(rows: Sequence[Row], depth: int = 0) -> tuple[Column, ...] | None:
    """Find the columns of rows, in an order that every row's keys keep; None where there is none or it does not pay."""
    found = _columns(rows, depth)
    return found if found and any(spread(found)) else None


def spread(columns: Sequence[Column]) -> Iterator[Column]:
    """Go through the columns that have a cell in each row, those of groups in place of the group."""
    for column in columns:
        if column.form is Form.group:
            yield from spread(column.columns)
        elif column.form not in (Form.constant, Form.run):
            yield column


def _columns(rows: Sequence[Row], depth: int) -> tuple[Column, ...] | None:
    order = _order(rows)
    if order is None or not order or depth > DEPTH_MAX:
        return None
    if len(rows) * len(order) > _SPARSE_MAX * sum(map(len, rows)):
        return None
    return tuple(_column(name, [row.get(name, MISSING) for row in rows], depth) for name in order)


def _order(rows: Sequence[Row]) -> list[str] | None:
    """Merge the rows' keys so that each row's are in order; None where two rows disagree."""
    kinds = dict.fromkeys(tuple(row) for row in rows)
    behind: dict[str | None, str | None] = {None: None}  # of each name the next; None is before the first
    for names in sorted(kinds, key=len, reverse=True):
        last: str | None = None
        for name in names:
            if name not in behind:
                behind[name] = behind[last]
                behind[last] = name
            last = name
    order: list[str] = []
    at = behind[None]
    while at is not None:
        order.append(at)
        at = behind[at]
    place = {name: number for number, name in enumerate(order)}
    for names in kinds:
        if any(place[one] > place[other] for one, other in pairwise(names)):
            return None
    return order


def _column(name: str, cells: Sequence[Cell], depth: int) -> Column:
    values = [cell for cell in cells if not isinstance(cell, Missing)]
    whole = len(values) == len(cells)
    first = values[0]
    if whole and len(values) > 1 and _same(values):
        return Column(name, Form.constant, first)
    if isinstance(first, dict) or any(isinstance(each, dict) for each in values):
        return _objects(name, cells, values, depth)
    if any(isinstance(each, list) for each in values):
        return _arrays(name, values, depth)
    if whole and depth == 0 and _changes(values) * _RUN_ROWS_MIN <= len(values):
        return Column(name, Form.run)
    return _scalars(name, values)


def _same(values: Sequence[Value]) -> bool:
    first = values[0]
    if isinstance(first, (dict, list)):
        spelled = repr(first)  # equal objects may differ in the order of their keys
        return all(each == first and repr(each) == spelled for each in values)
    return all(each == first for each in values)


def _changes(values: Sequence[Value]) -> int:
    return 1 + sum(one != other for one, other in pairwise(values))


def _objects(name: str, cells: Sequence[Cell], values: Sequence[Value], depth: int) -> Column:
    rows = [each for each in values if isinstance(each, dict)]
    if not all(each for each in rows):
        return Column(name)
    if len(rows) == len(values):
        inner = plan([cast("Row", cell) if isinstance(cell, dict) else {} for cell in cells], depth + 1)
        return Column(name, Form.group, columns=inner) if inner else Column(name)
    if all(each is None for each in values if not isinstance(each, dict)) and len(rows) > 1:
        inner = _columns(rows, depth + 1)
        return Column(name, Form.optional, columns=inner) if inner else Column(name)
    return Column(name)


def _arrays(name: str, values: Sequence[Value], depth: int) -> Column:
    """Find how arrays are written: of objects by their columns, of single values bare, of anything else as JSON."""
    if not all(each is None or isinstance(each, list) for each in values):
        return Column(name)
    items = [item for each in values if isinstance(each, list) for item in each]
    if not any(isinstance(item, (dict, list)) for item in items):
        return Column(name, Form.items)
    rows = [item for item in items if isinstance(item, dict) and item]
    if len(rows) < len(items):
        return Column(name)
    inner = plan(rows, depth + 1)
    if inner is None:
        return Column(name)
    alone = list(spread(inner))
    if len(alone) == 1 and not all(alone[0].name in row for row in rows):
        return Column(name)  # an array of one item that is empty would read as an empty array
    return Column(name, Form.items, columns=inner)


def _scalars(name: str, values: Sequence[Value]) -> Column:
    texts = [each for each in values if isinstance(each, str)]
    if len(texts) == len(values) and len(texts) > 2:
        prefix, suffix = _affixes(texts)
        if prefix or suffix:
            return Column(name, is_text=True, prefix=prefix, suffix=suffix)
    digits = any(map(is_number, texts))
    return Column(name, is_text=digits and not any(isinstance(each, Number) for each in values))


def _affixes(texts: Sequence[str]) -> tuple[str, str]:
    """Find how all texts begin and end, cut where a word ends so that what is left is whole."""
    head = _HEAD.match(_common(texts))
    prefix = head[0] if head and len(head[0]) >= _AFFIX_MIN else ""
    rests = [text[len(prefix) :] for text in texts]
    tail = _TAIL.search(_common([rest[::-1] for rest in rests])[::-1])
    suffix = tail[0] if tail and len(tail[0]) >= _AFFIX_MIN else ""
    return prefix, suffix


def _common(texts: Sequence[str]) -> str:
    """Return how all texts begin: as the first and the last in order do."""
    low, high = min(texts), max(texts)
    same = next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    return low[:same]
