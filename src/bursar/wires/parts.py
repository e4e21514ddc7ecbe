"""Take the texts of a prompt out of a request's body, and put others in their places.

What is read is every text a model sees, in the order of the prompt: tools, system, then the turns. What is written
changes those texts alone: all else in the body keeps its bytes, so numbers keep their spelling.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypeGuard, cast

import msgspec


class Kind(StrEnum):
    """Say which segment of a prompt a part belongs to."""

    system = "system"
    tools = "tools"  # descriptions of tools
    history = "history"  # earlier turns of user and model
    retrieved = "retrieved"  # documents and results of tools
    user = "user"  # the last turn of the user


Path: TypeAlias = tuple[str | int, ...]


class Part(msgspec.Struct, frozen=True):
    """Hold one text of a prompt. `path` says where it stands in the body it was read from.

    A part that is `protected` is never changed: what the user says in the last turn, what carries a signature, what is
    JSON that a model wrote. What is `for_program` is read by more than the model: JSON stays JSON. What is `cached` a
    provider may have seen in an earlier conversation: tools, system, and what stands before a mark for its cache.
    `turn` counts the model's answers before it; what is not of the last turn was sent before. Several parts may have
    one path: they are the pieces of that text, in order.
    """

    text: str
    kind: Kind
    path: Path = ()
    role: str = ""
    call_id: str = ""  # of the tool call it belongs to
    protected: bool = False
    cached: bool = False
    turn: int = 0
    for_program: bool = False


JsonObject: TypeAlias = dict[str, Any]

_raw_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


def is_object(value: object) -> TypeGuard[JsonObject]:
    """Tell whether a value is a JSON object."""
    return isinstance(value, dict)


def listed(value: object) -> list[Any]:
    """Return the values of a JSON list; none of anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def texts_in(path: Path, content: object) -> list[tuple[Path, object]]:
    """Return the texts of content, which is a text or a list of blocks, each with its path."""
    if not isinstance(content, list):
        return [(path, content)]
    blocks = enumerate(listed(cast("list[Any]", content)))
    return [((*path, place, "text"), block.get("text")) for place, block in blocks if is_object(block)]


class Reading:
    """Collect the parts of one prompt as they are read."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._turn = 0
        self._cached = 0  # how many parts, from the first on, a cache may hold
        self._user: list[int] = []  # what the user said last
        self._answered = False  # the model has answered since the user said something

    def add(self, kind: Kind, path: Path, text: object, *, role: str = "", call_id: str = "") -> None:
        """Add a text that may be changed; what is none, or empty, is left out."""
        if isinstance(text, str) and text:
            self._parts.append(Part(text, kind, path, role, call_id, turn=self._turn))

    def keep(self, kind: Kind, path: Path, value: object, *, role: str = "", call_id: str = "") -> None:
        """Add what is sent and never changed: a text, or JSON in as few bytes as it takes."""
        text = value if isinstance(value, str) else "" if value is None else _encode(value).decode()
        if text:
            self._parts.append(Part(text, kind, path, role, call_id, protected=True, turn=self._turn))

    def said(self, path: Path, text: object, role: str = "user") -> None:
        """Add what the user says, documents in it apart: the last turn, until the user says more after an answer."""
        if not isinstance(text, str) or not text:
            return
        if self._answered:
            self._user, self._answered = [], False
        for start, end, found in _pieces(text):
            if not found:
                self._user.append(len(self._parts))
            kind = Kind.retrieved if found else Kind.user
            self._parts.append(Part(text[start:end], kind, path, role, protected=not found, turn=self._turn))

    def answer(self) -> None:
        """Note that the model has answered."""
        self._answered = True
        self._turn += 1

    def mark(self) -> None:
        """Note that a cache may hold all up to here."""
        self._cached = len(self._parts)

    def parts(self) -> tuple[Part, ...]:
        """Return the parts in order; what the user said before the last turn is history."""
        last = frozenset(self._user)
        found: list[Part] = []
        for place, part in enumerate(self._parts):
            cached = place < self._cached or part.kind in _FIRST
            if part.kind is Kind.user and place not in last:
                part = msgspec.structs.replace(part, kind=Kind.history, protected=False)
            found.append(msgspec.structs.replace(part, cached=True) if cached else part)
        return tuple(found)


_FIRST: Final = (Kind.tools, Kind.system)
"""What prompts begin with, call after call."""

_FOUND: Final = re.compile(
    r"<(documents?|context|search_results?|sources?|passages?|retrieved|knowledge)\b[^<>]*>", re.IGNORECASE
)
"""How clients that have no other place for what they found mark it within the words of the user."""


def _pieces(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield the pieces of what a user says, from where to where, and whether it was found rather than said."""
    at, unclosed = 0, set[str]()
    for opening in _FOUND.finditer(text) if "</" in text else ():
        name = opening[1].lower()
        if opening.start() < at or name in unclosed:
            continue
        closing = re.compile(f"</{name}>", re.IGNORECASE).search(text, opening.end())
        if closing is None:
            unclosed.add(name)
        elif closing.start() > opening.end():
            yield at, opening.end(), False
            yield opening.end(), closing.start(), True
            at = closing.start()
    if at < len(text):
        yield at, len(text), False


def write_parts(body: bytes, parts: Sequence[Part], texts: Sequence[str]) -> bytes:
    """Write other texts into the places of a body's parts, one for each; all else keeps its bytes.

    Raises `ValueError` for another number of texts, and for another text of a protected part.
    """
    whole: dict[Path, list[str]] = {}
    changed: set[Path] = set()
    for part, text in zip(parts, texts, strict=True):
        whole.setdefault(part.path, []).append(text)
        if text == part.text:
            continue
        if part.protected:
            raise ValueError(f"a protected part was changed: {'.'.join(map(str, part.path))}")
        changed.add(part.path)
    changes: dict[str | int, Any] = {}
    for path in changed:
        node = changes
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = "".join(whole[path])
    return bytes(_changed(msgspec.Raw(body), changes)) if changes else body


def _changed(value: msgspec.Raw, changes: Mapping[str | int, Any] | str) -> msgspec.Raw:
    """Return a JSON value with what is changed below it."""
    if isinstance(changes, str):
        return msgspec.Raw(_encode(changes))
    held: Any = _raw_list.decode(value) if isinstance(next(iter(changes)), int) else _raw_object.decode(value)
    for step, change in changes.items():
        held[step] = _changed(held[step], change)
    return msgspec.Raw(_encode(held))
