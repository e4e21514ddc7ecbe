"""Undo what was done without loss, from what is sent and the list of what was changed."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from bursar.savings.compress.blobs import mentions, put_back, put_back_into
from bursar.savings.compress.changed import apply
from bursar.savings.compress.document import unfold
from bursar.savings.compress.json_text import read_whole, write
from bursar.savings.compress.prompt import Compressed, Removal
from bursar.savings.compress.repeats import Said
from bursar.savings.compress.table_text import read_table


class Means(StrEnum):
    """Say by what a text was made shorter; the `why` of a removal is one of these."""

    compact = "JSON without white space"
    table = "JSON as a table"
    lines = "lines of JSON as a table"
    spacing = "white space that says nothing"
    repeat = "said before"
    blob = "base64 kept out"


def restore(compressed: Compressed) -> tuple[str, ...]:
    """Return the texts as they were: JSON compact, prose without the white space that says nothing, all else exact."""
    by_part: dict[int, list[Removal]] = {}
    for each in compressed.removals:
        by_part.setdefault(each.part, []).append(each)
    known = {handle.name: handle.text for handle in compressed.handles}
    before = Said()
    found: list[str] = []
    for number, text in enumerate(compressed.texts):
        found.append(undone(text, by_part.get(number, ()), known, before))
        before.add(text, found[-1])
    return tuple(found)


def undone(text: str, removals: Sequence[Removal], known: Mapping[str, str], before: Said) -> str:
    """Undo the removals of one part."""
    pieces: list[str] = []
    was_at = at = 0
    for each in removals:
        kept = each.start - was_at
        pieces += [text[at : at + kept], inverse(each, known, before)]
        at += kept + len(each.text)
        was_at = each.end
    return "".join([*pieces, text[at:]])


def inverse(removal: Removal, known: Mapping[str, str], before: Said) -> str:
    """Return what a removal's text stands for. Raises `ValueError` where it stands for nothing."""
    match removal.why:
        case Means.compact | Means.table:
            return _with_blobs(unfold(removal.text), known)
        case Means.lines:
            written = removal.text.split("\n")
            if removal.text.startswith("["):
                written = [write(row) for row in read_table(removal.text).rows]
            return "\n".join([_with_blobs(each, known) for each in written])
        case Means.blob:
            return put_back(removal.text, known)
        case Means.repeat:
            found = before.resolve(removal.text)
            found = apply(removal.text, before) if found is None else found
            if found is None:
                raise ValueError(f"nothing above begins as in {removal.text[:200]}")
            return found
        case _:
            return removal.text


def _with_blobs(text: str, known: Mapping[str, str]) -> str:
    return write(put_back_into(read_whole(text), known)) if known and mentions(text) else text
