"""Tell whether the model that has answered is the one that is charged for, by their names."""

import re
from typing import Final

from bursar.prices.book import matches
from bursar.prices.price import Price

_DATED: Final = re.compile(r"(-(\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{3,4}))+$")
_LATEST: Final = "-latest"


def is_another(price: Price, asked: str, answered: str) -> bool:
    """Tell whether an answer is of another model than the one asked, which `price` is for.

    A dated snapshot is the model itself, and so is every name its price is found by; of two snapshots each is its own.
    """
    mine, theirs = plain_name(asked), plain_name(answered)
    if mine == theirs or not theirs:
        return False
    root, their_root = _DATED.sub("", mine), _DATED.sub("", theirs)
    if root == their_root and (mine == root or theirs == their_root):
        return False
    return not (matches(price.match, answered) or matches(price.match, theirs))


def plain_name(name: str) -> str:
    """Return a name without its place, such as `models/` or `openai/`, and the ways to write the newest or a date."""
    return name.lower().rpartition("/")[2].replace("@", "-").removesuffix(_LATEST)
