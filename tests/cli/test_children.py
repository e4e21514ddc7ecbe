"""What a child process finds in its environment."""

from pathlib import Path

import pytest

from bench.harness import LocalBursar, children_of
from bursar.cli.supervisor import environment_for

ONE = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("role", "given", "found"),
    [
        ("worker", {}, ONE),
        ("worker", {"OMP_NUM_THREADS": "4"}, {"OMP_NUM_THREADS": "4"}),
        ("worker", {"OPENBLAS_NUM_THREADS": "2", "LANG": "C"}, {"OPENBLAS_NUM_THREADS": "2", "LANG": "C"}),
        ("keeper", {"LANG": "C"}, {"LANG": "C"}),
        ("worker", {"BURSAR_DATABASE_URL": "postgresql:///secret"}, ONE),
    ],
)
def test_a_worker_multiplies_with_one_thread_unless_told_otherwise(
    role: str, given: dict[str, str], found: dict[str, str]
) -> None:
    assert environment_for(role, given) == found


def test_a_running_worker_has_it(shared_bursar: LocalBursar) -> None:
    assert shared_bursar.process is not None
    folders = [Path(f"/proc/{pid}") for pid in children_of(shared_bursar.process.pid)]
    worker = next(each for each in folders if b"bursar.cli.child\0worker" in (each / "cmdline").read_bytes())
    settings = dict(entry.split("=", 1) for entry in (worker / "environ").read_text().split("\0") if "=" in entry)
    assert settings["OPENBLAS_NUM_THREADS"] == "1"
