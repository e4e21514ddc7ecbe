"""Guess the language of a text by its letters and its commonest words, or say that nobody can tell."""

import re
from typing import Final

from bursar.savings.route.words import words_of

READ_CHARS: Final = 600
_WORD: Final = re.compile(r"[^\W\d_]+")
_COMMON: Final[dict[str, frozenset[str]]] = {
    "en": words_of("the of and to in is that it for was on are with as be this what how which you does"),
    "de": words_of("der die und das ist nicht ein eine zu den mit wie was ich sie auf für von dem wird im"),
    "fr": words_of("le la les et des est une un dans que qui pour pas sur avec ce quel quelle vous je du"),
    "es": words_of("el los las y es una un en que por para con no se del cuál qué cómo como su lo al"),
    "it": words_of("il gli e è una un di che per con non si della del quale come sono nel alla cosa"),
    "pt": words_of("o os as e é uma um em que para com não se do da dos como qual no na mais"),
    "nl": words_of("de het een en van is dat niet op te zijn voor met wat hoe ik je in aan die"),
    "pl": words_of("i w na nie jest to że się z do jak co o czy jaki dla od po przez który"),
    "tr": words_of("ve bir bu için ne ile da de olan çok var olarak daha gibi kadar değil nedir ya ki"),
}
_SCRIPTS: Final = (
    ("ja", re.compile("[\u3041-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7a3]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
)
KNOWN: Final = (*_COMMON, *(name for name, _ in _SCRIPTS))
"""Languages that can be told, by their two letters."""


def language(text: str) -> str | None:
    """Return a text's language by its two letters, None where it is too short or of another."""
    read = text[:READ_CHARS]
    letters = sum(map(str.isalpha, read))
    for name, script in _SCRIPTS:
        if letters and len(script.findall(read)) * 4 > letters:
            return name
    words = [word.lower() for word in _WORD.findall(read)]
    counts = {name: sum(word in common for word in words) for name, common in _COMMON.items()}
    best, second = sorted(counts.values(), reverse=True)[:2]
    if best == second or best * 12 < len(words):
        return None
    return max(counts, key=lambda name: counts[name])
