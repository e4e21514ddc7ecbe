"""Write HTML as light text: what a reader of the page sees, without what a browser alone needs."""

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape, unescape
from itertools import groupby
from typing import Final

from bursar.savings.compress.html_code import SKIPPED, exact, fenced, links, ticked
from bursar.savings.compress.html_fields import field, typed
from bursar.savings.compress.html_math import formula
from bursar.savings.compress.html_tables import NUMBER, rows_of, spread
from bursar.savings.compress.html_tree import Element, Node, NotHtml, names

_APART: Final = names("article blockquote dl figure h1 h2 h3 h4 h5 h6 hr ol p pre section table title ul")
"""Elements with an empty line around them; others stand on lines of their own."""

_HEADING: Final = re.compile(r"h[1-6]")
_BLANKS: Final = re.compile(r"[ \t\r\n\f\u00a0]+")
_NO_TARGET: Final = ("#", "javascript:", "data:")
_WHOLE: Final = SKIPPED | {"math"}
_BOXES: Final = names("a button input label math meter object output progress select textarea")
"""Elements that are seen apart from one another though no blank is between them."""


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
        for is_block, several in groupby(self._flat(nodes), _is_block):
            if not is_block:
                _take(found, self._ended(self._within(several)), apart=False)
                continue
            for node in several:
                assert isinstance(node, Element)
                _take(found, self._block(node), apart=node.name in _APART)
        while found and not found[-1]:
            found.pop()
        return found

    def inline(self, node: Node) -> str:
        """Return what stands within a line; a line's end in it breaks it."""
        if isinstance(node, str):
            return _BLANKS.sub(" ", unescape(node))
        if node.name in SKIPPED:
            return ""
        match node.name:
            case "br":
                return "\n"
            case "img" | "input" | "meter" | "progress" if said := field(node):
                return said
            case "code" | "kbd" | "samp" | "tt":
                return self._code(node)
            case "math":
                return formula(node)
            case "textarea":
                return typed(node, exact(node).replace("\r\n", "\n"))
            case _:
                return self._said(node, self._within(node.children))

    def _said(self, node: Element, within: str) -> str:
        """Return what is in an element, with the signs that say what it is."""
        match node.name:
            case "a":
                return self._link(node, within)
            case "sup" | "sub":
                return _raised("^" if node.name == "sup" else "_", within)
            case "del" | "s" | "strike":
                return f"~~{within}~~" if within.strip() else within
            case "q":
                return f'"{within}"'
            case "rt":
                return f"({within.strip()})" if within.strip() else within
            case _:
                return within

    def _within(self, nodes: Iterable[Node]) -> str:
        """Return what stands side by side within a line, parted where it is seen apart or would be another number."""
        found: list[str] = []
        before: Node = ""
        for node in nodes:
            said = self.inline(node)
            if not said:
                continue
            if found and _touches(found[-1][-1], said[0], before, node):
                found.append(" ")
            found.append(said)
            before = node
        return "".join(found)

    def _flat(self, nodes: Iterable[Node]) -> Iterator[Node]:
        """Take elements of a line that hold blocks apart, so that what is in them stands in lines of its own."""
        around: list[tuple[Iterator[Node], Node]] = [(iter(nodes), "")]
        while around:
            inner, outer = around[-1]
            for node in inner:
                if isinstance(node, Element) and _parts(node):
                    around.append((iter(node.children), node))
                    break
                yield node
            else:
                around.pop()
                if isinstance(outer, Element) and outer.name == "a" and (address := self._address(outer)):
                    yield f" {escape(address)}"  # it stands behind what is in it

    def _ended(self, text: str) -> list[str]:
        """Return the lines of what stood within one."""
        return self._spend([line for line in (_plain(each) for each in text.split("\n")) if line])

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
                return self._fenced(node)
            case "hr":
                return ["---"]
            case "ul" | "ol" | "menu" | "dir":
                return self._listed(node)
            case "blockquote":
                return self._spend([f"> {line}".rstrip() for line in self.lines(node.children)])
            case "table":
                return self._table(node)
            case "option" | "optgroup":
                return self._option(node)
            case _:
                return self.lines(node.children)

    def _listed(self, node: Element) -> list[str]:
        """Return a list's items, each with its sign; what is in an item stands below it, indented."""
        found: list[str] = []
        written = node.attributes().get("start", "")
        number = int(written) if NUMBER.fullmatch(written) else 1
        for child in node.children:
            if isinstance(child, str) or child.name != "li":
                _take(found, self.lines([child]), apart=False)
                continue
            lines = self.lines(child.children)
            value = child.attributes().get("value", "")
            number = int(value) if NUMBER.fullmatch(value) else number
            sign = f"{number}. " if node.name == "ol" else "- "
            number += 1
            if lines:
                rest = ["  " + line if line else "" for line in lines[1:]]
                found += self._spend([sign + lines[0], *rest])
        return found

    def _option(self, node: Element) -> list[str]:
        """Return what a list of a form offers; what is chosen beforehand is marked."""
        given = node.attributes()
        label = [_plain(given["label"])] if "label" in given else []
        if node.name == "optgroup":
            return [*self._spend(label), *self.lines(node.children)]
        text = " ".join(label or self.lines(node.children))
        return self._spend([f"[x] {text}" if "selected" in given else text]) if text else []

    def _fenced(self, node: Element) -> list[str]:
        """Return code between fences, and below it what its links lead to."""
        found = self._spend(fenced(node))
        told = [f"[{said}]({address})" for said, address in self._links(node)]
        return [*found, *self._spend([" ".join(told)])] if told else found

    def _code(self, node: Element) -> str:
        """Return code within a line, and what its links lead to: around it where all of it is one, else behind it."""
        text, told = exact(node), list(self._links(node))
        code = ticked(text)
        if len(told) == 1 and told[0][0] == _plain(text):
            return f"[{code}]({told[0][1]})"
        return " ".join([code, *(f"[{said}]({address})" for said, address in told)])

    def _links(self, node: Element) -> Iterator[tuple[str, str]]:
        """Find what is said of links in code and their addresses, each address once."""
        for link in links(node):
            said = _plain(exact(link))
            if said and (address := self._address(link)) and said != address:
                yield said, address

    def _table(self, node: Element) -> list[str]:
        """Return a table with pipes between its cells; one that holds blocks, as pages are laid out by, as blocks."""
        rows, behind = rows_of(node)
        caption = [child for child in node.children if isinstance(child, Element) and child.name == "caption"]
        found = self.lines([child for each in caption for child in each.children])
        if any(_is_block(each) or _parts(each) for row in rows for cell in row.cells for each in cell.children):
            cells = [each for row in rows for each in (*row.loose, *(_as_block(cell) for cell in row.cells))]
            return found + self.lines([*cells, *behind])
        spreading = spread([[(cell, self._cell(cell)) for cell in row.cells] for row in rows])
        for number, (row, columns) in enumerate(zip(rows, spreading, strict=True)):
            found += self.lines(row.loose)
            found += self._spend([f"| {' | '.join(columns)} |"] if any(columns) else [])
            if number == 0 and any(columns) and all(cell.name == "th" for cell in row.cells):
                found += self._spend(["|" + "---|" * len(columns)])
        return found + self.lines(behind)

    def _cell(self, cell: Element) -> str:
        text = " ".join(line for line in self.lines(cell.children) if line)
        return text.replace("|", "\\|")

    def _link(self, node: Element, within: str) -> str:
        text = within.strip()
        address = self._address(node) if text else ""
        if not address or text == address:
            return within
        before, after = within[: len(within) - len(within.lstrip())], within[len(within.rstrip()) :]
        return f"{before}[{text}]({address}){after}"

    def _address(self, node: Element) -> str:
        """Return where a link leads to, which is told from now on; empty where it was, or leads nowhere."""
        address = node.attributes().get("href", "").strip()
        nowhere = address.lower().startswith(_NO_TARGET) or any(each.isspace() for each in address)
        if not address or nowhere or address in self.told:
            return ""
        self.told.add(address)
        return address


def _is_block(node: Node) -> bool:
    return isinstance(node, Element) and node.is_block


def _parts(node: Node) -> bool:
    """Tell whether an element of a line holds blocks, which part it."""
    return isinstance(node, Element) and node.holds_block and not node.is_block and node.name not in _WHOLE


def _touches(last: str, first: str, before: Node, node: Node) -> bool:
    """Tell whether two signs would read as of one word, though a reader sees them apart: 1 and 2 of two links."""
    if not isinstance(before, Element) or not last.isalnum() or not first.isalnum():
        return False
    if before.name in ("sup", "sub"):
        return first.isdigit()
    return before.name in _BOXES and isinstance(node, Element) and node.name in _BOXES


def _as_block(cell: Element) -> Element:
    return Element("div", "", cell.children)


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
