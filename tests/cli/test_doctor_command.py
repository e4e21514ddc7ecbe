"""The doctor finds what is wrong with a real Bursar, says what to do, changes nothing, and shows no secret."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.harness import LocalBursar, free_port
from bursar.api.doctor import examine as doctor_module
from bursar.api.doctor.probe import probe
from bursar.cli.common import now_us
from tests.cli.outcome import Cli, Outcome
from tests.cli.receiver import Receiver

KEY = "sk-doctor-canary-99"

CONFIG = """
[providers.openai]
kind = "{kind}"
base_url = "{url}"
api_key_env = "DOCTOR_KEY"

[models."gpt-4o-mini"]
targets = ["openai/gpt-4o-mini"]
price = {{ input = "0.15", output = "0.60" }}
"""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("DOCTOR_KEY", KEY)
    receiver = Receiver()
    yield receiver
    receiver.close()


def examine(cli: Cli, text: str = "") -> tuple[Outcome, dict[str, list[dict[str, Any]]]]:
    """Have a configuration examined; the findings by check."""
    if text:
        Path("bursar.toml").write_text(text)
    outcome = cli("doctor", "--json")
    assert KEY not in outcome.out + outcome.err
    assert outcome.err == ""
    found: dict[str, list[dict[str, Any]]] = {}
    told = json.loads(outcome.out)
    for finding in told["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    assert (outcome.code == 0) == told["ok"] == all(each["state"] != "fail" for each in told["findings"])
    return outcome, found


def states(findings: dict[str, list[dict[str, Any]]], check: str) -> list[str]:
    return [each["state"] for each in findings[check]]


def config_for(receiver: Receiver, kind: str = "openai") -> str:
    return CONFIG.format(kind=kind, url=f"http://127.0.0.1:{receiver.port}/v1")


def test_a_running_bursar_is_well(cli: Cli, shared_bursar: LocalBursar) -> None:
    outcome, found = examine(cli)
    assert outcome.code == 0
    for check in ("configuration", "secrets", "prices", "database", "append-only", "clock", "books", "disk"):
        assert states(found, check) == ["ok"], found[check]
    assert states(found, "workers")[0] == "ok"
    assert states(found, "provider sandbox") == ["ok"]
    text = cli("doctor").out
    assert "configuration" in text
    assert "0 failed" in text


@pytest.mark.parametrize(
    ("kind", "line"), [("openai", ("authorization", f"Bearer {KEY}")), ("anthropic", ("x-api-key", KEY))]
)
def test_a_provider_is_asked_for_its_models_with_its_key_and_for_nothing_else(
    cli: Cli, provider: Receiver, kind: str, line: tuple[str, str]
) -> None:
    outcome, found = examine_provider(cli, provider, kind, [(200, {})])
    assert (outcome.code, states(found, "provider openai")) == (0, ["ok"])
    ((path, headers, body),) = provider.requests
    assert (path, body, headers[line[0]]) == ("/v1/models", b"", line[1])


def examine_provider(
    cli: Cli, provider: Receiver, kind: str, answers: list[tuple[int, dict[str, str]]]
) -> tuple[Outcome, dict[str, list[dict[str, Any]]]]:
    provider.answers += answers
    return examine(cli, config_for(provider, kind))


@pytest.mark.parametrize(
    ("status", "state"), [(401, "fail"), (403, "fail"), (302, "fail"), (500, "fail"), (404, "warn"), (429, "warn")]
)
def test_what_a_provider_answers_decides(cli: Cli, provider: Receiver, status: int, state: str) -> None:
    outcome, found = examine_provider(cli, provider, "openai", [(status, {"location": "http://127.0.0.1:1/"})])
    assert states(found, "provider openai") == [state]
    assert outcome.code == (1 if state == "fail" else 0)
    assert len(provider.requests) == 1  # and no redirection was followed


def test_a_provider_that_is_down_or_silent_fails(cli: Cli, provider: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = examine(cli, CONFIG.format(kind="openai", url=f"http://127.0.0.1:{free_port()}/v1"))
    assert "connect failed: connection refused" in found["provider openai"][0]["text"]
    monkeypatch.setattr("bursar.api.doctor.probe.STEP_S", 0.2)
    provider.silent = 1
    _, found = examine(cli, config_for(provider))
    assert "answer failed: nothing within" in found["provider openai"][0]["text"]


def test_a_secret_that_is_not_there_is_named_by_its_setting(
    cli: Cli, provider: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCTOR_KEY")
    outcome, found = examine(cli, config_for(provider))
    assert outcome.code == 1
    assert "DOCTOR_KEY" in found["secrets"][0]["text"]


def test_a_model_without_a_price_is_named(cli: Cli, provider: Receiver) -> None:
    text = config_for(provider) + '\n[models.mine]\ntargets = ["openai/made-up"]\n'
    outcome, found = examine(cli, text)
    assert (outcome.code, states(found, "prices")) == (1, ["fail"])
    assert "models.mine" in found["prices"][0]["text"]


def test_a_configuration_with_a_mistake_is_told_and_the_rest_is_still_looked_at(cli: Cli) -> None:
    outcome, found = examine(cli, "[gatway]\n")
    assert (outcome.code, states(found, "configuration"), states(found, "database")) == (1, ["fail"], ["ok"])
    assert "gateway" in found["configuration"][0]["text"]  # the nearest known name


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_database_whose_clock_is_off_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(doctor_module, "clock_us", lambda: now_us() + seconds * 1_000_000)
    outcome, found = examine(cli)
    assert (outcome.code, states(found, "clock")) == (1, ["fail"])
    assert ("ahead" if seconds < 0 else "behind") in found["clock"][0]["text"]


def test_books_that_do_not_balance_fail(database_cli: Cli, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bursar.store.database import connect

    async def bend() -> None:
        connection = await connect(database_url, owner=True)
        await connection.execute(
            "insert into accounts (tenant, account_id, name, code, limited, credits_posted, opened_us)"
            " values (1, 1, 'bent', 1, false, 5, 1)"
        )
        await connection.close()

    asyncio.run(bend())
    outcome, found = examine(database_cli)
    assert (outcome.code, states(found, "books"), states(found, "workers")) == (1, ["fail"], ["warn"])


def test_where_nothing_runs_nothing_is_started(bare_cli: Cli, tmp_path: Path) -> None:
    outcome, found = examine(bare_cli)
    assert (outcome.code, states(found, "database")) == (0, ["warn"])
    assert not (tmp_path / "user").exists()


def test_a_database_of_ones_own_that_is_away_fails(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURSAR_DATABASE_URL", f"postgresql://u:hidden@127.0.0.1:{free_port()}/x")
    outcome, found = examine(bare_cli)
    assert (outcome.code, states(found, "database")) == (1, ["fail"])
    assert "hidden" not in outcome.out


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_a_certificate_that_nobody_vouches_for_fails(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("key.pem", "cert.pem")]
    command = f"req -x509 -newkey rsa:2048 -nodes -keyout {files[0]} -out {files[1]} -days 1 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *command.split(), *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    receiver = Receiver(context)
    try:
        url = f"https://127.0.0.1:{receiver.port}/v1"
        found = asyncio.run(probe("openai", url, KEY))
        assert found.error.startswith("tls failed: self-signed certificate")
        assert receiver.requests == []
        trusted = ssl.create_default_context(cafile=str(files[1]))
        found = asyncio.run(probe("openai", url, KEY, trusted))
        assert (found.status, found.error, found.tls_ms >= 0) == (204, "", True)
    finally:
        receiver.close()
