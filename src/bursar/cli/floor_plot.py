"""Draw what `bursar floor` found: the cost's parts with their interval and the dials, as SVG or PNG."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bursar.cli.floor_text import MILLION, Answer
from bursar.core.errors import ConfigError, OperatorError
from bursar.physics.cost import dollars

if TYPE_CHECKING:
    from types import ModuleType

FORMATS: Final = (".svg", ".png")
_WIDTH: Final = 520
_PAID: Final = "#9aa5b8"
_BOARDS: Final = ("#1b7f79", "#c8782a")
"""One colour for what is paid, two others for the boards: no colour stands for two things."""


def draw(answer: Answer, path: Path) -> None:
    """Write the picture. Raises `ConfigError` for another ending, `OperatorError` where the extra is missing."""
    altair = altair_module()
    save(altair.vconcat(_parts(altair, answer), _dials(altair, answer)).resolve_scale(color="independent"), path)


def save(chart: Any, path: Path) -> None:
    """Write a chart. Raises `ConfigError` for another ending, `OperatorError` where it cannot be written."""
    must_be_drawable(path)
    try:
        chart.save(str(path), format=path.suffix[1:].lower())
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from None


def must_be_drawable(path: Path) -> None:
    """Refuse what no picture can be written to, before any work. Raises `ConfigError` or `OperatorError`."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"plot is {path}; its name must end in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise OperatorError(f"{path} cannot be written: there is no folder {path.parent}")


def altair_module() -> "ModuleType":
    """Load what draws. Raises `OperatorError` where the extra is missing."""
    try:
        import altair as alt
        import vl_convert  # noqa: F401 - what altair writes files with
    except ImportError:
        raise OperatorError("drawing needs the extra `studio`: install bursar[studio]") from None
    return alt


def _parts(altair: Any, answer: Answer) -> Any:
    """Draw a bar for each part of a request, and one for all of it with the 90 % interval on it."""
    values = [{"part": name, "dollars": dollars(nano * MILLION)} for name, nano in answer.parts.items() if nano]
    whole = {"part": "all", "dollars": dollars(answer.request_nano * MILLION)}
    placed = answer.plan.deployment
    title = f"{placed.shape.name} in {placed.weights} on {placed.chips} x {placed.chip.name}: what a request pays for"
    y = altair.Y("part:N", sort=[*(each["part"] for each in values), "all"], title=None)
    bars = (
        altair.Chart(altair.Data(values=[*values, whole]), title=title, width=_WIDTH)
        .mark_bar(color=_PAID)
        .encode(x=altair.X("dollars:Q", title="USD a million requests; the line is the 90 % interval"), y=y)
    )
    low, high = answer.interval_dollars
    ends = altair.Data(values=[{"part": "all", "low": low * MILLION, "high": high * MILLION}])
    return bars + altair.Chart(ends).mark_rule(size=2).encode(x="low:Q", x2="high:Q", y=y)


def _dials(altair: Any, answer: Answer) -> Any:
    boards = (("machine", answer.machine), ("request", answer.request))
    values = [
        {"dial": turn.dial.name, "board": name, "dollars": turn.dollars}
        for name, turns in boards
        for turn in turns
        if turn.dollars > 0
    ]
    return (
        altair.Chart(altair.Data(values=values), title="What each dial could save", width=_WIDTH)
        .mark_bar()
        .encode(
            x=altair.X("dollars:Q", title="USD a million requests"),
            y=altair.Y("dial:N", sort="-x", title=None),
            color=altair.Color("board:N", title="board", scale=altair.Scale(range=_BOARDS)),
        )
    )
