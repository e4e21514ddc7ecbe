"""Alerts through a real Bursar: calls beyond a threshold make one webhook call, shown by command and API."""

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from bench.harness import LocalBursar, bursar
from tests.asking import ask, fetch
from tests.cli.outcome import Cli
from tests.cli.receiver import Receiver
from tests.cli.test_up_command import bursar_program

SECRET = "whsec-canary-77e0"
CONFIG = """
[providers.sandbox]
kind = "sandbox"

[models."gpt-4o-mini"]
targets = ["sandbox/gpt-4o-mini"]

[alerts]
webhook = "{url}"
secret_env = "HOOK_SECRET"
every_s = 0.2
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def config(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    file = tmp_path / "hooks.toml"
    file.write_text(CONFIG.format(url=receiver.url))
    return file


def wait_until(condition: Callable[[], bool], local: LocalBursar, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, local.last_words()
        time.sleep(0.05)


def test_spending_beyond_a_threshold_is_told_once(
    config: Path, receiver: Receiver, bare_cli: Cli, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with bursar(config.read_text(), data=data) as local:
        made = bare_cli("budget", "create", "tiny", "0.01", "--alerts", "50", "--data", str(data))
        assert made.code == 0
        secret = local.create_key("app", parent="tiny")
        spent = Decimal(0)
        while spent < Decimal("0.006"):
            answer = ask(local, secret, "[[output=1000]] hi", max_tokens=1000)
            assert answer.status == 200
            spent += Decimal(answer.headers["x-bursar-cost-usd"])
        wait_until(lambda: len(receiver.requests) == 1, local)
        local.kill("keeper")  # another takes its place, and tells nothing twice
        wait_until(lambda: bool(local.child_pids("keeper")), local)
        time.sleep(1.0)
        assert len(receiver.requests) == 1
        event = json.loads(receiver.requests[0][2])
        assert (event["budget"], event["limit"], event["percent"], event["type"]) == (
            *("tiny", "0.01", 50),
            "budget.threshold",
        )
        assert event["text"].startswith("team tiny: 50 % of 0.01 used (0.0")
        listed = bare_cli("alerts", "list", "--data", str(data), "--json").json()
        assert [each["alert"] for each in listed] == [event]
        assert [each["delivery"]["status"] for each in listed] == ["delivered"]
        assert fetch(local, "GET", "/api/alerts").json() == listed
        table = bare_cli("alerts", "list", "--data", str(data))
        assert event["text"] in table.out
        assert "delivered" in table.out
        log = local.log.read_text()
    assert "alert.made" in log
    assert SECRET not in log
    assert receiver.url not in log


def test_without_a_webhook_alerts_are_listed(cli: Cli) -> None:
    outcome = cli("alerts", "list")
    assert outcome.code == 0
    assert outcome.out.split()[:3] == ["UTC", "alert", "told"]


def test_a_webhook_is_tried(bare_cli: Cli, config: Path, receiver: Receiver) -> None:
    outcome = bare_cli("alerts", "test", "--config", str(config))
    assert outcome == (0, "the webhook took the event: status 204\n", "")
    receiver.answers = [(201, {})]
    assert bare_cli("alerts", "test", "--config", str(config), "--json").json() == {"status": 201}
    events = [json.loads(body) for _, _, body in receiver.requests]
    assert [event["type"] for event in events] == ["test", "test"]
    assert len({event["id"] for event in events}) == 2


def test_a_webhook_that_fails_is_said_in_one_line(bare_cli: Cli, config: Path, receiver: Receiver) -> None:
    receiver.answers = [(500, {}), (302, {"location": receiver.url})]
    for word in ("status_500", "status_302"):
        outcome = bare_cli("alerts", "test", "--config", str(config))
        assert outcome == (1, "", f"bursar: the webhook did not take the event: {word}\n")
    receiver.close()
    outcome = bare_cli("alerts", "test", "--config", str(config))
    assert outcome == (1, "", "bursar: the webhook did not take the event: refused\n")


def test_a_webhook_that_is_not_set_is_said(bare_cli: Cli) -> None:
    outcome = bare_cli("alerts", "test")
    assert outcome == (1, "", "bursar: no webhook is set: see [alerts] in bursar.toml\n")


def test_a_secret_that_is_not_there_keeps_bursar_from_starting(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    outcome = bursar_program("up", "--port", "0", "--config", str(config), "--data", str(tmp_path / "data"))
    assert outcome == (1, "", "bursar: alerts.secret_env: the environment has no HOOK_SECRET\n")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("webhok = 'x'", "unknown setting alerts.webhok; near: webhook"),
        ("webhook = 'example.com'\nsecret_env = 'A'", "alerts.webhook: expected an address such as "),
        ("webhook = 'ftp://example.com'\nsecret_env = 'A'", "alerts.webhook: expected an address such as "),
        ("webhook = 'https://a b/'\nsecret_env = 'A'", "alerts.webhook: expected an address such as "),
        ("webhook = 'https://example.com:x/'\nsecret_env = 'A'", "alerts.webhook: expected an address such as "),
        ("webhook = 'https://example.com/\\n'\nsecret_env = 'A'", "alerts.webhook: expected an address such as "),
        ("webhook = 'https://example.com/'", "alerts.secret_env: expected the variable with the secret webhooks are "),
        ("secret_env = 'A'", "alerts.webhook: expected an address such as "),
        ("every_s = 0", "alerts.every_s: Expected `float` > 0.0"),
    ],
)
def test_settings_that_cannot_be_are_named(bare_cli: Cli, tmp_path: Path, lines: str, complaint: str) -> None:
    file = tmp_path / "bad.toml"
    lines = lines.replace("'", '"')
    file.write_text(f'[providers.sandbox]\nkind = "sandbox"\n[alerts]\n{lines}\n')
    outcome = bare_cli("alerts", "test", "--config", str(file))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"bursar: {file}: {complaint}")
    assert outcome.err.count("\n") == 1


def test_a_secret_comes_from_a_file(bare_cli: Cli, config: Path, receiver: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    config.write_text(config.read_text().replace('secret_env = "HOOK_SECRET"', f'secret_file = "{secret}"'))
    missing = bare_cli("alerts", "test", "--config", str(config))
    assert missing.err == f"bursar: alerts.secret_file: {secret}: No such file or directory\n"
    secret.write_text(f"{SECRET}\n")
    assert bare_cli("alerts", "test", "--config", str(config)).code == 0
    assert receiver.requests[0][1]["content-type"] == snapshot("application/json")
