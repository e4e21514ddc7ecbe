"""The style sheet holds for every file of the package, and what no file may hold is in none."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.style.sheet import EXEMPT, RULES, File, unfinished

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "bursar"
FILES = [File(path.relative_to(PACKAGE).as_posix(), path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]
TEXTS = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in (".py", ".sql", ".html", ".css", ".js", ".svg")]

# Spelled in pieces, so that this file holds none of them.
HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "crates" + ".io",
    "yarn" + "pkg.com",
]
PLACES = re.compile(r"(?<![\w.~$}/-])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me")) + r")(?![\w-])")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("rule", RULES)
def test_every_module_keeps_the_sheet(rule: str) -> None:
    files = [file for file in FILES if (rule, file.path) not in EXEMPT]
    assert [f"{file.path}:{found}" for file in files for found in RULES[rule](file)] == []


def test_nothing_is_left_unfinished() -> None:
    found = [f"{path.relative_to(ROOT)}:{each}" for path in TEXTS for each in unfinished(path.read_text())]
    assert found == []


def test_no_file_names_a_registry_or_a_place_of_one_machine() -> None:
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if any(host in line for host in HOSTS) or PLACES.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_no_file_holds_the_two_sides_of_a_merge() -> None:
    marks = (b"<" * 7 + b" ", b">" * 7 + b" ")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if line.startswith(marks)
    ]
    assert found == []


@pytest.mark.parametrize("name", ["base", "all", "dev"])
def test_every_locked_package_has_its_hash_and_the_lock_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.findall(r"^(\S.*?)(?: \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)|\n|$)", text, re.MULTILINE)
    packages = [(line, hashes) for line, hashes in entries if not line.startswith("#")]
    assert len(packages) > 10
    assert [line for line, hashes in packages if "==" not in line or not hashes] == []
    assert re.findall(r"--(?:index-url|extra-index-url|find-links)|https?://", text) == []


def test_each_lock_holds_the_packages_of_the_one_before() -> None:
    names = [
        set(re.findall(r"^([\w.-]+)(?:\[.*\])?==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))
        for name in ("base", "all", "dev")
    ]
    assert names[0] < names[1] < names[2]


def test_the_tests_mirror_the_rooms() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    tests = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert rooms - tests == set(), "rooms without tests"
    assert tests - rooms <= {"style", "docs", "bench", "clients"}, "tests of no room"


def test_the_median_module_is_short() -> None:
    sizes = sorted(len(file.text.splitlines()) for file in FILES if not file.path.endswith("__init__.py"))
    assert sizes[len(sizes) // 2] <= 200


MONEY = "def share(cost_usd: float) -> str:\n    '''Write it.'''\n"
DEEP = "{}: 4 blocks within each other"
BROAD = "3: a broad except without a reason beside it"
BROKEN = [
    ("module_size", "x = 1\n" * 501, "1: module of 501 lines"),
    ("function_size", "def f():\n" + "    pass\n" * 70, "1: f has 71 lines"),
    ("parameters", "def f(a, b, c, *, d, e, g, h): ...", "1: f has 7 parameters"),
    ("parameters", "class A:\n    def f(self, a, b, c, d, e, g, *h): ...", "2: f has 7 parameters"),
    ("nesting", "def f():\n if a:\n  for b in c:\n   with d:\n    while e:\n     pass", DEEP.format(5)),
    ("nesting", "if a:\n if b:\n  if c:\n   pass\n  else:\n   if d:\n    pass\n   f()", DEEP.format(6)),
    ("docstrings", "'''Hold it.'''\ndef f(): ...", "2: f has no docstring"),
    ("docstrings", "'''Hold it.'''\nclass A:\n    '''Hold it'''", "2: A: 'Hold it' does not end as a sentence does"),
    ("docstrings", "'''Returns it.'''", "1: the module: 'Returns it.' is not imperative"),
    ("docstrings", "'''The thing.'''", "1: the module: 'The thing.' is not imperative"),
    ("constants", "seen = set()", "1: seen is mutable and no constant"),
    ("constants", "seen: dict[str, int] = {}", "1: seen is mutable and not Final"),
    ("constants", "LIMIT = 5", "1: LIMIT is not Final"),
    ("state", "x = 0\ndef f():\n    global x\n    x = 1", "3: global x"),
    ("state", "SEEN: Final = {}\ndef f(a):\n    SEEN[a] = 1", "3: SEEN is changed"),
    ("state", "SEEN: Final = []\ndef f(a):\n    SEEN.append(a)", "3: SEEN is changed"),
    ("floats_near_money", MONEY, "1: a float near money: cost_usd: float"),
    ("floats_near_money", "balance: float | None = None", "1: a float near money: balance: float | None = None"),
    ("floats_near_money", "def price_of(x) -> float: ...", "1: a float near money: def price_of(x) -> float:"),
    ("floats_near_money", "x = float(line.cost_nano)", "1: a float near money: float(line.cost_nano)"),
    ("floats_near_money", "x = total_nano / 1e9", "1: a float near money: total_nano / 1000000000.0"),
    ("comments", "# ------- money", "1: a banner"),
    ("comments", "# x = charge(usage)", "1: commented-out code: x = charge(usage)"),
    ("comments", "# return later(x)", "1: commented-out code: return later(x)"),
    ("comments", "# if late:", "1: commented-out code: if late:"),
    ("broad_excepts", "try:\n    f()\nexcept Exception:\n    g()", BROAD),
    ("broad_excepts", "try:\n    f()\nexcept (A, BaseException):  # noqa: BLE001\n    g()", BROAD),
    ("broad_excepts", "try:\n    f()\nexcept:\n    g()", BROAD),
    ("statements", "run('select 1 from calls')", "1: SQL outside the store: select 1 from calls"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text", "complaint"), BROKEN)
def test_each_rule_finds_what_breaks_it(rule: str, text: str, complaint: str) -> None:
    assert list(RULES[rule](File("core/made_up.py", text))) == [complaint]


KEPT = [
    ("parameters", "def up(*, a: Annotated[int, Parameter()], b=1, c=1, d=1, e=1, g=1, h=1): ..."),
    ("nesting", "def f():\n if a:\n  pass\n elif b:\n  pass\n elif c:\n  pass\n elif d:\n  pass"),
    ("docstrings", "'''`bursar up`: run it.'''\ndef _f(): ..."),
    ("constants", "SEEN: Final = {}\nlog = get_logger()\n"),
    ("state", "rows = []\ndef f():\n    rows = []\n    rows.append(1)"),
    ("floats_near_money", "def f(duration_s: float, cost_nano: int) -> str:\n    return cost_nano // 2"),
    ("floats_near_money", "x = cost_nano / 7  # the library takes floats only"),
    ("comments", "x = 1  # USD per million\n# A call of no tokens: it costs nothing\n"),
    ("broad_excepts", "try:\n    f()\nexcept Exception:  # a plugin may raise anything\n    g()"),
    ("statements", "'''select what from where'''\nprint('Select a key from the list')"),
]


@pytest.mark.parametrize(("rule", "text"), KEPT)
def test_no_rule_finds_what_keeps_it(rule: str, text: str) -> None:
    assert list(RULES[rule](File("cli/made_up.py", text))) == []


@pytest.mark.parametrize("word", ["TO" + "DO", "fix" + "me", "Not" + "ImplementedError"])
def test_unfinished_work_is_found(word: str) -> None:
    assert list(unfinished(f"fine\nx {word}: later")) == [f"2: {word}"]


@pytest.mark.parametrize("text", ["see /" + "work/x", "`/" + "root`", "(/" + "home/me/x)"])
def test_a_machines_places_are_found(text: str) -> None:
    assert PLACES.search(text)


@pytest.mark.parametrize(
    "text", ["frame" + "work/x", "https://a.example/" + "work/", "~/" + "home/x", "the /" + "homepage"]
)
def test_other_paths_are_no_machines_places(text: str) -> None:
    assert not PLACES.search(text)
