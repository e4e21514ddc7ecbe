"""`bursar up`, `demo` and `sandbox`: what keeps them from starting is said in one line; what they start works."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from bench.harness import LocalBursar, bursar, free_port
from tests.asking import ask
from tests.cli.outcome import Outcome

WAIT_S = 60.0


def bursar_program(*arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None) -> Outcome:
    """Run a command as a program of its own and wait until it has ended."""
    done = subprocess.run(
        [sys.executable, "-m", "bursar", *arguments],
        env=os.environ | (environment or {}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gateway\n", "Expected ']' at the end of a table declaration (at line 1, column 9)"),
        ("[gatway]\n", "unknown setting gatway; near: gateway"),
        ("[gateway]\ndurabilty = 'fast'\n", "unknown setting gateway.durabilty; near: durability"),
        ("[gateway]\ndurability = 'slow'\n", "gateway.durability: expected fast or strict, got 'slow'"),
        (
            "[providers.a]\nkind = 'openai'\n",
            'providers.a.base_url: expected an address such as "https://api.openai.com/v1"',
        ),
        ("", "providers: expected at least one [providers.NAME] table"),
    ],
)
def test_a_bad_configuration_is_named_with_its_setting(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "bursar.toml").write_text(text)
    outcome = bursar_program("up", "--data", str(tmp_path / "data"), "--port", "0", folder=tmp_path)
    assert outcome == (1, "", f"bursar: bursar.toml: {complaint}\n")
    assert not (tmp_path / "data").exists()


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    outcome = bursar_program("up", "--config", "nowhere.toml", folder=tmp_path)
    assert outcome == (1, "", "bursar: cannot read nowhere.toml: No such file or directory\n")


@pytest.mark.parametrize("command", ["up", "sandbox"])
def test_a_port_in_use_is_said_and_nothing_is_started(tmp_path: Path, command: str) -> None:
    data = ["--data", str(tmp_path / "data")] if command == "up" else []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        outcome = bursar_program(command, "--port", port, *data)
    complaint = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port"
    assert outcome == (1, "", f"bursar: {complaint}\n")
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_second_bursar_in_one_folder_is_refused(shared_bursar: LocalBursar) -> None:
    started = "import bursar.cli.supervisor as s; s._LOCK_WAIT_S = 0.2; from bursar.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", started, "up", "--port", "0", "--data", str(shared_bursar.data)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"bursar: another Bursar runs in {shared_bursar.data}: stop it, or choose another folder with --data\n"
    )
    assert shared_bursar.ready()


def test_a_database_of_the_operators_own_serves_several_gateways(database_url: str, tmp_path: Path) -> None:
    local, other = (LocalBursar(data=tmp_path / name) for name in ("one", "other"))
    try:
        for each in (local, other):
            each.data.mkdir()
            each.environment = {"BURSAR_DATABASE_URL": database_url}
            each.start()
        made = bursar_program("keys", "create", "--name", "me", environment=local.environment)
        assert [ask(each, made.out.strip()).status for each in (local, other)] == [200, 200]
        local.wait_journaled(2)
        assert not (local.data / "postgres").exists()
        listed = bursar_program("gateways", "list", "--json", environment=local.environment)
        assert [each["state"] for each in json.loads(listed.out)] == ["serving", "serving"]
    finally:
        assert [each.stop() for each in (local, other)] == [0, 0], local.last_words() + other.last_words()
    checked = bursar_program("books", "check", environment=local.environment)
    assert (checked.code, checked.out.endswith(" 2 calls\n")) == (0, True)


def test_it_greets_and_a_key_made_before_the_first_start_works(tmp_path: Path) -> None:
    early = bursar_program("keys", "create", "--name", "early", "--data", str(tmp_path)).out.strip()
    with bursar(data=tmp_path) as local:
        assert ask(local, early).status == 200
    log = local.log.read_text()
    assert f"Bursar serves on {local.url} " in log
    assert "the sandbox answers, nothing is sent to a provider" in log
    assert early not in log


def test_the_demo_replays_and_its_books_balance(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    outcome = bursar_program("demo", "--calls", "60", "--data", str(folder))
    assert (outcome.code, outcome.err) == (0, "")
    assert "Replayed 60 requests of Azure's conversation trace" in outcome.out
    assert "The books balance to the nano-dollar: " in outcome.out
    checked = json.loads(bursar_program("books", "check", "--data", str(folder), "--json").out)
    assert (checked["ok"], checked["findings"]) == (True, [])
    assert 0 < checked["calls"] <= 60


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    outcome = bursar_program("demo", "--calls", "1", "--data", str(tmp_path))
    assert outcome == (1, "", f"bursar: {tmp_path} is not empty and not of a demo: choose another with --data\n")
    assert (tmp_path / "precious").read_text() == "kept"


def test_the_sandbox_runs_alone_until_interrupted() -> None:
    port = free_port()
    running = subprocess.Popen(
        [sys.executable, "-m", "bursar", "sandbox", "--port", str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == f"the sandbox serves on http://127.0.0.1:{port}/v1\n"
        models = json.loads(fetch_until_there(f"http://127.0.0.1:{port}/v1/models"))
        assert "gpt-4o-mini" in [model["id"] for model in models["data"]]
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=WAIT_S)
    assert running.returncode in (0, 130)


def fetch_until_there(url: str) -> bytes:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    pipe = f"set -o pipefail; {sys.executable} -m bursar prices | head -1"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (141, "")
    assert done.stdout.split()[:2] == ["model", "input"]


def test_a_child_whose_supervisor_died_before_it_had_begun_ends_at_once() -> None:
    options = json.dumps({"parent": 2**22 + 1})  # no process has such a number
    command, environment = [sys.executable, "-m", "bursar.cli.child", "keeper"], os.environ | {"BURSAR_CHILD": options}
    ended = subprocess.run(command, env=environment, timeout=60, check=False)
    assert ended.returncode == 1
