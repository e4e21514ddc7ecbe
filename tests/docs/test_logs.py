"""The reference of logs names every event, its level and its fields, and what is logged is no content."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "logs.md"
LEVELS = ("debug", "info", "warning", "error", "critical")
CONTENT = {"body", "prompt", "answer", "message", "messages", "text", "secret", "headers"}


def logged() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Find what the source logs: event, level and fields."""
    for path in sorted((ROOT / "src" / "bursar").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            logger = ast.unparse(node.func.value)
            if node.func.attr in LEVELS and logger in ("log", "structlog.get_logger()"):
                (event,) = node.args
                assert isinstance(event, ast.Constant), f"{path}:{node.lineno}: an event is a constant"
                yield event.value, node.func.attr, tuple(sorted(word.arg or "**" for word in node.keywords))


def test_every_event_is_named_with_its_level_and_fields() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    named = {(event, level, tuple(sorted(re.findall(r"`(\w+)`", fields)))) for event, level, fields in rows}
    found = {(event, level, tuple(f for f in fields if f != "exc_info")) for event, level, fields in logged()}
    assert len(found) > 20
    assert named == found


def test_an_event_is_named_by_who_and_what_and_has_no_content() -> None:
    for event, _, fields in logged():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", event), event
        assert not CONTENT & set(fields), event
