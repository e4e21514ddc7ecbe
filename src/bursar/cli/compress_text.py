"""Show a prompt before and after compression, side by side."""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from bursar.cli.common import console
from bursar.savings.compress.prompt import Compressed, Removal
from bursar.wires.parts import Part


def show_diff(parts: Sequence[Part], names: Sequence[str], found: Compressed) -> None:
    """Print each part that changed: what was on the left, what is on the right, and why each piece went below."""
    by_part: list[list[Removal]] = [[] for _ in parts]
    for removal in found.removals:
        by_part[removal.part].append(removal)
    for part, name, removals in zip(parts, names, by_part, strict=True):
        if not removals:
            continue
        table = Table(title=name or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
        table.add_column("before", ratio=1)
        table.add_column("after", ratio=1)
        table.add_column("why", max_width=24)
        for before, after, why in _rows(part.text, removals):
            table.add_row(Text(before, "red" if why else ""), Text(after, "green" if why else ""), Text(why, "dim"))
        console().print(table)


def _rows(text: str, removals: Sequence[Removal]) -> Iterator[tuple[str, str, str]]:
    """Yield what stayed, on both sides, and what went, with what stands there now."""
    at = 0
    for removal in removals:
        if kept := text[at : removal.start].strip():
            yield kept, kept, ""
        yield text[removal.start : removal.end].strip(), removal.text.strip(), removal.why
        at = removal.end
    if kept := text[at:].strip():
        yield kept, kept, ""
