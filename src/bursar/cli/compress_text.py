"""Show a prompt after compression: as it is sent, for machines, or side by side with what it was."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from rich.table import Table
from rich.text import Text

from bursar.cli.common import console
from bursar.cli.compress_given import Given
from bursar.savings.compress.prompt import Compressed, Removal
from bursar.wires.parts import Part


class Shown(NamedTuple):
    """Hold what is shown: what was given, what became of it, the body if it is one, and what there is to say of it."""

    given: Given
    found: Compressed
    body: bytes | None
    notes: tuple[str, ...] = ()


def written(shown: Shown) -> str:
    """Return the prompt as it is after: the body, the text, or the texts each under its name."""
    texts = shown.found.texts
    if shown.body is not None:
        return shown.body.decode() + "\n"
    if len(texts) == 1:
        return texts[0].rstrip("\n") + "\n"
    named = zip(shown.given.names, texts, strict=True)
    return "".join(f"{name}\n{text.rstrip()}\n\n" for name, text in named if text)


def as_json(shown: Shown) -> dict[str, Any]:
    """Return all there is to say of it but sizes."""
    named = zip(shown.given.names, shown.found.texts, strict=True)
    return {
        "texts": [{"name": name, "text": text} for name, text in named],
        "removals": msgspec.to_builtins(shown.found.removals),
        "handles": msgspec.to_builtins(shown.found.handles),
        "notes": shown.notes,
    } | ({} if shown.body is None else {"body": msgspec.json.decode(shown.body)})


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
