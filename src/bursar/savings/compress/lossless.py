"""Say a prompt with fewer tokens and nothing lost: JSON without white space or as tables, once what is said twice.

Each change has its inverse, and is checked by it before it is made: what comes back must be the same JSON, key by key
and digit by digit, or the same text up to white space that says nothing. A part that fails stays as it was, and none
ever becomes longer.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, cast

import msgspec

from bursar.savings.compress.blobs import Blobs, may_hold
from bursar.savings.compress.changed import changed, is_changed
from bursar.savings.compress.columns import Row
from bursar.savings.compress.document import shortest
from bursar.savings.compress.finding import Piece, Stuff, pieces
from bursar.savings.compress.json_text import Value, read_whole, write
from bursar.savings.compress.prompt import Compressed, Removal
from bursar.savings.compress.repeats import CHARACTERS_MIN, Said, is_reference
from bursar.savings.compress.restoring import Means, inverse, undone
from bursar.savings.compress.spacing import keeps_meaning, spaces
from bursar.savings.compress.table import table
from bursar.wires.parts import Kind, Part

Count: TypeAlias = Callable[[str], int]

ALL: Final = frozenset(Means)
_MAY_REFER: Final = frozenset([Kind.history, Kind.retrieved])
_PARAGRAPH: Final = re.compile(r"[^\n]+(?:\n(?![ \t]*\r?\n)[^\n]+)*")


def lossless(parts: Sequence[Part], count: Count, means: frozenset[Means] = ALL) -> Compressed:
    """Make a prompt shorter without loss; `count` gives the tokens of a text, `means` what may be done.

    The result is the same for the same parts, and that of its own result is itself. What becomes of a part hangs
    on those before it alone, so a prompt that grows keeps its beginning, and a provider's cache its use.
    """
    stage = _Stage(count, means)
    texts = tuple([stage.part(number, part) for number, part in enumerate(parts)])
    return Compressed(texts, tuple(stage.removals), tuple(stage.blobs.handles), stage.before, stage.after)


class _Done(msgspec.Struct, frozen=True):
    """Hold a part as it is sent, as it comes back, its tokens, and what was changed."""

    sent: str
    restored: str
    tokens: int
    removals: list[Removal]


class _Stage:
    """Go through the parts in order, remembering what was said."""

    def __init__(self, count: Count, means: frozenset[Means]) -> None:
        self.count = _remembering(count)
        self.means = means
        self.blobs = Blobs()
        self.said = Said()
        self.removals: list[Removal] = []
        self.before = 0
        self.after = 0

    def part(self, number: int, part: Part) -> str:
        """Return a part's text as it is to be sent, and keep what was done to it."""
        self.blobs.leave_out(part.text)
        tokens = self.count(part.text)
        kept_out = len(self.blobs.handles)
        left = part.protected or not _is_whole(part.text) or is_reference(part.text) or is_changed(part.text)
        stuff = [] if left else list(pieces(part.text))
        done = self._done(part.text, tokens, list(self._removals(number, part, stuff)))
        if not done.removals:
            self.blobs.forget(kept_out)
        if stuff and self._may_refer(part):
            done = self._referring(number, part.text, stuff, done)
        self.said.add(done.sent, done.restored)
        self.removals += done.removals
        self.before += tokens
        self.after += done.tokens
        return done.sent

    def _done(self, text: str, tokens: int, removals: list[Removal]) -> _Done:
        """Make removals where they make the text shorter, none where they do not."""
        if removals:
            sent = _sent(text, removals)
            after = self.count(sent)
            if after < tokens:
                return _Done(sent, undone(sent, removals, self.blobs.known, self.said), after, removals)
        return _Done(text, text, tokens, [])

    def _referring(self, number: int, text: str, stuff: Sequence[Piece], done: _Done) -> _Done:
        """Refer to an earlier part that says all of this one, else to those that say a paragraph of it."""
        reference = self.said.whole(done.sent, done.restored)
        if reference is not None and self.count(reference) < done.tokens:
            removal = Removal(number, 0, len(text), reference, Means.repeat)
            return _Done(reference, done.restored, self.count(reference), [removal])
        # A text that comes back as it is sent can be said by the lines of one that does too.
        said = changed(done.sent, self.said) if done.sent == done.restored else None
        if said is not None and self.count(said) < done.tokens:
            removal = Removal(number, 0, len(text), said, Means.repeat)
            return _Done(said, done.restored, self.count(said), [removal])
        prose = [piece for piece in stuff if piece.stuff is Stuff.prose]
        references = list(self._paragraphs(number, text, prose, done.removals))
        shorter = self._done(text, done.tokens, _apart([*references, *done.removals]))
        return shorter if shorter.removals else done

    def _may_refer(self, part: Part) -> bool:
        allowed = not part.protected and not part.for_program and part.kind in _MAY_REFER
        return allowed and Means.repeat in self.means

    def _removals(self, number: int, part: Part, stuff: Sequence[Piece]) -> Iterator[Removal]:
        """Find what is to be changed in a part, in order and apart; each is proven by its inverse."""
        if part.for_program or part.kind is Kind.tools:
            if stuff:
                yield from self._program(number, part.text)
            return
        tabular = part.kind is Kind.retrieved
        for piece in stuff:
            match piece.stuff:
                case Stuff.json | Stuff.lines:
                    yield from self._json(number, part.text, piece, tabular=tabular and piece.ends_line)
                case Stuff.prose:
                    yield from self._prose(number, part.text, piece)
                case Stuff.code:
                    yield from self._kept_out(number, part.text, piece)
                case Stuff.table:
                    pass

    def _program(self, number: int, text: str) -> Iterator[Removal]:
        try:
            value = read_whole(text)
        except ValueError:
            return
        compact = write(value)
        if Means.compact in self.means and self.count(compact) < self.count(text):
            yield Removal(number, 0, len(text), compact, Means.compact)

    def _json(self, number: int, text: str, piece: Piece, *, tabular: bool) -> Iterator[Removal]:
        value = piece.value
        if Means.blob in self.means and may_hold(text, piece.start, piece.end):
            value = self.blobs.keep_out_of(value, number)
        if piece.stuff is Stuff.lines:
            written = _lines(value)
            meant = written if value is piece.value else _lines(piece.value)
            forms = [(written, Means.lines), (table(cast("list[Row]", value), self.count, "lines"), Means.lines)]
        else:
            written = write(value)
            meant = written if value is piece.value else write(piece.value)
            forms = [(written, Means.compact), (shortest(value, self.count) if tabular else None, Means.table)]
        allowed = [(new, means) for new, means in forms if new is not None and (tabular or new == written)]
        new, means = min(allowed, key=lambda each: self.count(each[0]))
        removal = Removal(number, piece.start, piece.end, new, means)
        fewer = self.count(new) < self.count(text[piece.start : piece.end])
        if fewer and means in self.means and _comes_back(removal, self.blobs.known, meant):
            yield removal

    def _prose(self, number: int, text: str, piece: Piece) -> list[Removal]:
        """Take white space that says nothing out of prose."""
        found = self._kept_out(number, text, piece)
        if Means.spacing in self.means:
            edits = list(spaces(text, piece.start, piece.end))
            if keeps_meaning(text, piece.start, piece.end, edits):
                return _apart([*found, *(Removal(number, *edit, Means.spacing) for edit in edits)])
        return found

    def _paragraphs(
        self, number: int, text: str, prose: Sequence[Piece], edits: Sequence[Removal]
    ) -> Iterator[Removal]:
        """Find paragraphs of prose that an earlier part has."""
        starts = [each.start for each in edits]
        for paragraph in (each for piece in prose for each in _PARAGRAPH.finditer(text, piece.start, piece.end)):
            start = paragraph.start()
            end = start + len(paragraph[0].rstrip())
            if end - start < CHARACTERS_MIN:
                continue
            within = edits[bisect_left(starts, start) : bisect_left(starts, end)]
            cleaned = _sent(text, within, start, end)
            reference = self.said.paragraph(cleaned)
            if reference is not None and self.count(reference) < self.count(cleaned):
                yield Removal(number, start, end, reference, Means.repeat)

    def _kept_out(self, number: int, text: str, piece: Piece) -> list[Removal]:
        """Keep base64 out of a piece."""
        if Means.blob not in self.means:
            return []
        found = self.blobs.find(text, piece.start, piece.end, number)
        return [Removal(number, start, end, mention, Means.blob) for start, end, mention in found]


def _is_whole(text: str) -> bool:
    """Tell whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remembering(count: Count) -> Count:
    """Count each text once."""
    counted: dict[str, int] = {}

    def counting(text: str) -> int:
        if text not in counted:
            counted[text] = count(text)
        return counted[text]

    return counting


def _lines(value: Value) -> str:
    return "\n".join([write(row) for row in cast("list[Value]", value)])


def _comes_back(removal: Removal, known: Mapping[str, str], meant: str) -> bool:
    """Tell whether a removal's inverse is what it was made from; one that cannot be read is not."""
    try:
        return inverse(removal, known, Said()) == meant
    except ValueError:
        return False


def _apart(removals: Sequence[Removal]) -> list[Removal]:
    """Order removals; of those that overlap, the one that begins first stays, and of those the longest."""
    found: list[Removal] = []
    for each in sorted(removals, key=lambda each: (each.start, -each.end)):
        if not found or each.start >= found[-1].end:
            found.append(each)
    return found


def _sent(text: str, removals: Sequence[Removal], start: int = 0, end: int | None = None) -> str:
    """Return a text, or a piece of it, with its removals made."""
    pieces: list[str] = []
    at = start
    for each in removals:
        pieces += [text[at : each.start], each.text]
        at = each.end
    return "".join([*pieces, text[at:end]])
