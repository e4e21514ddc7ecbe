"""Show what a benchmark measured: as a table for people, as JSON for machines."""

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import msgspec


class Figure(msgspec.Struct):
    """Hold one measured figure. `anchors` are others' figures for the same thing, `note` says how it came about."""

    id: str
    value: float
    unit: str
    anchors: dict[str, float] = {}
    note: str = ""


def arguments(description: str | None, **values: int | str) -> argparse.Namespace:
    """Read a benchmark's options: --json, --data, and values with their defaults."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    for name, default in values.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"default {default}"
        )
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Describe the machine a figure was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def show(bench: str, figures: list[Figure], *, as_json: bool) -> None:
    """Print figures."""
    if as_json:
        print(json.dumps({"bench": bench, "machine": machine(), "figures": [msgspec.to_builtins(f) for f in figures]}))
        return
    print(f"{bench}, on {machine()['cpu']}, {machine()['cores']} cores")
    for figure in figures:
        anchors = "".join(f"   {name}: {value:,}" for name, value in figure.anchors.items())
        print(f"  {figure.id:28} {figure.value:>12,} {figure.unit:10} {figure.note}{anchors}")
