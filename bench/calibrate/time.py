"""Fit the rates of step time on all runs of the silicon sample, and write them as package data.

    python -m bench.calibrate.time [--data DIR]

What ships: for each engine on each generation of chips the rates of `physics.calibration.Rates`, how far the logarithm
of each base and factor may be off, and the interval that held 90 % of the time per output token of models left out.
"""

import json
from pathlib import Path
from typing import Any, Final

from bench.calibrate.score_time import half_widths
from bench.calibrate.silicon import FILE, sample
from bench.calibrate.time_fit import fit, rates_for, spread
from bench.calibrate.time_priors import SCHEMES
from bench.calibrate.time_table import ENGINES, Table, table_of
from bench.figures import arguments
from bursar.physics.calibration import BLACKWELL, HOPPER

TARGET: Final = Path(__file__).parents[2] / "src/bursar/physics/data/time.json"
CHECKED: Final = "2026-11-22"
SOURCE: Final = "aiconfigurator silicon sample at 095f58a (Apache-2.0)"
DIGITS: Final = 4
SHIPPED: Final = next(each for each in SCHEMES if each.name == "E")


def main() -> None:
    """Fit, print and write."""
    found = sample(arguments(__doc__).data)
    table = table_of(found.runs)
    names, point = fit(table, SHIPPED, table.fits)
    error, elsewhere = half_widths(table, SHIPPED)
    off = spread(table, names, point, table.fits)
    written: dict[str, Any] = {
        "source": SOURCE,
        "checked": CHECKED,
        "file": FILE,
        "sha256": found.sha256,
        "rows": int(table.fits.sum()),
        "error": _short(error),
        "range": {
            generation: {
                "chips": sorted({run.deployment.chip.name for run in _of(table, generation)}),
                "sequences": max(run.clients.concurrency for run in _of(table, generation)),
                "context": max(run.traffic.tokens for run in _of(table, generation)),
            }
            for generation in (HOPPER, BLACKWELL)
        },
        "rates": {
            f"{engine} {generation}": {
                name: _short(rate) for name, rate in rates_for(names, point, (engine, generation.lower())).items()
            }
            for engine in ENGINES
            for generation in (HOPPER, BLACKWELL)
        },
        "spread": {name: _short(each) for name, each in zip(names.names, off, strict=True)},
    }
    TARGET.write_text(json.dumps(written, indent=1) + "\n")
    print(f"{table.fits.sum()} rows of {FILE} {found.sha256[:12]}; wrote {TARGET.name}")
    print(f"half width of the interval {error:.3f}, on chips not measured {elsewhere:.3f}")


def _of(table: Table, generation: str) -> list[Any]:
    return [
        run
        for run, blackwell in zip(table.runs, table.blackwell, strict=True)
        if blackwell == (generation == BLACKWELL)
    ]


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


if __name__ == "__main__":
    main()
