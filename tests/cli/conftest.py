"""Run commands within the test's process, against the shared Bursar unless told otherwise."""

from pathlib import Path
from typing import Any

import pytest

from bench.harness import LocalBursar
from bursar.cli.app import run
from tests.cli.outcome import Cli, Outcome


@pytest.fixture
def bare_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run commands where no data folder is named: one that opens the books makes them in an empty folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)

    def work(*arguments: str) -> Outcome:
        capsys.readouterr()
        try:
            run(list(arguments))
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return work


@pytest.fixture
def cli(bare_cli: Cli, shared_bursar: LocalBursar, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run commands beside the shared Bursar."""
    monkeypatch.setenv("BURSAR_DATA", str(shared_bursar.data))
    return bare_cli


@pytest.fixture
def database_cli(bare_cli: Cli, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run commands on an empty database of an operator's own."""
    monkeypatch.setenv("BURSAR_DATABASE_URL", database_url)
    return bare_cli
