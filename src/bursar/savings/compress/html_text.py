"""Write HTML as light text: what a reader of the page sees, without what a browser alone needs."""

import re
from collections.abc import Iterator, Sequence
from html import unescape
from typing import Final

from bursar.savings.compress.html_tree import BLOCKS, Element, Node, NotHtml, names

_SKIPPED: Final = frozenset(("script", "style", "svg", "template", "rp"))
_APART: Final = names("article blockquote dl figure h1 h2 h3 h4 h5 h6 hr ol p pre section table title ul")
"""Elements with an empty line around them; others stand on lines of their own."""

_HEADING: Final = re.compile(r"h[1-6]")
_BLANKS: Final = re.compile(r"[ \t\r\n\f\u00a0]+")
_LANGUAGE: Final = re.compile(r"(?:^|\s)(?:language|lang|highlight)-(\w[\w+#-]{0,20})(?![\w+#-])")
_TICKS: Final = re.compile(r"`+")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_NO_TARGET: Final = ("#", "javascript:", "data:")
_SPAN_MAX: Final = 1_000
_CELLS_MAX: Final = 4
"""Cells of a table that are written at most for each that there is, of those that stretch over others."""


class Writer:
    """Write elements as lines; each address of a link is said once, and no more is written than `chars_max`."""

    def __init__(self, chars_max: int) -> None:
        self.room = chars_max
        self.told: set[str] = set()

    def lines(self, nodes: Sequence[Node]) -> list[str]:
        """Return the lines of what stands in a block; an empty one stands between two that are apart.

        Raises `NotHtml` where more would be written than there is room for.
        """
        found: list[str] = []
        inline: list[str] = []
        for node in _flat(nodes):
            if isinstance(node, str) or not _is_block(node):
                inline.append(self.inline(node))
                continue
            _take(found, self._ended(inline), apart=False)
            inline = []
            _take(found, self._block(node), apart=node.name in _APART)
        _take(found, self._ended(inline), apart=False)
        while found and not found[-1]:
            found.pop()
        return found

    def inline(self, node: Node) -> str:
        """Return what stands within a line; a line's end in it breaks it."""
        if isinstance(node, str):
            return _BLANKS.sub(" ", unescape(node))
        if node.name in _SKIPPED:
            return ""
        match node.name:
            case "br":
                return "\n"
            case "img":
                said = _plain(unescape(node.attributes().get("alt", "")))
                return f"[image: {said}]" if said else ""
            case "code" | "kbd" | "samp" | "tt":
                return _ticked(_exact(node))
            case "textarea":
                return " ".join(self.inline(child) for child in node.children)
            case _:
                pass
        within = "".join([self.inline(child) for child in node.children])
        match node.name:
            case "a":
                return self._link(node, within)
            case "sup" | "sub":
                return _raised("^" if node.name == "sup" else "_", within)
            case "del" | "s" | "strike":
                return f"~~{within}~~" if within.strip() else within
            case "q":
                return f'"{within}"'
            case _:
                return within

    def _ended(self, inline: Sequence[str]) -> list[str]:
        """Return the lines of what stood within one."""
        text = "".join(inline)
        found = [line for line in (_plain(each) for each in text.split("\n")) if line]
        return self._spend(found)

    def _spend(self, lines: list[str]) -> list[str]:
        self.room -= sum(len(line) + 1 for line in lines)
        if self.room < 0:
            raise NotHtml("as text it would be longer")
        return lines

    def _block(self, node: Element) -> list[str]:
        if _HEADING.fullmatch(node.name):
            text = " ".join(line for line in self.lines(node.children) if line)
            return [f"{'#' * int(node.name[1])} {text}"] if text else []
        match node.name:
            case "pre":
                return self._spend(_fenced(node))
            case "hr":
                return ["---"]
            case "ul" | "ol" | "menu" | "dir":
                return self._listed(node)
            case "blockquote":
                return self._spend([f"> {line}".rstrip() for line in self.lines(node.children)])
            case "table":
                return self._table(node)
            case _:
                return self.lines(node.children)

    def _listed(self, node: Element) -> list[str]:
        """Return a list's items, each with its sign; what is in an item stands below it, indented."""
        found: list[str] = []
        written = node.attributes().get("start", "")
        number = int(written) if _NUMBER.fullmatch(written) else 1
        for child in node.children:
            if isinstance(child, str) or child.name != "li":
                _take(found, self.lines([child]), apart=False)
                continue
            lines = self.lines(child.children)
            value = child.attributes().get("value", "")
            number = int(value) if _NUMBER.fullmatch(value) else number
            sign = f"{number}. " if node.name == "ol" else "- "
            number += 1
            if lines:
                rest = ["  " + line if line else "" for line in lines[1:]]
                found += self._spend([sign + lines[0], *rest])
        return found

    def _table(self, node: Element) -> list[str]:
        """Return a table with pipes between its cells; one that holds blocks, as pages are laid out by, as blocks."""
        rows = list(_rows(node))
        if any(_is_block(each) for row in rows for cell in row for each in _flat(cell.children)
               if isinstance(each, Element)):  # fmt: skip
            return self.lines([child for row in rows for cell in row for child in [Element("div", "", cell.children)]])
        caption = [child for child in node.children if isinstance(child, Element) and child.name == "caption"]
        found = self.lines([child for each in caption for child in each.children])
        spread = _spread([[(cell, self._cell(cell)) for cell in row] for row in rows])
        for number, row in enumerate(spread):
            found += self._spend([f"| {' | '.join(row)} |"] if any(row) else [])
            if number == 0 and any(row) and all(cell.name == "th" for cell in rows[0]):
                found += self._spend(["|" + "---|" * len(row)])
        return found

    def _cell(self, cell: Element) -> str:
        text = " ".join(line for line in self.lines(cell.children) if line)
        return text.replace("|", "\\|")

    def _link(self, node: Element, within: str) -> str:
        address = unescape(node.attributes().get("href", "")).strip()
        text = within.strip()
        if not text or not address or address.lower().startswith(_NO_TARGET) or address in self.told:
            return within
        if any(each.isspace() for each in address):
            return within
        self.told.add(address)
        if text == address:
            return within
        before, after = within[: len(within) - len(within.lstrip())], within[len(within.rstrip()) :]
        return f"{before}[{text}]({address}){after}"


def _flat(nodes: Sequence[Node]) -> Iterator[Node]:
    """Take elements of a line that hold blocks apart, so that what is in them stands in lines of its own."""
    for node in nodes:
        if isinstance(node, Element) and not _is_block(node) and node.name not in _SKIPPED and _holds_block(node):
            yield from _flat(node.children)
            if node.name == "a":  # its address stands behind what is in it
                yield Element("a", node.written, [f" {node.attributes().get('href', '')}"])
        else:
            yield node


def _is_block(node: Element) -> bool:
    return node.name in BLOCKS


def _holds_block(node: Element) -> bool:
    """Tell whether there is a block in an element of a line, at any depth of such elements."""
    return any(isinstance(each, Element) and (_is_block(each) or _holds_block(each)) for each in node.children)


def _take(found: list[str], lines: Sequence[str], *, apart: bool) -> None:
    """Put lines behind those there are, with an empty one on both sides where they stand apart."""
    if not lines:
        return
    if apart and found and found[-1]:
        found.append("")
    found += lines
    if apart:
        found.append("")


def _plain(text: str) -> str:
    return _BLANKS.sub(" ", text).strip()


def _raised(sign: str, within: str) -> str:
    """Mark what stands above or below the line: without that 10 to the 6th would be 106."""
    text = within.strip()
    if not text:
        return within
    return f"{sign}{text}" if text.isalnum() else f"{sign}({text})"


def _exact(node: Element) -> str:
    """Return all text in an element as it stands."""
    pieces = [
        unescape(each) if isinstance(each, str) else "\n" if each.name == "br" else _exact(each)
        for each in node.children
        if isinstance(each, str) or each.name not in _SKIPPED
    ]
    return "".join(pieces)


def _ticked(text: str) -> str:
    """Return code within a line, as Markdown has it."""
    if not text.strip():
        return text
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    blank = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{ticks}{blank}{text}{blank}{ticks}"


def _fenced(node: Element) -> list[str]:
    """Return code as it stands between fences; the first line's end behind the tag is none of it."""
    text = _exact(node).replace("\r\n", "\n")
    text = text.removeprefix("\n")
    if not text.strip():
        return []
    fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    inner = [each for each in node.children if isinstance(each, Element) and each.name == "code"]
    named = next((each for one in (node, *inner) for each in _LANGUAGE.findall(one.attributes().get("class", ""))), "")
    return [fence + named, *text.removesuffix("\n").split("\n"), fence]


def _rows(node: Element) -> Iterator[list[Element]]:
    """Find the rows of a table, not of those within it."""
    for child in node.children:
        if isinstance(child, str):
            continue
        if child.name in ("thead", "tbody", "tfoot"):
            yield from _rows(child)
        elif child.name == "tr":
            yield [each for each in child.children if isinstance(each, Element) and each.name in ("td", "th")]


def _spread(rows: Sequence[Sequence[tuple[Element, str]]]) -> Iterator[list[str]]:
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
    return min(max(int(written), 1), _SPAN_MAX) if _NUMBER.fullmatch(written) else 1
