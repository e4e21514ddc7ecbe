"""Compress a conversation so that what was sent before is compressed the same way each time it is sent again.

A client sends the whole conversation with every call, and a provider's cache holds what it has seen, byte for byte. So
each turn is compressed by itself, by the question it was asked with, and nothing that comes after changes it: the
beginning of a longer conversation is the compressed beginning of the shorter one. Only where what was said long ago is
condensed, which is opt-in, does a beginning change: once an epoch, and not where that would cost more than it saves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from bursar.core.money import nano_to_usd
from bursar.core.records import Protocol
from bursar.savings.compress.edits import compose, replay
from bursar.savings.compress.epochs import Epoch, epochs, is_said, moved, pieces_of
from bursar.savings.compress.markup import unmark
from bursar.savings.compress.prefix import Change, Verdict, pays
from bursar.savings.compress.prompt import Budget, Compressed, Removal
from bursar.savings.compress.setting import Mode, Setting
from bursar.tokens.estimate import tokens_from_bytes
from bursar.wires.parts import Kind, Part, write_parts
from bursar.wires.prompt import read_parts
from bursar.wires.reads import note, offer

Shorten: TypeAlias = Callable[[Sequence[Part], str, Budget], Compressed]
"""Leave out of parts what a question does not need, down to a budget."""

Tighten: TypeAlias = Callable[[Sequence[Part]], Compressed]
"""Say the same with fewer tokens, without loss."""

Weigh: TypeAlias = Callable[[Change, int], Verdict]
"""Say what a change near the beginning costs and saves over the call and so many that follow."""

NOTED_CHARS_MIN: Final = 400
"""What must be gained by shortening a result that the model may read whole: a question costs a call."""

RANKED_CHARS_MAX: Final = 1_000_000
"""Of so much of what was retrieved, from the first turn on, sentences are ranked; more would keep others waiting."""

CONDENSED_CHARS_MAX: Final = 500_000
"""The same, of what was said."""

_QUESTION_CHARS_MAX: Final = 2_000
_SAID: Final = (Kind.user, Kind.history)
_NOTE: Final = "how the rest can be read"


class Stages(msgspec.Struct, frozen=True):
    """Hold what a compression is made of; without `shorten` it is lossless.

    Last, `refer` says once what is said twice: what a reference names must be there as it is sent.
    """

    tighten: Tighten
    refer: Tighten
    shorten: Shorten | None = None


class Squeezed(msgspec.Struct, frozen=True):
    """Hold a body after compression, all that was changed in its parts, and what there is to say of how it went.

    Where the model `may_read` what was left out, a tool for that is offered.
    """

    body: bytes
    may_read: bool = False
    removals: tuple[Removal, ...] = ()
    told: tuple[str, ...] = ()


def compress_body(
    protocol: Protocol, body: bytes, setting: Setting, stages: Stages, weigh: Weigh | None = None
) -> Squeezed:
    """Return a request's body with its prompt compressed; the same bytes where nothing was gained.

    Without `weigh`, nothing is taken to be in a provider's cache. Raises `BadRequest` for what is no request.
    """
    parts = read_parts(protocol, body)
    offered = offer(protocol, body) if setting.read_more else None
    setting = msgspec.structs.replace(setting, read_more=offered is not None)
    sending = compress_conversation(parts, setting, stages, weigh)
    written = write_parts(offered or body, parts, sending.texts)
    if len(written) >= len(body):
        return Squeezed(body, told=sending.told)
    return Squeezed(written, setting.read_more, sending.removals, sending.told)


class Sending:
    """Hold the parts of a conversation while they are compressed: what of each is changed so far.

    What was done `before` is told in `removals`; all that is changed after it goes by the texts that it left.
    """

    def __init__(self, parts: Sequence[Part], before: tuple[Removal, ...] = ()) -> None:
        self._before = before
        self._texts = replay([part.text for part in parts], before)
        self._removals: list[Sequence[Removal]] = [() for _ in parts]
        self.told: tuple[str, ...] = ()

    @property
    def removals(self) -> tuple[Removal, ...]:
        """Return all that is changed."""
        return compose(self._before, self._made)

    @property
    def _made(self) -> tuple[Removal, ...]:
        return tuple([each for removals in self._removals for each in removals])

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the parts' texts as they are sent."""
        return replay(self._texts, self._made)

    def tell(self, what: str) -> None:
        """Add to what there is to say of it."""
        self.told = (*self.told, what)

    def change(self, places: Iterable[int], removals: Iterable[Removal]) -> None:
        """Change parts in this way, in place of what was changed in them before."""
        found: dict[int, list[Removal]] = {place: [] for place in places}
        for each in removals:
            found[each.part].append(each)
        for place, changes in found.items():
            self._removals[place] = changes

    def then(self, removals: Sequence[Removal]) -> None:
        """Change what is left once more."""
        self.change(range(len(self._texts)), compose(self._made, removals))


def compress_conversation(
    parts: Sequence[Part], setting: Setting, stages: Stages, weigh: Weigh | None = None
) -> Sending:
    """Compress a conversation's parts. What the user has said is kept, unless history is condensed."""
    if setting.mode is Mode.off:
        return Sending(parts)
    sending = Sending(parts, unmark(parts, _tokens) if setting.markup else ())
    parts = [msgspec.structs.replace(part, text=text) for part, text in zip(parts, sending.texts, strict=True)]
    kept = [_kept(part, setting) for part in parts]
    turns = _ranked(kept, sending) if setting.shortens else {}
    apart = {place for places in turns.values() for place in places}
    tightened = stages.tighten([_closed(part) if place in apart else part for place, part in enumerate(kept)])
    sending.change(range(len(parts)), tightened.removals)
    for turn, places in turns.items():
        opened = [kept[place] for place in places]
        found = _shortened(opened, question_of(parts, turn), setting, stages)
        sending.change(places, [msgspec.structs.replace(each, part=places[each.part]) for each in found])
    if setting.condenses:
        _condense(sending, parts, setting, stages, weigh)
    sent = [msgspec.structs.replace(part, text=text) for part, text in zip(kept, sending.texts, strict=True)]
    sending.then(stages.refer(sent).removals)
    return sending


def _ranked(parts: Sequence[Part], sending: Sending) -> dict[int, list[int]]:
    """Return by turn which parts are to lose what their question does not need: as many as are ranked of one call."""
    turns: dict[int, list[int]] = {}
    for place, part in enumerate(parts):
        if may_shorten(part):
            turns.setdefault(part.turn, []).append(place)
    chars = 0
    for turn in list(turns):
        chars += sum(len(parts[place].text) for place in turns[turn])
        if chars > RANKED_CHARS_MAX:
            at_most = f"{RANKED_CHARS_MAX:,} characters are ranked of a call"
            sending.tell(f"what was retrieved from turn {turn + 1} on is whole: {at_most}")
            return {each: places for each, places in turns.items() if each < turn}
    return turns


def _condense(sending: Sending, parts: Sequence[Part], setting: Setting, stages: Stages, weigh: Weigh | None) -> None:
    """Condense what was said long ago, epoch by epoch, where that pays."""
    assert stages.shorten is not None
    chars = 0
    for epoch in epochs(parts, setting.history_tokens, _tokens):
        named = f"what was said in turns {epoch.first + 1} to {epoch.last + 1}"
        chars += sum(len(part.text) for part in parts if epoch.first <= part.turn <= epoch.last and is_said(part))
        if chars > CONDENSED_CHARS_MAX:
            sending.tell(f"{named} and later is whole: {CONDENSED_CHARS_MAX:,} characters are condensed of a call")
            return
        pieces = pieces_of(parts, epoch)
        question = question_of(parts, epoch.seen)
        found = stages.shorten([piece.part for piece in pieces], question, Budget(ratio=setting.history))
        if found.handles or not found.removals:  # nobody could ask for what handles name
            continue
        removals = list(moved(found.removals, pieces))
        verdict = None if weigh is None else weigh(_change(sending, parts, epoch, removals), epoch.seen + 1)
        if verdict is None or pays(verdict):
            sending.change({piece.place for piece in pieces}, removals)
            sending.tell(f"{named} is condensed")
        else:
            less, calls = nano_to_usd(verdict.saved_nano), epoch.seen + 1
            sending.tell(f"{named} stays: a missed cache makes that {less} USD in {calls} more calls")


def _change(sending: Sending, parts: Sequence[Part], epoch: Epoch, removals: Sequence[Removal]) -> Change:
    """Say what condensing an epoch changed when it was first sent so, all before that turn being held by a cache."""
    texts = sending.texts
    seen = [(place, part) for place, part in enumerate(parts) if part.turn <= epoch.seen]
    first = min(each.part for each in removals)
    grown = sum(len(each.text.encode(errors="replace")) for each in removals)
    gone = sum(len(parts[each.part].text[each.start : each.end].encode(errors="replace")) for each in removals)
    return Change(
        tokens=sum(_tokens(texts[place]) for place, _ in seen),
        held=sum(_tokens(texts[place]) for place, part in seen if part.turn < epoch.seen),
        begins=sum(_tokens(texts[place]) for place, _ in seen if place < first),
        removed=max(0, tokens_from_bytes(gone) - tokens_from_bytes(grown)),
    )


def _tokens(text: str) -> int:
    return tokens_from_bytes(len(text.encode(errors="replace")))


def _shortened(parts: Sequence[Part], question: str, setting: Setting, stages: Stages) -> Iterator[Removal]:
    """Leave out of a turn's findings what its question does not need, and say where the rest of it can be read."""
    assert stages.shorten is not None
    tightened = stages.tighten(parts)
    found = stages.shorten(parts, question, _budget(parts, setting))
    if found.handles:  # nobody could ask for what these name
        yield from tightened.removals
        return
    by_part: list[tuple[list[Removal], list[Removal]]] = [([], []) for _ in parts]
    for rank, removals in enumerate((found.removals, tightened.removals)):
        for each in removals:
            by_part[each.part][rank].append(each)
    for place, (shorter, whole) in enumerate(by_part):
        texts = found.texts[place], tightened.texts[place]
        noted = setting.read_more and bool(parts[place].call_id)
        # One that has nothing for the question stays: a model that is shown nothing cannot tell that either.
        if not texts[0].strip(" \n\u2026") or (noted and len(texts[1]) - len(texts[0]) < NOTED_CHARS_MIN):
            yield from whole
            continue
        yield from shorter
        if noted:
            end = len(parts[place].text)
            yield Removal(place, end, end, note(parts[place].call_id), _NOTE)


def _budget(parts: Sequence[Part], setting: Setting) -> Budget:
    """Return what a turn's findings may take: by the ratio, or so many tokens where those are fewer."""
    ratio, tokens = setting.ratio, setting.retrieved_tokens
    if tokens is None:
        return Budget(ratio=ratio)
    whole = sum(_tokens(part.text) for part in parts)
    # A ratio cuts as well where tables and code leave no room.
    return Budget(ratio=max(ratio, whole / tokens, 1.0))


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


def _kept(part: Part, setting: Setting) -> Part:
    """Keep what the user said before, which was sent as it was, and segments that are to lose nothing."""
    said = part.role == "user" and part.kind is Kind.history
    return _closed(part) if said or part.kind in setting.kept else part


def _closed(part: Part) -> Part:
    return msgspec.structs.replace(part, protected=True)
