"""Say how far a prompt is to be compressed, and what became of it; its parts are those of `wires.parts`."""

from enum import StrEnum

import msgspec

from bursar.wires.parts import Kind


class Removal(msgspec.Struct, frozen=True):
    """Say what was taken out of a part or written in other words: where, what stands there now, and why.

    `start` and `end` are offsets in characters in the part's text as it was; `text` replaces what was between them.
    """

    part: int
    start: int
    end: int
    text: str
    why: str


class Handle(msgspec.Struct, frozen=True):
    """Name what was left out of a part, so that the model can ask for it."""

    name: str
    part: int
    text: str


class Compressed(msgspec.Struct, frozen=True):
    """Hold a prompt after compression: its parts' texts in order, all that was changed, and what can be asked for.

    Sizes are in tokens by the counter that was given. Replaying `removals` over the old texts gives `texts`.
    """

    texts: tuple[str, ...]
    removals: tuple[Removal, ...]
    handles: tuple[Handle, ...]
    tokens_before: int
    tokens_after: int


class Order(StrEnum):
    """Say in what order passages stand that are left."""

    kept = "kept"
    ends = "ends"  # the best first and last: models read the middle of a long prompt least


class Budget(msgspec.Struct, frozen=True):
    """Say how far to compress: by `ratio` (4 is a quarter of the tokens) or to `tokens`, of the whole or by segment.

    None leaves it at what is lossless. Segments without a budget of their own share what the whole has left. `order`
    is that of passages within a text whose words were left out. With `markup`, what was retrieved as HTML becomes light
    text first.
    """

    ratio: float | None = None
    tokens: int | None = None
    by_kind: dict[Kind, int] = {}  # most tokens of a segment
    order: Order = Order.kept
    markup: bool = False
