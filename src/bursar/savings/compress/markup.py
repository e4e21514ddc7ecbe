"""Turn what was retrieved as HTML into light text: headings, lists, tables, links and code, without the markup.

What a reader of the page sees is kept, word by word and in order; what a browser alone needs cannot be put back, so
this is no lossless stage and is done only where somebody asks for it.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from bursar.savings.compress.html_text import Writer
from bursar.savings.compress.html_tree import NotHtml, parse
from bursar.savings.compress.prompt import Removal
from bursar.savings.compress.spacing import INVISIBLE
from bursar.wires.parts import Kind, Part

MARKUP: Final = "HTML as text"

CHARS_MAX: Final = 4_000_000
"""A longer text stays as it is."""

_WORK: Final = 8
"""Characters written at most for each that is read: what is in lists within lists is written once for each."""

_PAGE: Final = re.compile(r"^(?:<\?xml |<!doctype\s+html\b|<html\b)", re.IGNORECASE | re.MULTILINE)


def unmark(parts: Sequence[Part], count: Callable[[str], int]) -> tuple[Removal, ...]:
    """Return what to change so that documents and results of tools that are HTML become light text.

    A part whose light text takes no fewer tokens by `count` stays. What becomes of a part hangs on it alone.
    """
    found: list[Removal] = []
    for number, part in enumerate(parts):
        if part.protected or part.for_program or part.kind is not Kind.retrieved:
            continue
        start = _begins(part.text)
        light = None if start is None else light_text(part.text[start:])
        if start is not None and light is not None and count(part.text[:start] + light) < count(part.text):
            found.append(Removal(number, start, len(part.text), light, MARKUP))
    return tuple(found)


def light_text(text: str) -> str | None:
    """Return a page or fragment of HTML as light text; None for what is none, or is not surely.

    What comes out is not HTML, so that it stays the same when it is read again.
    """
    if len(text) > CHARS_MAX:
        return None
    try:
        root, rest = parse(text)
        written = "\n".join(Writer(_WORK * len(text) + 1_000).lines(root.children))
    except NotHtml:
        return None
    if rest:
        written += rest if rest[0] in "\r\n" else f"\n{rest}"
    if not written or len(written) >= len(text) or _begins(written) is not None:
        return None
    return written


def _begins(text: str) -> int | None:
    """Return where HTML may begin: with the text, or where a page does below lines such as a response's headers."""
    bare = INVISIBLE.sub("", text).strip()
    if not bare.endswith(">"):
        return None
    if bare.startswith("<"):
        return text.index("<")
    match = _PAGE.search(text)
    if match is None or "```" in text[: match.start()] or "~~~" in text[: match.start()]:
        return None
    return match.start()
