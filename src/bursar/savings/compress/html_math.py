"""Write MathML within a line, so that no number runs into another: `1/2`, `x^2`, `√(a+b)`.

After MathML Core and MathML 3 (W3C), their presentation markup; annotations, which no browser shows, are left out.
"""

from collections.abc import Sequence
from html import unescape
from typing import Final

from bursar.savings.compress.html_tree import Element, names

_HIDDEN: Final = names("annotation mphantom mprescripts none maligngroup malignmark") | {"annotation-xml"}
_LEAVES: Final = names("mn mi mo mtext ms")
_NO_SIGN: Final = dict.fromkeys(map(ord, "\u2061\u2062\u2063\u2064"))
"""Operators that are not seen: of functions, products, lists and sums."""

_PRIMES: Final = frozenset("'\u2032\u2033\u2034\u2057")
_BRACKETS: Final = {"(": ")", "[": "]", "{": "}", "|": "|"}


def formula(node: Element) -> str:
    """Return what an element of MathML shows, in one line; digits stand in the order they are written in."""
    if node.name in _HIDDEN:
        return ""
    if node.name in _LEAVES:
        return " ".join(_text(node).translate(_NO_SIGN).split())
    if node.name == "mmultiscripts":
        return _scripts(node)
    parts = [
        " ".join(unescape(child).split()) if isinstance(child, str) else formula(child)
        for child in node.children
        if (child.strip() if isinstance(child, str) else child.name not in _HIDDEN)
    ]
    match node.name, parts:
        case "mfrac", [above, below]:
            if node.attributes().get("linethickness", "").strip()[:1] == "0":
                return f"binom({above}, {below})"
            return f"{_grouped(above)}/{_grouped(below)}"
        case (("msup" | "mover"), [base, above]):
            return f"{_grouped(base)}{above}" if _PRIMES.issuperset(above) else f"{_grouped(base)}^{_grouped(above)}"
        case (("msub" | "munder"), [base, below]):
            return f"{_grouped(base)}_{_grouped(below)}"
        case (("msubsup" | "munderover"), [base, below, above]):
            return f"{_grouped(base)}_{_grouped(below)}^{_grouped(above)}"
        case "mroot", [base, index]:
            return f"root({base}, {index})"
        case "msqrt", _:
            return f"√({_row(parts)})"
        case _:
            return _several(node, parts)


def _several(node: Element, parts: Sequence[str]) -> str:
    """Write what has any number of things in it."""
    match node.name:
        case "mfenced":
            given = node.attributes()
            signs = "".join(given.get("separators", ",").split())
            between = "".join(
                part + (_sign(signs, place) if place < len(parts) - 1 else "") for place, part in enumerate(parts)
            )
            return given.get("open", "(") + between + given.get("close", ")")
        case "mtable" | "mstack" | "mlongdiv":
            return f"[{'; '.join(parts)}]"
        case "mtr" | "mlabeledtr":
            return ", ".join(parts)
        case "mspace" | "msline":
            return " "
        case "semantics" | "maction":
            return next((part for part in parts if part), "")
        case _:
            return _row(parts)


def _sign(signs: str, place: int) -> str:
    """Return what stands behind a part within fences: the last sign holds for all that follow; none at all, a blank."""
    return f"{signs[min(place, len(signs) - 1)]} " if signs else " "


def _scripts(node: Element) -> str:
    """Write what has signs at its corners: those before it, `_6^14 C`, then itself, then those behind it."""
    before: list[str] = []
    behind: list[str] = []
    children = [child for child in node.children if isinstance(child, Element)]
    into, place = behind, 0
    for child in children[1:]:
        if child.name == "mprescripts":
            into, place = before, 0
            continue
        written = formula(child)
        into.append(f"{'_^'[place % 2]}{_grouped(written)}" if written else "")
        place += 1
    return _row(["".join(before), "".join([*map(_grouped, map(formula, children[:1])), *behind])])


def _row(parts: Sequence[str]) -> str:
    """Put parts side by side, apart where they would read as one: `2x`, but `3 1/2`, `x 2` and `x^2 y`."""
    found: list[str] = []
    for part in filter(None, parts):
        if found and _glued(found[-1], part):
            found.append(" ")
        found.append(part)
    return "".join(found)


def _glued(before: str, behind: str) -> bool:
    if not before[-1].isalnum() or not (behind[0].isalnum() or behind[0] in "√_^"):
        return False
    return not (_is_number(before) and behind[0].isalpha())


def _grouped(text: str) -> str:
    """Put what is more than one number or name into brackets, unless it stands in some."""
    if text.isalpha() or len(text) == 1 or _is_number(text) or _is_bracketed(text):
        return text
    return f"({text})"


def _is_number(text: str) -> bool:
    return text.replace(".", "").replace(",", "").isdigit()


def _is_bracketed(text: str) -> bool:
    """Tell whether a text's first bracket ends with it."""
    closes = _BRACKETS.get(text[:1])
    if closes is None or not text.endswith(closes) or len(text) < 2:
        return False
    inner = text[1:-1]
    return not any(sign in inner for sign in (text[0], closes))


def _text(node: Element) -> str:
    """Return all text in a leaf, of which some hold HTML."""
    return "".join(unescape(each) if isinstance(each, str) else _text(each) for each in node.children)
