"""Read lists of words as they are written in code: in one text, with spaces between."""


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())
