"""Say once what is said twice: a whole text or a paragraph that was there before becomes a reference to it."""

import re
from typing import Final

CHARACTERS_MIN: Final = 200
_QUOTED_MIN: Final = 16
_QUOTED: Final = (60, 160)
_LONG_MIN: Final = 1_000
_KEYS: Final = (16, 32, 60, 160)
_SAME_START_MAX: Final = 32
_QUOTE_END: Final = re.compile(r"[\[{]|\s\s|[\u200b\u2060\ufeff\u00ad]")
_REFERENCE: Final = re.compile(r'\[the same (text|paragraph) as above, which begins "(.*)"\]')
_PARAGRAPHS: Final = re.compile(r"\n\n+")


class _Starts:
    """Find the first text that begins in some words, without going through them all."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[str, str]]] = {}

    def add(self, text: str, meant: str) -> None:
        """Remember the next text, and what is meant by it."""
        for length in _KEYS:
            if len(text) >= length:
                same = self._known.setdefault(text[:length], [])
                if len(same) < _SAME_START_MAX:
                    same.append((text, meant))

    def find(self, quoted: str) -> str | None:
        """Return what is meant by the first that begins so; None without one, or where too many begin much the same."""
        length = max((each for each in _KEYS if each <= len(quoted)), default=0)
        same = self._known.get(quoted[:length], ())
        return next((meant for text, meant in same if text.startswith(quoted)), None)


class Said:
    """Remember the parts of a prompt in order: as they are sent, and as they come back."""

    def __init__(self) -> None:
        self._texts = _Starts()
        self._long = _Starts()
        self._beginnings = _Starts()
        self._lines: dict[str, list[str]] = {}
        self._wholes: set[str] = set()
        self._paragraphs: set[str] = set()

    def add(self, sent: str, restored: str) -> None:
        """Remember the next part."""
        self._texts.add(sent, restored)
        if len(sent) >= _LONG_MIN:
            self._long.add(sent, sent)
        if len(sent) >= CHARACTERS_MIN:
            self._wholes.add(sent)
        for each in _PARAGRAPHS.split(restored):
            paragraph = each.rstrip()
            self._beginnings.add(each, paragraph)
            if len(paragraph) >= CHARACTERS_MIN:
                self._paragraphs.add(paragraph)

    def whole(self, sent: str, restored: str) -> str | None:
        """Return a reference to an earlier part that is sent, and comes back, as this one; None without one."""
        return self._reference("text", sent, restored) if sent in self._wholes else None

    def paragraph(self, text: str) -> str | None:
        """Return a reference to a paragraph of an earlier part; None without one.

        What is quoted ends where there may be JSON or white space that is made shorter: it stands within prose.
        """
        if text not in self._paragraphs:
            return None
        end = _QUOTE_END.search(text)
        return self._reference("paragraph", text[: end.start()] if end else text, text)

    def lines(self, quoted: str) -> list[str] | None:
        """Return the lines of the first text of 1,000 characters or more that was sent and begins so."""
        text = self._long.find(quoted)
        if text is None:
            return None
        if text not in self._lines:
            self._lines[text] = text.split("\n")
        return self._lines[text]

    def resolve(self, reference: str) -> str | None:
        """Return what a reference stands for; None where nothing begins so."""
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            return None
        return (self._texts if match[1] == "text" else self._beginnings).find(match[2])

    def _reference(self, what: str, begins: str, meant: str) -> str | None:
        for quoted in quotes(begins):
            reference = f'[the same {what} as above, which begins "{quoted}"]'
            if self.resolve(reference) == meant:
                return reference
        return None


def is_reference(text: str) -> bool:
    """Tell whether a text is nothing but a reference to an earlier one."""
    return _REFERENCE.fullmatch(text) is not None


def quotes(text: str) -> list[str]:
    """Return how a text begins, in few words and in more; nothing where its first line is too short to tell it."""
    line = text.partition("\n")[0]
    return [quoted for length in _QUOTED if len(quoted := line[:length].rstrip()) >= _QUOTED_MIN]
