"""Keep base64 out of text: a model cannot read it, and pays a token for every two or three characters."""

import re
from collections.abc import Mapping
from typing import Final

from bursar.savings.compress.json_text import Value
from bursar.savings.compress.prompt import Handle

_BLOB: Final = re.compile(
    r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*;base64,(?P<data>[A-Za-z0-9+/]{96,}={0,2})"
    r"|(?<![\w+/=.-])(?P<bare>(?:[A-Za-z0-9+/]{60,}\n)+[A-Za-z0-9+/]+={0,2}|[A-Za-z0-9+/]{256,}={0,2})(?![\w+/=.-])"
)
_RUN_MIN: Final = 60
_LONG_RUN: Final = re.compile(rf"[A-Za-z0-9+/]{{{_RUN_MIN}}}")
_SIGNATURES: Final = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi0": "application/pdf",
    "UEsDB": "application/zip",
    "H4sI": "application/gzip",
}
_MENTION: Final = re.compile(r"\[base64 [^\],]{1,100}, [0-9]+ bytes: ask for (base64-[0-9]+)\]")
_DATA_MIN: Final = 96
_BARE_MIN: Final = 256


class Blobs:
    """Gather what is kept out, each text once, in the order it is met."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        self._last = 0
        self.known: dict[str, str] = {}
        self.handles: list[Handle] = []

    def find(self, text: str, start: int, end: int, part: int) -> list[tuple[int, int, str]]:
        """Keep each run of base64 between `start` and `end` out: (from, to, what mentions it)."""
        found: list[tuple[int, int, str]] = []
        if not may_hold(text, start, end):
            return found
        for match in _BLOB.finditer(text, start, end):
            data = match["data"] or match["bare"]
            if match["data"] is not None or _is_blob(data):
                found.append((match.start(), match.end(), self._mention(match, data, part)))
        return found

    def leave_out(self, text: str) -> None:
        """Give no name from here on that a text mentions: it could not be told which is meant."""
        self._taken.update(match[1] for match in _MENTION.finditer(text))

    def forget(self, kept: int) -> None:
        """Forget all but the first texts that were kept out."""
        for handle in self.handles[kept:]:
            del self._names[handle.text], self.known[handle.name]
        del self.handles[kept:]

    def _mention(self, match: re.Match[str], data: str, part: int) -> str:
        if match[0] not in self._names:
            name = self._next()
            self._names[match[0]] = name
            self.known[name] = match[0]
            self.handles.append(Handle(name, part, match[0]))
        kind = match["kind"] or next((kind for head, kind in _SIGNATURES.items() if data.startswith(head)), "data")
        size = len(data.replace("\n", "").rstrip("=")) * 3 // 4
        return f"[base64 {kind}, {size} bytes: ask for {self._names[match[0]]}]"

    def _next(self) -> str:
        while True:
            self._last += 1
            if (name := f"base64-{self._last}") not in self._taken:
                return name

    def keep_out_of(self, value: Value, part: int) -> Value:
        """Return a value whose texts have mentions in place of base64."""
        if isinstance(value, str):
            if len(value) < _DATA_MIN:
                return value
            pieces: list[str] = []
            at = 0
            for start, end, mention in self.find(value, 0, len(value), part):
                pieces += [value[at:start], mention]
                at = end
            return "".join([*pieces, value[at:]])
        if isinstance(value, list):
            return [self.keep_out_of(each, part) for each in value]
        if isinstance(value, dict):
            return {key: self.keep_out_of(each, part) for key, each in value.items()}
        return value


def may_hold(text: str, start: int, end: int) -> bool:
    """Tell whether there may be anything to keep out between `start` and `end`."""
    at = start
    while end - at >= _RUN_MIN and (blank := text.rfind(" ", at, at + _RUN_MIN)) >= 0:  # prose has one in each stretch
        at = blank + 1
    return end - at >= _RUN_MIN and _LONG_RUN.search(text, at, end) is not None


def put_back(text: str, known: Mapping[str, str]) -> str:
    """Return a text with what was kept out of it, by name, in place of its mentions."""
    return _MENTION.sub(lambda match: known.get(match[1], match[0]), text)


def put_back_into(value: Value, known: Mapping[str, str]) -> Value:
    """Return a value with what was kept out of its texts."""
    if isinstance(value, str):
        return put_back(value, known)
    if isinstance(value, list):
        return [put_back_into(each, known) for each in value]
    if isinstance(value, dict):
        return {key: put_back_into(each, known) for key, each in value.items()}
    return value


def mentions(text: str) -> bool:
    """Tell whether a text mentions what was kept out, or only looks as if."""
    return _MENTION.search(text) is not None


def _is_blob(data: str) -> bool:
    """Tell base64 from words, hashes in hex, letters of genes and signed tokens."""
    if len(data) < _BARE_MIN or data.startswith("eyJ"):
        return False
    return all(any(test(each) for each in data) for test in (str.isupper, str.islower, str.isdigit))
