"""What the documents say is so: their code runs, their links lead somewhere, their references are complete."""

import ast
import asyncio
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.harness import LocalBursar
from bursar.api.handlers import HANDLERS
from bursar.core import errors
from bursar.core.kinds import By
from bursar.gateway.app import GEMINI_CALLS
from bursar.gateway.batches import content_files, files, gemini, messages, openai
from bursar.gateway.config import Alerts, CompressTable, Model, Otel, Settings, parse_config
from bursar.gateway.counting import MESSAGES_PATH, METHOD
from bursar.gateway.listing import PATHS as MODELS_PATHS
from bursar.gateway.metrics import METRICS, Collector
from bursar.gateway.outbox import Outbox
from bursar.gateway.provider import ByLoad, Provider
from bursar.gateway.routes import Routes
from bursar.gateway.stats import Stats
from bursar.prices import load
from bursar.prices.file import VARIANTS
from bursar.prices.units import UNIT_BY_NAME
from bursar.wires.protocols import BODY_WIRES
from tests.docs.make_reference import PAGE, reference
from tests.docs.pages import Block, Command, anchors, blocks, commands, links, matches

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "bursar"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
}
RUN = [name for name, text in PAGES.items() if any(block.info in ("python", "bash") for block in blocks(text))]
CONFIGURATIONS = [
    pytest.param(block.text, id=f"{name}:{block.line}")
    for name, text in PAGES.items()
    for block in blocks(text)
    if block.info == "toml"
]
KNOWN_INFOS = {"python", "bash", "bash no-run", "toml", "toml no-run", "text", "json", "sql"}
COMMAND_S = 60.0


def source_texts(*folders: str) -> Iterator[str]:
    for folder in folders:
        yield from (path.read_text() for path in (PACKAGE / folder).rglob("*.py"))


@pytest.fixture
def surroundings(
    shared_bursar: LocalBursar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """Be in an empty folder with a key and a running Bursar; afterwards the names of keys are free again."""
    number = RUN.index(request.node.callspec.params["page"])
    secret = shared_bursar.create_key(f"docs-{number}")
    monkeypatch.setenv("BURSAR_URL", shared_bursar.url)
    monkeypatch.setenv("BURSAR_KEY", secret)
    monkeypatch.setenv("BURSAR_DATA", str(shared_bursar.data))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    before = [row["name"] for row in shared_bursar.query("select name from keys")]
    yield tmp_path
    shared_bursar.query("update keys set name = name || ' ' || key_id where name <> all($1)", before)


@pytest.mark.parametrize("page", RUN)
def test_the_code_of_a_page_runs_and_shows_what_the_page_shows(page: str, surroundings: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(PAGES[page]):
        if block.info == "python":
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), namespace)
        elif block.info == "bash":
            for command in commands(block):
                run(command, page)


def run(command: Command, page: str) -> None:
    """Run a command; it must succeed, unless the page shows that it is refused."""
    done = subprocess.run(
        ["bash", "-c", command.text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_S,
        check=False,
        text=True,
    )
    assert (done.returncode == 0) != command.expected.startswith("bursar: "), f"{page}: {command.text}\n{done.stdout}"
    if command.expected:
        assert matches(command.expected, done.stdout), (
            f"{page}: {command.text}\nshown:\n{command.expected}\nprinted:\n{done.stdout}"
        )


@pytest.mark.parametrize("text", CONFIGURATIONS)
async def test_a_configuration_of_a_page_would_start(text: str) -> None:
    config = parse_config(tomllib.loads(text))
    Routes(config, load(), lambda _name: "http://127.0.0.1:1/v1", Outbox(asyncio.get_running_loop()))


def test_blocks_say_what_they_are() -> None:
    found = [(name, block.line, block.info) for name, text in PAGES.items() for block in blocks(text)]
    assert [each for each in found if each[2] not in KNOWN_INFOS] == []


def test_every_command_that_runs_begins_with_a_prompt() -> None:
    shown = [(name, block) for name, text in PAGES.items() for block in blocks(text) if block.info == "bash"]
    assert [(name, block.line) for name, block in shown if not block.text.startswith("$ ")] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for link in links(PAGES[page]):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_another() -> None:
    linked = {
        ((ROOT / page).parent / link.partition("#")[0]).resolve()
        for page, text in PAGES.items()
        for link in links(text)
        if not re.match(r"[a-z]+:", link)
    }
    assert [page for page in PAGES if (ROOT / page).resolve() not in linked and page != "README.md"] == []


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == reference(), "run: python -m tests.docs.make_reference"


def test_http_names_every_route() -> None:
    tree = ast.parse((PACKAGE / "gateway" / "app.py").read_text())
    found = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"/[\w/]*", node.value)
    }
    found = {path for path in found if path == "/" or not path.endswith("/")}  # the others are dispatched further
    routes = found | {"/api/openapi.json", MESSAGES_PATH, *MODELS_PATHS, *(f"{path}/{{name}}" for path in MODELS_PATHS)}
    routes |= {files.PATH, openai.PATH, messages.PATH, gemini.PATH, content_files.PATH, content_files.UPLOAD_PATH}
    routes |= BODY_WIRES.keys()
    routes |= {f"/v1beta/models/{{model}}{method}" for method in (*GEMINI_CALLS, *gemini.CALLS, METHOD)}
    routes |= {re.sub(r"\{[^}]*\}", "{id}", path) for handler in HANDLERS for path in handler.paths}
    assert len(routes) > 12
    named = set(re.findall(r"`(?:GET|POST|PATCH) (/[^`?]*)`", PAGES["docs/reference/http.md"]))
    assert named == routes


def test_http_names_every_code_of_a_refusal() -> None:
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Refusal)}
    codes -= {errors.Refusal.code}  # what a kind of refusal must replace
    for text in source_texts("gateway", "wires", "store", "prices"):
        codes |= {
            node.value.value
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant)
        } - {None}
    assert len(codes) > 15
    named = set(re.findall(r"`(\w+)`", PAGES["docs/reference/http.md"]))
    assert codes - named == set()
    rows = re.findall(r"^\| [45]\d\d \| ([^|]*)\|", PAGES["docs/reference/http.md"], re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} <= codes


def test_http_gives_each_refusal_its_status() -> None:
    rows = re.findall(r"^\| ([45]\d\d) \| ([^|]*)\|", PAGES["docs/reference/http.md"], re.MULTILINE)
    status = {code: int(number) for number, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Refusal)]
    expected = {kind.code: kind.status for kind in kinds if kind is not errors.Refusal}
    assert {code: status.get(code) for code in expected} == expected


def test_http_names_every_header_of_ours() -> None:
    headers = {name for text in source_texts("gateway") for name in re.findall(r"b?\"(x-bursar-[\w-]+)\"", text)}
    assert len(headers) > 8
    assert headers - set(re.findall(r"x-bursar-[\w-]+", PAGES["docs/reference/http.md"])) == set()


def test_the_reference_of_metrics_is_what_is_shown() -> None:
    rows = re.findall(r"^\| `(bursar_\w+)` \| (\w+) \|([^|]*)\|", PAGES["docs/reference/metrics.md"], re.MULTILINE)
    named = [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]
    shown = [(each.name + ("_total" if each.kind == "counter" else ""), each.kind, each.labels) for each in METRICS]
    assert named == shown
    families = {metric.name for metric in Collector(Stats()).collect()}
    assert families == {each.name for each in METRICS}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("gateway", Settings),
        ("providers", Provider),
        ("by_load", ByLoad),
        ("models", Model),
        ("compress", CompressTable),
        ("alerts", Alerts),
        ("otel", Otel),
    ],
)
def test_config_names_every_setting_with_its_default(heading: str, kind: Any) -> None:
    section = section_of("docs/reference/config.md", heading)
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) *\|", section, re.MULTILINE))
    assert set(rows) == set(kind.__struct_fields__)
    for field in msgspec.structs.fields(kind):
        if isinstance(field.default, int | float) or (isinstance(field.default, str) and field.default):
            default = f'"{field.default}"' if isinstance(field.default, str) else f"{field.default:g}"
            default = str(field.default).lower() if isinstance(field.default, int) else default
            assert (field.name, rows[field.name].strip("` ")) == (field.name, default)


def test_config_names_every_word_of_a_price() -> None:
    named = set(re.findall(r"`([\w.]+)`", section_of("docs/reference/config.md", "prices")))
    words = {"provider", "model", "from", "daily", "source", "checked", "above.N"}
    words |= {f"{variant}.NAME" for variant in VARIANTS} | {"volume.period", "volume.free", "volume.discounts"}
    assert words - named == set()


def test_prices_names_every_unit() -> None:
    named = set(re.findall(r"`(\w+)`", section_of("docs/reference/prices.md", "units")))
    assert set(UNIT_BY_NAME) - named == set()


def test_config_names_every_variable_of_the_environment() -> None:
    used = {name for text in source_texts("") for name in re.findall(r"[\"(\s](BURSAR_[A-Z_]+)", text)} - {
        "BURSAR_CHILD"
    }
    assert len(used) > 2
    assert used == set(re.findall(r"`(BURSAR_\w+)`", section_of("docs/reference/config.md", "environment")))


def test_the_ways_to_group_a_statement_are_named() -> None:
    for page in ("docs/how-to/statements.md", "docs/reference/http.md"):
        assert [by for by in By if not re.search(rf"\b{by}\b", PAGES[page])] == []


def section_of(page: str, heading: str) -> str:
    """Return a page's section of the second level."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGES[page], re.MULTILINE | re.DOTALL | re.IGNORECASE)
    assert found is not None, f"{page} has no section {heading}"
    return found[1]


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("books balance: ...", "books balance: 3 accounts\n", True),
        ("books balance: ...", "books are broken\n", False),
        ("a\n...\nz", "a\nb\nc\nz\n", True),
        ("a\n...\nz", "a\nz", True),
        ("a\n...", "b\na\n", False),
        ("a ... c", "a   b   c   ", True),
        ("a.c", "abc", False),
        ("a", "a\nb", False),
    ],
)
def test_dots_stand_for_anything_and_nothing_else_does(expected: str, output: str, same: bool) -> None:
    assert matches(expected, output) is same


def test_a_page_is_read_into_blocks_commands_links_and_anchors() -> None:
    page = "# The `x` of it!\n[a](b.md#c) `[no](d.md)`\n```bash\n$ one\n1\n$ two \\\n  more\n```\n## The x of it\n"
    assert blocks(page) == [Block("bash", "$ one\n1\n$ two \\\n  more\n", 4)]
    assert list(commands(blocks(page)[0])) == [Command("one", "1"), Command("two \\\n  more", "")]
    assert links(page) == ["b.md#c"]
    assert anchors(page) == {"the-x-of-it", "the-x-of-it-1"}
