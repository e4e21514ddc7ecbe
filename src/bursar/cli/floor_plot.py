"""Draw what `bursar floor` found: the cost's parts and the dials, as SVG or PNG."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bursar.cli.floor_text import Answer
from bursar.core.errors import ConfigError, OperatorError

if TYPE_CHECKING:
    from types import ModuleType

FORMATS: Final = (".svg", ".png")


def draw(answer: Answer, path: Path) -> None:
    """Write the picture. Raises `ConfigError` for another ending, `OperatorError` where the extra is missing."""
    altair = altair_module()
    save(altair.vconcat(_parts(altair, answer), _dials(altair, answer)).resolve_scale(color="independent"), path)


def save(chart: Any, path: Path) -> None:
    """Write a chart. Raises `ConfigError` for another ending, `OperatorError` where it cannot be written."""
    if path.suffix not in FORMATS:
        raise ConfigError(f"plot is {path}; its name must end in {' or '.join(FORMATS)}")
    try:
        chart.save(str(path))
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from None


def altair_module() -> "ModuleType":
    """Load what draws. Raises `OperatorError` where the extra is missing."""
    try:
        import altair as alt
        import vl_convert  # noqa: F401 - what altair writes files with
    except ImportError:
        raise OperatorError("drawing needs the extra `studio`: install bursar[studio]") from None
    return alt


def _parts(altair: Any, answer: Answer) -> Any:
    found, plan = answer.floor, answer.plan
    values = [{"part": name, "dollars": cost * 1e6} for name, cost in found.parts_dollars.items()]
    title = f"{plan.deployment.shape.name} on {plan.deployment.chips} x {plan.deployment.chip.name}"
    return (
        altair.Chart(altair.Data(values=values), title=title, width=520, height=40)
        .mark_bar()
        .encode(
            x=altair.X("dollars:Q", title="USD a million requests", stack="zero"),
            color=altair.Color("part:N", title="paid for"),
        )
    )


def _dials(altair: Any, answer: Answer) -> Any:
    boards = (("machine", answer.machine), ("request", answer.request))
    values = [
        {"dial": turn.dial.name, "board": name, "dollars": turn.dollars} for name, turns in boards for turn in turns
    ]
    return (
        altair.Chart(altair.Data(values=values), title="What each dial could save", width=520)
        .mark_bar()
        .encode(
            x=altair.X("dollars:Q", title="USD a million requests"),
            y=altair.Y("dial:N", sort="-x", title=None),
            color=altair.Color("board:N", title="board"),
        )
    )
