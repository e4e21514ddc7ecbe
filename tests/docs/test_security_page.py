"""Each promise of the security page names tests that exist, and each limit and default is the one in force."""

import ast
import re
from pathlib import Path

import pytest

from bursar.gateway.config import Settings
from bursar.gateway.connection import BODY_BYTES_MAX
from bursar.gateway.protocol import (
    HEADER_BYTES_MAX,
    KEEP_ALIVE_S,
    PIPELINE_MAX,
    REQUEST_S,
    STRANGER_BYTES_MAX,
    UNREAD_S,
)
from bursar.wires.sse import EVENT_BYTES_MAX

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reference" / "security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
ROWS = [
    row
    for heading in ("Promises", "Limits")
    for row in re.findall(r"^\| (?!---)(.*) \|$", TEXT.split(f"## {heading}\n")[1].split("\n## ")[0], re.MULTILINE)[1:]
]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not name or name in found


def test_every_promise_and_limit_names_a_test() -> None:
    assert len(ROWS) > 30
    assert [row for row in ROWS if not re.search(r"`tests/[^`]+`$", row)] == []


def test_the_limits_are_those_in_force() -> None:
    limits = {row.split(" | ")[0]: row.split(" | ")[1] for row in ROWS}
    mib, kib = 1024 * 1024, 1024
    said = {
        "connections": f"{Settings().connections_per_address_max:,} from one address",
        "a request's headers": f"{HEADER_BYTES_MAX // kib} KiB",
        "a request's body": f"{Settings().body_bytes_max // mib} MiB",
        "a stranger's body, and that of a change": f"{STRANGER_BYTES_MAX // kib} KiB",
        "time for a request to arrive": f"{REQUEST_S:.0f} s",
        "time an answer may lie unread": f"{UNREAD_S:.0f} s",
        "time a connection may be idle": f"{KEEP_ALIVE_S:.0f} s",
        "requests pipelined": f"{PIPELINE_MAX}",
        "a provider's answer": f"{BODY_BYTES_MAX // mib} MiB",
        "an event of a stream": f"{EVENT_BYTES_MAX // mib} MiB",
    }
    assert {name: text for name, text in said.items() if text not in limits[name]} == {}
