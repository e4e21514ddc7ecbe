"""Who runs in a data folder is found as long as it lives, and says what came of a reload."""

import os
import subprocess
import sys
from pathlib import Path

from bursar.store.running import Reloads, Running, read_running

HOLDS = """
import sys
from pathlib import Path
from bursar.store.running import Running
running = Running(Path(sys.argv[1]))
running.looked("wrong")
print("held", flush=True)
sys.stdin.read()
"""


def test_what_runs_is_found_with_what_it_said_last_until_it_ends(tmp_path: Path) -> None:
    assert read_running(tmp_path) is None
    running = Running(tmp_path)
    assert read_running(tmp_path) == Reloads(os.getpid())
    running.looked(at_next_start=["otel"])
    running.looked(error="unknown setting")
    assert read_running(tmp_path) == Reloads(os.getpid(), 2, "unknown setting")
    assert (tmp_path / "running.json").stat().st_mode & 0o777 == 0o600
    running.end()
    assert read_running(tmp_path) is None


def test_one_that_was_killed_is_not_taken_for_running(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert read_running(tmp_path) == Reloads(process.pid, 1, "wrong")
        process.kill()
        process.wait()
    assert (tmp_path / "running.json").stat().st_size > 0
    assert read_running(tmp_path) is None
    Running(tmp_path).end()  # whoever comes next
