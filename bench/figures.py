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


def arguments(description: str | None, **values: float | str) -> argparse.Namespace:
    """Read a benchmark's options: --json, --data, and values with their defaults; one that is `False` is a switch."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    for name, default in values.items():
        flag = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"default {default}")
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
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def show(bench: str, figures: list[Figure], *, as_json: bool, extra: dict[str, Any] | None = None) -> None:
    """Print figures; `extra` is what else the JSON of this benchmark says."""
    if as_json:
        found = {"bench": bench, "machine": machine(), "figures": [msgspec.to_builtins(f) for f in figures]}
        print(json.dumps(found | (extra or {})))
        return
    print(f"{bench}, on {machine()['cpu']}, {machine()['cores']} cores")
    for figure in figures:
        anchors = "".join(f"   {name}: {value:,}" for name, value in figure.anchors.items())
        print(f"  {figure.id:28} {figure.value:>12,} {figure.unit:10} {figure.note}{anchors}")
