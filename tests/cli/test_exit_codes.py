"""Commands end with 0 when done, 1 with one clear line when refused, 2 for wrong usage."""

import re
import subprocess
import sys

import pytest
from inline_snapshot import snapshot

from bursar import __version__
from bursar.cli.app import app
from tests.cli.outcome import Cli

HEX = "0" * 32


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "keys nonsense",
        "keys create",
        "keys create --name a --surprise",
        "keys create --name a --output-cap 0",
        "keys create --name a --output-cap many",
        "keys create --name a --output-cap 10000001",
        "keys create --name a --route /v1/mesages",
        "keys revoke",
        "budget set someone",
        "calls --limit 0",
        "calls --limit -1",
        "calls --limit 99999999999999999999",
        "calls show",
        "statement --by colour",
        "price",
        "price gpt-4o-mini --input many",
        "up --port 65536",
        "up --port -1",
        "up --port http",
        "sandbox --port 65536",
        "demo --calls many",
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_was_expected(bare_cli: Cli, line: str) -> None:
    outcome = bare_cli(*line.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert re.fullmatch(r"bursar: .+[.?] See `bursar.* --help`\.\n", outcome.err)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("calls show call_12", "expected a call id such as call_0192…, 32 hexadecimal digits; got 'call_12'"),
        (f"calls show call_{HEX}", f"no call call_{HEX} in the books"),
        ("budget show nobody", "no budget or key named 'nobody': see `bursar budget show`"),
        ("budget set nobody 5", "no budget or key named 'nobody': see `bursar budget show`"),
        (
            "budget set nobody 5/fortnight",
            "expected USD, alone or per window (minute, hour, day, week, month, total), such as 5.00/day; or a count "
            "such as 600 requests/minute, 100000 tokens/minute, 20 concurrent; got '5/fortnight'",
        ),
        ("keys revoke nobody", "no key named 'nobody': see `bursar keys list`"),
        (
            "keys create --name a --budget 5EUR",
            "--budget: expected USD, alone or per window (minute, hour, day, week, month, total), such as 5.00/day; "
            "or a count such as 600 requests/minute, 100000 tokens/minute, 20 concurrent; got '5EUR'",
        ),
        (
            "keys create --name a --tags team",
            "--tags: expected name=value pairs of up to 128 letters, digits and _.:/@+- each",
        ),
        (
            "keys create --name a --expires soon",
            "--expires: expected a date such as 2026-11-21 or 2026-11-21T16:30Z, got 'soon', "
            "or a span of time such as 30d",
        ),
        ("keys create --name a --expires 2020-02-29", "--expires: 2020-02-29 is past"),
        (
            "keys create --name a --expires 999999999d",
            "--expires: expected a date such as 2026-11-21 or 2026-11-21T16:30Z, got '999999999d', "
            "or a span of time such as 30d",
        ),
        ("keys create --name=", "a name has 1 to 128 printable characters, got ''"),
        ("keys create --name=\a", "a name has 1 to 128 printable characters, got '\\x07'"),
        ("statement --from 1960-01-01", "expected a date from 1970 to 9998, got '1960-01-01'"),
        ("statement --to 9999-12-31", "expected a date from 1970 to 9998, got '9999-12-31'"),
        (
            "statement --from 2026-02-02 --to 2026-02-01",
            "--from: expected a moment before 2026-02-02T00:00:00+00:00, where the statement ends",
        ),
        ("price gpt-4o-mini --input 1 --cached 2", "expected 0 <= cached <= input and 0 <= output, got 2, 1, 0"),
        ("price gpt-4o-mini --at noon", "--at: expected a date such as 2026-11-21 or 2026-11-21T16:30Z, got 'noon'"),
        ("prices --search nobody/nothing", "no price matches 'nobody/nothing'"),
        ("demo --calls 0", "--calls: expected 1 to 1500, the length of the slice; got 0"),
        ("demo --calls 1501", "--calls: expected 1 to 1500, the length of the slice; got 1501"),
    ],
)
def test_what_is_refused_ends_with_1_and_one_clear_line(cli: Cli, line: str, complaint: str) -> None:
    outcome = cli(*line.split(" "))
    assert outcome == (1, "", f"bursar: {complaint}\n")


def test_a_log_level_that_does_not_exist_ends_with_1(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURSAR_LOG_LEVEL", "loud")
    outcome = bare_cli("up", "--port", "0")
    assert outcome == (1, "", "bursar: BURSAR_LOG_LEVEL: expected debug, info, warning, error, critical; got 'loud'\n")


def test_books_that_cannot_be_reached_end_a_command_with_1(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURSAR_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    outcome = bare_cli("books", "check")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("bursar: cannot reach the database: ")
    assert outcome.err.count("\n") == 1


def test_a_data_folder_that_cannot_be_made_ends_a_command_with_1(bare_cli: Cli) -> None:
    outcome = bare_cli("keys", "list", "--data", "/proc/nowhere")
    assert outcome == (
        1,
        "",
        "bursar: cannot make the data folder /proc/nowhere: No such file or directory; choose another with --data\n",
    )


def test_help_and_version_end_with_0(bare_cli: Cli) -> None:
    assert bare_cli("--version") == (0, f"{__version__}\n", "")
    for line in ("", "keys", "--help", "keys create --help"):
        outcome = bare_cli(*line.split())
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith("Usage: bursar")


def test_what_one_command_needs_is_not_loaded_for_another() -> None:
    asked = "import sys; from bursar.cli.app import app; app['price']; print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert re.findall("bursar.cli.(prices|keys|up|supervisor)'", done.stdout) == ["prices"]


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",)])
def test_the_list_of_commands_says_what_each_is_for(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "bursar", *words], capture_output=True, text=True, check=True)
    said = re.findall(r"^│ (\w+) +(\w.*[.,\w]) +│$", done.stdout, re.MULTILINE)
    assert {name for name, _ in said} == {name for name in app if not name.startswith("-")}


def test_the_module_runs_as_a_program() -> None:
    def code(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-m", "bursar", *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr[:60]

    assert code("--version") == (0, f"{__version__}\n")
    assert code("price", "gpt-4o-mni") == snapshot((1, "bursar: no price for model 'gpt-4o-mni'; near: gpt-4o-mini, "))
    assert code("price")[0] == 2
