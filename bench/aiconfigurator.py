"""Ask aiconfigurator for the times of measured serving runs, to set its errors beside ours.

    python -m bench.aiconfigurator [--json] [--data DIR] [--every 3]

It is installed into .peers/aiconfigurator, at a pinned version, by ordinary pip. Asked is every so many-th aggregated
row of the silicon sample whose number of chips is known, ordered by model, chip, engine and id: at a second an answer
the whole takes half an hour. Formats and versions are its own defaults, fp8 where a row says so; a row it refuses is
counted. Chips that a row counts twice (tensor times data-parallel ranks above `gpus`) are counted once.
"""

import contextlib
import csv
import io
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".peers/aiconfigurator"
PACKAGE = "aiconfigurator==0.12.0"
FILE = "aiconfigurator/silicon_sample.csv"
Row = dict[str, str]


def main() -> None:
    """Install, ask, and show the median errors."""
    from bench.figures import Figure, arguments, show  # the peer has no msgspec

    options = arguments(__doc__, every=3)
    path = options.data / FILE
    if not path.is_file():
        raise SystemExit(f"bench.aiconfigurator misses {path}: name the folder with --data")
    python = installed()
    command = [str(python), "-P", __file__, str(path), str(options.every)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    figures = []
    for name, rows in (("", told["answers"]), ("h100_", [r for r in told["answers"] if r["system"] == "h100_sxm"])):
        for time in ("tpot", "ttft"):
            wrong = [abs(row[time] / row[f"measured_{time}"] - 1) * 100 for row in rows]
            note = f"{len(rows)} rows answered of {told['asked']} asked"
            median = round(statistics.median(wrong), 1)
            figures.append(Figure(f"aiconfigurator.{time}_{name}median_pct", median, "%", note=note))
    show("aiconfigurator", figures, as_json=options.json)


def installed() -> Path:
    """Install the peer once; return its interpreter."""
    python = FOLDER / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    return python


def estimates(path: Path, every: int) -> None:
    """Print what the peer says of the rows; run by its own interpreter."""
    rows = list(asked(csv.DictReader(path.read_text().splitlines()), every))
    answers = [answer for row in rows if (answer := estimate(row)) is not None]
    print(json.dumps({"asked": len(rows), "answers": answers}))


def asked(rows: Iterable[Row], every: int) -> Iterator[Row]:
    """Choose rows without looking at their times."""
    known = [row for row in rows if row["mode"] == "agg" and row["gpus"]]
    yield from sorted(known, key=lambda row: (row["model_path"], row["system"], row["backend"], row["id"]))[::every]


def estimate(row: Row) -> dict[str, Any] | None:
    """Ask for one row; None where the peer refuses."""
    from aiconfigurator.cli.api import cli_estimate  # type: ignore[import-not-found]

    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            said = cli_estimate(**options_of(row))
    except Exception:  # noqa: BLE001 (a refusal has many types; what counts is that there is no answer)
        return None
    measured = {f"measured_{time}": float(row[f"silicon_{time}_ms"]) for time in ("tpot", "ttft")}
    return {"system": row["system"], "tpot": said.tpot, "ttft": said.ttft, **measured}


def options_of(row: Row) -> dict[str, Any]:
    """Name a row's run in the peer's words."""
    chips, ranks = int(row["gpus"]), number(row, "attention_dp_size", 1)
    tensor, whole, split = number(row, "tp_size", 1), number(row, "moe_ep_size", 0), number(row, "moe_tp_size", 0)
    if tensor * ranks > chips:
        tensor, ranks = max(1, chips // ranks), min(ranks, chips)
    found: dict[str, Any] = {
        "model_path": row["model_path"],
        "system_name": row["system"],
        "mode": "agg",
        "backend_name": row["backend"],
        "isl": int(row["isl"]),
        "osl": int(row["osl"]),
        "batch_size": max(1, round(float(row["concurrency"]) / ranks)),
        "tp_size": tensor,
        "pp_size": 1,
        "attention_dp_size": ranks,
    }
    if whole * split == chips:
        found |= {"moe_ep_size": whole, "moe_tp_size": split}
    if row["precision"] == "fp8":
        found["gemm_quant_mode"] = "fp8" if "Qwen3-32B" in row["model_path"] else "fp8_block"
    return found


def number(row: Row, name: str, otherwise: int) -> int:
    """Read a whole number that may be missing."""
    return int(float(row[name])) if row[name] else otherwise


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].endswith(".csv"):
        estimates(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
