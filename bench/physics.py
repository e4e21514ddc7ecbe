"""Measure how well the physics of a token predicts what was measured: time on models left out.

python -m bench.physics [--json] [--data DIR]
"""

from bench.calibrate import score_time
from bench.figures import arguments, show


def main() -> None:
    """Score each part and show its figures."""
    args = arguments(__doc__)
    show("physics", score_time.figures(args.data), as_json=args.json)


if __name__ == "__main__":
    main()
