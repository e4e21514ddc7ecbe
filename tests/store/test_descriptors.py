"""A process raises its bound of open files as far as it may, and never lowers it."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.harness import LocalBursar

TELL = "import resource; from bursar.store.descriptors import allow_descriptors; {}; print(allow_descriptors())"
SET = "resource.setrlimit(resource.RLIMIT_NOFILE, ({}, {}))"


@pytest.mark.parametrize(("soft", "hard", "allowed"), [(256, 900, 900), (900, 900, 900), (256, 256, 256)])
def test_the_bound_is_raised_to_what_is_allowed(soft: int, hard: int, allowed: int) -> None:
    program = TELL.format(SET.format(soft, hard))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert int(done.stdout) == allowed


def test_a_worker_may_have_as_many_files_as_it_is_allowed(shared_bursar: LocalBursar) -> None:
    for pid in shared_bursar.child_pids("worker"):
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        soft, hard = next(line for line in limits if line.startswith("Max open files")).split()[3:5]
        assert soft == hard or int(soft) >= 65_536
