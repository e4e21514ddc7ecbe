"""Write code that stands in HTML as it stands there, with what a link within it leads to behind it."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Final

from bursar.savings.compress.html_fields import field
from bursar.savings.compress.html_math import formula
from bursar.savings.compress.html_tree import Element, names

SKIPPED: Final = names("script style svg template rp")
"""Elements of which a reader sees nothing, or nothing in words."""

_LANGUAGE: Final = re.compile(r"(?:^|\s)(?:language|lang|highlight)-(\w[\w+#-]{0,20})(?![\w+#-])")
_TICKS: Final = re.compile(r"`+")


def exact(node: Element) -> str:
    """Return all text in an element as it stands, and what form fields and images say."""
    return "".join([unescape(each) if isinstance(each, str) else _within(each) for each in node.children])


def _within(node: Element) -> str:
    match node.name:
        case "br":
            return "\n"
        case "math":
            return formula(node)
        case name if name in SKIPPED:
            return ""
        case _:
            return field(node) or exact(node)


def links(node: Element) -> Iterator[Element]:
    """Find the links in an element, in order."""
    for each in node.children:
        if isinstance(each, Element):
            yield from (each,) if each.name == "a" else links(each)


def ticked(text: str) -> str:
    """Return code within a line, as Markdown has it."""
    if not text.strip():
        return text
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    blank = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{ticks}{blank}{text}{blank}{ticks}"


def fenced(node: Element) -> list[str]:
    """Return code as it stands between fences; the first line's end behind the tag is none of it."""
    text = exact(node).replace("\r\n", "\n")
    text = text.removeprefix("\n")
    if not text.strip():
        return []
    fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    inner = [each for each in node.children if isinstance(each, Element) and each.name == "code"]
    named = next((each for one in (node, *inner) for each in _LANGUAGE.findall(one.attributes().get("class", ""))), "")
    return [fence + named, *text.removesuffix("\n").split("\n"), fence]
