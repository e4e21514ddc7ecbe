"""Each lesson names tests that exist, and none of the thirty-one is missing."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "internals" / "lessons.md").read_text()
ROWS = {int(number): row for number, row in re.findall(r"^\| (\d+) \| (.*)\|$", TEXT, re.MULTILINE)}
LATER = TEXT.partition("## Not yet")[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


def names_in(path: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")}


def test_every_lesson_is_there_once() -> None:
    assert sorted(ROWS) == list(range(1, 32))
    assert len(re.findall(r"^\| \d+ \|", TEXT, re.MULTILINE)) == 31


def test_each_test_that_a_lesson_names_exists() -> None:
    assert len(NAMED) > 31
    assert [f"{path}::{name}" for path, name in NAMED if name not in names_in(path)] == []


def test_every_lesson_that_is_learned_has_a_test() -> None:
    without = [number for number, row in ROWS.items() if "`tests/" not in row]
    assert without == [number for number in ROWS if f"\n| {number} | " in LATER]
