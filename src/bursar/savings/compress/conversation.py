"""Compress a conversation so that what was sent before is compressed the same way each time it is sent again.

A client sends the whole conversation with every call, and a provider's cache holds what it has seen, byte for byte. So
each turn is compressed by itself, by the question it was asked with, and nothing that comes after changes it: the
beginning of a longer conversation is the compressed beginning of the shorter one.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from bursar.core.records import Protocol
from bursar.savings.compress.prompt import Budget, Compressed
from bursar.savings.compress.setting import Mode, Setting
from bursar.wires.parts import Kind, Part, write_parts
from bursar.wires.prompt import read_parts
from bursar.wires.reads import note, offer

Shorten: TypeAlias = Callable[[Sequence[Part], str, Budget], Compressed]
"""Leave out of parts what a question does not need, down to a budget."""

Tighten: TypeAlias = Callable[[Sequence[Part]], Compressed]
"""Say the same with fewer tokens, without loss."""

NOTED_CHARS_MIN: Final = 400
"""What must be gained by shortening a result that the model may read whole: a question costs a call."""

_QUESTION_CHARS_MAX: Final = 2_000
_SAID: Final = (Kind.user, Kind.history)


class Stages(msgspec.Struct, frozen=True):
    """Hold what a compression is made of; without `shorten` it is lossless.

    Last, `refer` says once what is said twice: what a reference names must be there as it is sent.
    """

    tighten: Tighten
    refer: Tighten
    shorten: Shorten | None = None


class Squeezed(msgspec.Struct, frozen=True):
    """Hold a body after compression. Where the model `may_read` what was left out, a tool for that is offered."""

    body: bytes
    may_read: bool = False


def compress_body(protocol: Protocol, body: bytes, setting: Setting, stages: Stages) -> Squeezed:
    """Return a request's body with its prompt compressed; the same bytes where nothing was gained.

    Raises `BadRequest` for what is no request.
    """
    parts = read_parts(protocol, body)
    offered = offer(protocol, body) if setting.read_more else None
    setting = msgspec.structs.replace(setting, read_more=offered is not None)
    written = write_parts(offered or body, parts, compress_conversation(parts, setting, stages))
    return Squeezed(written, setting.read_more) if len(written) < len(body) else Squeezed(body)


def compress_conversation(parts: Sequence[Part], setting: Setting, stages: Stages) -> tuple[str, ...]:
    """Return the texts of a conversation's parts, compressed. What the user has said is kept, in earlier turns too."""
    if setting.mode is Mode.off:
        return tuple([part.text for part in parts])
    kept = [_kept(part) for part in parts]
    turns: dict[int, list[int]] = {}
    for place, part in enumerate(kept):
        if setting.mode is Mode.contextual and may_shorten(part):
            turns.setdefault(part.turn, []).append(place)
    apart = {place for places in turns.values() for place in places}
    texts = list(stages.tighten([_closed(part) if place in apart else part for place, part in enumerate(kept)]).texts)
    for turn, places in turns.items():
        opened = [kept[place] for place in places]
        for place, text in zip(places, _shortened(opened, question_of(parts, turn), setting, stages), strict=True):
            texts[place] = text
    sent = [msgspec.structs.replace(part, text=text) for part, text in zip(kept, texts, strict=True)]
    return stages.refer(sent).texts


def _shortened(parts: Sequence[Part], question: str, setting: Setting, stages: Stages) -> tuple[str, ...]:
    """Leave out of a turn's findings what its question does not need, and say where the rest of it can be read."""
    assert stages.shorten is not None
    found = stages.shorten(parts, question, Budget(ratio=setting.ratio))
    if found.handles:  # nobody could ask for what these name
        return stages.tighten(parts).texts
    whole = stages.tighten(parts).texts
    # One that has nothing for the question stays: a model that is shown nothing cannot tell that either.
    kept = [
        full if not shorter.strip(" \n\u2026") else shorter for full, shorter in zip(whole, found.texts, strict=True)
    ]
    if not setting.read_more:
        return tuple(kept)
    return tuple([_noted(part, *texts) for part, *texts in zip(parts, whole, kept, strict=True)])


def _noted(part: Part, whole: str, shorter: str) -> str:
    """Name a tool's result that was shortened; one that is hardly shorter stays whole."""
    if not part.call_id:
        return shorter
    return shorter + note(part.call_id) if len(whole) - len(shorter) >= NOTED_CHARS_MIN else whole


def may_shorten(part: Part) -> bool:
    """Tell whether a part may lose what its question does not need: what was found or given back by a tool.

    A document before a mark for the cache may be asked many questions, and by any of them it would be another.
    """
    return part.kind is Kind.retrieved and not part.protected and bool(part.call_id or not part.cached)


def question_of(parts: Sequence[Part], turn: int) -> str:
    """Return what the user had asked when a turn began: in that turn, or the last before it."""
    asked: dict[int, list[str]] = {}
    for part in parts:
        if part.role == "user" and part.kind in _SAID and part.turn <= turn:
            asked.setdefault(part.turn, []).append(part.text)
    return "\n".join(asked[max(asked)])[-_QUESTION_CHARS_MAX:] if asked else ""


def _kept(part: Part) -> Part:
    """Keep what the user said before: it was sent as it was."""
    return _closed(part) if part.role == "user" and part.kind is Kind.history else part


def _closed(part: Part) -> Part:
    return msgspec.structs.replace(part, protected=True)
