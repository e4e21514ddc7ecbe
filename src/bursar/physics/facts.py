"""Load the facts that ship with the package: chips and models, each with its source."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

from bursar.core.errors import NotThere
from bursar.physics.chip import Chip
from bursar.physics.config import shape_of
from bursar.physics.shape import Shape


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold chips by name and models' configs by name. A shape is built when it is asked for."""

    chips: Mapping[str, Chip]
    configs: Mapping[str, Mapping[str, Any]]

    def chip(self, name: str) -> Chip:
        """Give a chip by its name, in any case. Raises `NotThere` with the nearest names."""
        return self.chips[_known("chip", name, self.chips)]

    def shape(self, name: str) -> Shape:
        """Give a model's shape by its name, with or without its maker. Raises `NotThere` with the nearest names."""
        found = _known("model", name, self.configs)
        config = self.configs[found]
        return shape_of(found, config, precision=config["precision"])


def load() -> Facts:
    """Read the package's data."""
    folder = files("bursar.physics") / "data"
    chips = json.loads((folder / "chips.json").read_bytes())
    configs = json.loads((folder / "models.json").read_bytes())
    return Facts({name: Chip(name, **facts) for name, facts in chips.items()}, configs)


def _known(kind: str, name: str, known: Mapping[str, object]) -> str:
    wanted = name.casefold()
    names = {each.casefold(): each for each in known}
    by_last = {each.casefold().rsplit("/", 1)[-1]: each for each in known}
    found = names.get(wanted) or by_last.get(wanted)
    if found is None:
        near = [{**by_last, **names}[each] for each in get_close_matches(wanted, {**by_last, **names}, 3, 0.5)]
        raise NotThere(
            f"no {kind} {name!r} is known" + (f"; near it: {', '.join(dict.fromkeys(near))}" if near else "")
        )
    return found
