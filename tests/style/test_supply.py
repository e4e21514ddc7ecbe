"""What is installed is little, known, and runs only when it is called."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE_PACKAGES_MAX = 45


def test_the_base_install_stays_small() -> None:
    lock = (ROOT / "requirements" / "base.txt").read_text()
    packages = set(re.findall(r"^([\w.-]+)(?:\[.*\])?==", lock, re.MULTILINE))
    assert 12 <= len(packages) <= BASE_PACKAGES_MAX, "another needs its reason in docs/internals/decisions.md"


def test_the_wheel_holds_the_package_and_nothing_that_runs_by_itself(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = wheel.namelist()
    assert [name for name in names if not re.match(r"bursar/|bursar-[^/]+\.dist-info/", name)] == []
    assert [name for name in names if name.endswith((".pth", ".so", ".exe")) or "sitecustomize" in name] == []
    assert "bursar/store/migrations/007_security.sql" in names
