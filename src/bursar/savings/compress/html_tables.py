"""Find the rows of a table of HTML, and put its cells under their columns."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bursar.savings.compress.html_tree import Element, Node, NotHtml, names

NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_CELLS: Final = names("td th")
_HELD: Final = names("thead tbody tfoot tr td th")
_GROUPS: Final = names("thead tbody tfoot colgroup")
_SPAN_MAX: Final = 1_000
_CELLS_MAX: Final = 4
"""Cells of a table that are written at most for each that there is, of those that stretch over others."""


class Row(NamedTuple):
    """Hold a row's cells, and what stands loose in it or before it: browsers show that above the table."""

    cells: list[Element]
    loose: list[Node]


class Rows(NamedTuple):
    """Hold the rows of a table, and what stands loose behind the last."""

    rows: list[Row]
    behind: list[Node]


def rows_of(table: Element) -> Rows:
    """Return the rows of a table, not of those within it; cells without a row make one."""
    rows: list[Row] = []
    loose: list[Node] = []
    bare = False  # whether the last row has begun without a tag
    for node in _content(table):
        if isinstance(node, str):
            loose.append(node)
            bare = bare and not node.strip()
        elif node.name in _CELLS:
            if not bare:
                rows.append(Row([], loose))
                loose = []
            rows[-1].cells.append(node)
            bare = True
        elif node.name == "tr":
            cells, more = _parted(node)
            rows.append(Row(cells, [*loose, " ", *more]))
            loose, bare = [], False
        else:
            loose.append(node)
            bare = False
    return Rows(rows, loose)


def _parted(row: Element) -> tuple[list[Element], list[Node]]:
    """Take a row's cells and what stands beside them apart."""
    cells: list[Element] = []
    loose: list[Node] = []
    for node in _content(row):
        if isinstance(node, str) or node.name not in _CELLS:
            loose.append(node)
        else:
            cells.append(node)
            loose.append(" ")
    return cells, loose


def _content(node: Element) -> Iterator[Node]:
    """Find what is in a table or row, through what may stand around rows and cells, such as `tbody` and `form`."""
    for child in node.children:
        if isinstance(child, str) or child.name in ("tr", "td", "th", "table"):
            yield child
        elif child.name in _GROUPS or _holds_rows(child):
            yield from _content(child)
        elif child.name != "caption":
            yield child


def _holds_rows(node: Element) -> bool:
    return any(isinstance(each, Element) and each.name in _HELD for each in node.children)


def spread(rows: Sequence[Sequence[tuple[Element, str]]]) -> Iterator[list[str]]:
    """Put cells under their columns: what stretches over rows is said in each, over columns in the first.

    Raises `NotHtml` for cells that stretch over far more than there are.
    """
    room = 1_000 + _CELLS_MAX * sum(map(len, rows))
    below: dict[int, tuple[int, str]] = {}
    for row in rows:
        found = _columns(row, below, room)
        room -= len(found)
        yield found


def _columns(row: Sequence[tuple[Element, str]], below: dict[int, tuple[int, str]], room: int) -> list[str]:
    """Return a row's texts by column; `below` holds what stretches into it from above, and then into the next.

    Raises `NotHtml` where they are more than there is `room` for.
    """
    found: list[str] = []
    waiting = list(reversed(row))
    last = max(below, default=-1)
    while waiting or len(found) <= last:
        column = len(found)
        if column > room:
            raise NotHtml("cells stretch over too many")
        left, text = below.pop(column, (0, ""))
        if left:
            found.append(text)
            _stretch(below, column, left - 1, text)
            continue
        if not waiting:
            found.append("")
            continue
        cell, text = waiting.pop()
        wide, high = _span(cell, "colspan"), _span(cell, "rowspan")
        found += [text, *[""] * (wide - 1)]
        for each in range(wide):
            _stretch(below, column + each, high - 1, "" if each else text)
    return found


def _stretch(below: dict[int, tuple[int, str]], column: int, rows: int, text: str) -> None:
    if rows > 0:
        below[column] = (rows, text)


def _span(cell: Element, name: str) -> int:
    written = cell.attributes().get(name, "1")
    return min(max(int(written), 1), _SPAN_MAX) if NUMBER.fullmatch(written) else 1
