"""Draw a simulation's timeline: requests in batches and waiting, and the use of the cache, as SVG or PNG."""

from pathlib import Path
from typing import Any, Final

from bursar.cli.floor_plot import altair_module, save
from bursar.cli.simulate_text import Answer

_WIDTH: Final = 640


def draw(answer: Answer, path: Path) -> None:
    """Write the picture. Raises `ConfigError` for another ending, `OperatorError` where the extra is missing."""
    altair = altair_module()
    save(altair.vconcat(_requests(altair, answer), _cache(altair, answer)), path)


def _requests(altair: Any, answer: Answer) -> Any:
    values = [
        {"at_s": moment.at_s, "requests": count, "which": which}
        for moment in answer.report.moments
        for which, count in (("in a batch", moment.running), ("waiting", moment.waiting))
    ]
    placed = answer.deployment
    title = f"{placed.shape.name} in {placed.weights} on {answer.fleet.replicas} x {placed.chips} x {placed.chip.name}"
    return (
        altair.Chart(altair.Data(values=values), title=f"{title}: {answer.trace.name}", width=_WIDTH, height=200)
        .mark_line(interpolate="step-after")
        .encode(
            x=altair.X("at_s:Q", title="seconds"),
            y=altair.Y("requests:Q", title="requests"),
            color=altair.Color("which:N", title=None),
        )
    )


def _cache(altair: Any, answer: Answer) -> Any:
    values = [{"at_s": moment.at_s, "kv_use": moment.kv_use} for moment in answer.report.moments]
    return (
        altair.Chart(altair.Data(values=values), width=_WIDTH, height=80)
        .mark_area(interpolate="step-after")
        .encode(
            x=altair.X("at_s:Q", title="seconds"),
            y=altair.Y("kv_use:Q", title="cache in use", scale=altair.Scale(domain=[0, 1])),
        )
    )
