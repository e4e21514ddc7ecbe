"""Suggest names near to one that is not known."""

import difflib
from collections.abc import Iterable


def near_names(wanted: str, names: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Return the names nearest to what was asked: those that contain it first, then those spelled like it."""
    lowered = wanted.lower()
    pool = sorted(set(names))
    holding = [name for name in pool if lowered in name.lower()] if len(lowered) > 2 else []
    alike = difflib.get_close_matches(lowered, pool, n=count, cutoff=0.6)
    return tuple(dict.fromkeys([*sorted(holding, key=len), *alike]))[:count]
