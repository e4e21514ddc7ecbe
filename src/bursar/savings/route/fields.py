"""Tell fields of knowledge apart: law, physics, music, by directions of a text's vector found in WordNet's topics."""

from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

FIELDS: Final = 30
"""Directions kept; more of them tell entries apart, and not topics."""


class Fields(msgspec.Struct, frozen=True):
    """Hold directions that part fields, (dimensions, fields), and the embedder whose vectors they are of."""

    embedder: str
    directions: Floats

    def located(self, vectors: Floats, embedder: str) -> Floats:
        """Return where vectors lie among fields, (..., fields). Those of another embedder all lie at 0."""
        if embedder != self.embedder:
            return np.zeros((*vectors.shape[:-1], FIELDS))
        return vectors @ self.directions


@lru_cache(maxsize=1)
def load() -> Fields:
    """Read the directions that ship with the package."""
    data = (files("bursar.savings.route") / "data" / "fields.npz").read_bytes()
    with np.load(BytesIO(data), allow_pickle=False) as held:
        return Fields(str(held["embedder"]), held["directions"].astype(np.float64))
