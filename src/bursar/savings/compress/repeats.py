"""Say once what is said twice: a whole text or a paragraph that was there before becomes a reference to it."""

import re
from collections.abc import Sequence
from typing import Final

CHARACTERS_MIN: Final = 200
_QUOTED_MIN: Final = 16
_QUOTED: Final = (60, 160)
_REFERENCE: Final = re.compile(r'\[the same (text|paragraph) as above, which begins "(.*)"\]')
_PARAGRAPHS: Final = re.compile(r"\n\n+")


class Said:
    """Remember the parts of a prompt in order: as they are sent, and as they come back."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.restored: list[str] = []
        self._wholes: set[str] = set()
        self._paragraphs: set[str] = set()

    def add(self, sent: str, restored: str) -> None:
        """Remember the next part."""
        self.sent.append(sent)
        self.restored.append(restored)
        if len(sent) >= CHARACTERS_MIN:
            self._wholes.add(sent)
        paragraphs = (each.rstrip() for each in _PARAGRAPHS.split(restored))
        self._paragraphs.update(each for each in paragraphs if len(each) >= CHARACTERS_MIN)

    def whole(self, sent: str, restored: str) -> str | None:
        """Return a reference to an earlier part that is sent, and comes back, as this one; None without one."""
        return self._reference("text", sent, restored) if sent in self._wholes else None

    def paragraph(self, text: str) -> str | None:
        """Return a reference to a paragraph of an earlier part; None without one."""
        return self._reference("paragraph", text, text) if text in self._paragraphs else None

    def _reference(self, what: str, sent: str, meant: str) -> str | None:
        for quoted in quotes(sent):
            reference = f'[the same {what} as above, which begins "{quoted}"]'
            if resolve(reference, self.sent, self.restored) == meant:
                return reference
        return None


def quotes(text: str) -> list[str]:
    """Return how a text begins, in few words and in more; nothing where its first line is too short to tell it."""
    line = text.partition("\n")[0]
    return [quoted for length in _QUOTED if len(quoted := line[:length].rstrip()) >= _QUOTED_MIN]


def resolve(reference: str, sent: Sequence[str], restored: Sequence[str]) -> str | None:
    """Return what a reference stands for, given the parts before it; None where nothing begins so."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    quoted = match[2]
    if match[1] == "text":
        return next((back for text, back in zip(sent, restored, strict=True) if text.startswith(quoted)), None)
    for text in restored:
        for paragraph in _PARAGRAPHS.split(text) if quoted in text else ():
            if paragraph.startswith(quoted):
                return paragraph.rstrip()
    return None
