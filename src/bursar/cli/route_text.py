"""Print what `bursar route` found, for people."""

from pathlib import Path
from typing import Final

from bursar.cli.common import console, print_table
from bursar.savings.route.curve import Gap, Point
from bursar.savings.route.evaluate import Report
from bursar.savings.route.explain import Explanation, said
from bursar.savings.route.router import Router

_BARS: Final = "▁▂▃▄▅▆▇█"
_STEPS: Final = 40
HINDSIGHT: Final = (
    "The router's settings are chosen with hindsight, the cheapest that reach a quality on these very labels; "
    "a route promises less."
)


def show_trained(router: Router, out: Path) -> None:
    """Say what a router was made of."""
    card = router.card
    print(f"{out}: {', '.join(router.models)}, trained on {card.labels:,} labels of {card.trained_on}")
    for name, value in card.figures.items():
        print(f"  {name:40} {value:.4g}")
    print(f"labels SHA-256 {card.labels_sha256[:16]}; vectors of {router.embedder}")
    print(card.limits)


def show_report(report: Report, assumed: str) -> None:
    """Print the table, the curve and the gap."""
    rows = [_row(model, point) for model, point in report.single.items()]
    if report.by_task is not None:
        rows.append(_row("best model by task", report.by_task))
    rows += [_row(f"router, {name}", point) for name, point in _marks(report)]
    rows.append(_row("oracle", report.oracle))
    print_table(["", "USD a call", "good answers"], rows, right=(1, 2), title=f"{report.labels:,} labels")
    print(HINDSIGHT)
    for percent, saving in report.savings.items():
        told = "is not reached" if saving is None else f"costs {abs(saving):.1%} {'less' if saving >= 0 else 'more'}"
        print(f"{percent} % of {report.best}'s quality {told}")
    print(f"quality from the cheapest to the dearest  {_curve(report.router)}")
    if report.gap is not None and report.longest_first is not None:
        _show_gaps(report.gap, report.longest_first)
    if assumed:
        print(assumed)


def show_explanation(explanation: Explanation) -> None:
    """Print chances and reasons."""
    for model, chance in zip(explanation.models, explanation.chances, strict=True):
        print(f"{model}: {chance:.0%} good enough")
    print(f"effort {explanation.effort:+.2f}: 0 is a usual problem's, 1 a spread more; a rule's effort_min goes by it")
    for reason in explanation.reasons:
        print(f"  {said(reason, explanation.models)}")


def _row(name: str, point: Point) -> list[str]:
    return [name, f"{point.dollars:.6f}", f"{point.quality:.1%}"]


def _marks(report: Report) -> list[tuple[str, Point]]:
    """Return the points that people ask about: the cheapest that reaches a share of the best model's quality."""
    best = report.single[report.best].quality
    found: list[tuple[str, Point]] = []
    for percent in report.savings:
        reached = [point for point in report.router if point.quality >= best * percent / 100]
        if reached:
            found.append((f"{percent} %", reached[0]))
    return found


def _curve(points: tuple[Point, ...]) -> str:
    """Draw quality over cost in a line of text."""
    low, high = points[0], points[-1]
    if high.dollars <= low.dollars or high.quality <= low.quality:
        return _BARS[-1]
    cells: list[str] = []
    for step in range(_STEPS):
        dollars = low.dollars + (high.dollars - low.dollars) * step / (_STEPS - 1)
        quality = max(point.quality for point in points if point.dollars <= dollars * (1 + 1e-9))
        cells.append(_BARS[round((quality - low.quality) / (high.quality - low.quality) * (len(_BARS) - 1))])
    return "".join(cells)


def _show_gaps(router: Gap, longest: Gap) -> None:
    rows = [
        [
            name,
            f"{gap.apgr:.3f}",
            *(f"{share:.1%}" for share in (gap.cpt50, gap.cpt80, gap.calls_at_95, gap.calls_at_98)),
        ]
        for name, gap in (("router", router), ("longest first", longest))
    ]
    rows.append(["random", "0.500", "50.0%", "80.0%", "", ""])
    columns = ["strong calls needed", "APGR", "CPT 50", "CPT 80", "95 % quality", "98 % quality"]
    console().print()
    print_table(columns, rows, right=(1, 2, 3, 4, 5))
