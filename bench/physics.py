"""Measure how right the physics is, on measurements of model families that no fit has seen.

    python -m bench.physics [--json] [--data DIR]

Reads the sets in --data (default ../shared/data); their README says what they are.
"""

import numpy as np

from bench.calibrate import mlperf, score_energy, score_time
from bench.calibrate.silicon import FILE
from bench.figures import Figure, arguments, show
from bursar.physics.facts import load

NEEDED = (FILE, "mlenergy_v3/llm_runs_flat.csv", *(f"mlperf_inference/{name}" for name in mlperf.FILES))


def main() -> None:
    """Score and show."""
    options = arguments(__doc__)
    missing = [str(options.data / name) for name in NEEDED if not (options.data / name).exists()]
    if missing:
        raise SystemExit(f"bench.physics misses {', '.join(missing)}: name the folder with --data")
    facts = load()
    energy, time = score_energy.scores(options.data, facts), score_time.scores(options.data)
    parts = [*score_energy.figures(energy), *score_time.figures(time)]
    figures = [*parts, coverage([energy.inside, time.inside]), mlperf.figure(options.data, facts)]
    show("physics", figures, as_json=options.json)


def coverage(inside: list[np.ndarray]) -> Figure:
    """Give the share of all left-out rows inside the 90 % interval that was stated for each."""
    rows = np.concatenate(inside)
    note = f"n {len(rows)}: {', '.join(f'{each.mean() * 100:.1f} of {len(each)}' for each in inside)}"
    return Figure("physics.interval_coverage_pct", round(float(rows.mean()) * 100, 1), "%", note=note)


if __name__ == "__main__":
    main()
