"""Draw what `bursar route eval` found: quality over cost, as SVG or PNG."""

from pathlib import Path
from typing import Final

from bursar.cli.floor_plot import altair_module, save
from bursar.savings.route.evaluate import Report

_WIDTH: Final = 520
_ROUTER: Final = "#1b7f79"
_OTHERS: Final = "#9aa5b8"


def draw(report: Report, path: Path) -> None:
    """Write the picture. Raises `ConfigError` for another ending, `OperatorError` where the extra is missing."""
    altair = altair_module()
    x = altair.X("dollars:Q", title="USD a call", scale=altair.Scale(zero=False))
    y = altair.Y(
        "quality:Q", title="share of good answers", scale=altair.Scale(zero=False), axis=altair.Axis(format="%")
    )
    others = [("oracle", report.oracle), *report.single.items()]
    if report.by_task is not None:
        others.append(("best model by task", report.by_task))
    router = altair.Data(values=[{"dollars": each.dollars, "quality": each.quality} for each in report.router])
    single = altair.Data(
        values=[{"name": name, "dollars": each.dollars, "quality": each.quality} for name, each in others]
    )
    title = f"quality over cost on {report.labels:,} labels; the line is the router"
    line = altair.Chart(router, title=title, width=_WIDTH).mark_line(color=_ROUTER, interpolate="step-after")
    dots = altair.Chart(single).mark_point(color=_OTHERS, filled=True, size=60).encode(x=x, y=y)
    names = altair.Chart(single).mark_text(align="left", dx=7).encode(x=x, y=y, text="name:N")
    save(line.encode(x=x, y=y) + dots + names, path)
