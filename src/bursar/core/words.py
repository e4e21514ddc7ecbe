"""Say what may name a run, a step or a tag."""

import re
from typing import Final

WORD_CHARS_MAX: Final = 128
TAGS_MAX: Final = 16

_WORD: Final = re.compile(rf"[\w.:/@ +-]{{1,{WORD_CHARS_MAX}}}")


def is_word(text: str) -> bool:
    """Tell whether a text is 1 to 128 letters, digits, spaces and `_.:/@+-`."""
    return _WORD.fullmatch(text) is not None
