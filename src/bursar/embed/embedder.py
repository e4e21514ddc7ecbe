"""Say what every embedder does, whatever stands behind it."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turn texts into vectors that are near each other where the texts mean the same."""

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        ...

    @property
    def name(self) -> str:
        """Return what it is known by: what was trained on its vectors works with no other's."""
        ...

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, (texts, dimensions), of length 1, or 0 where a text holds nothing it knows."""
        ...

    def with_whole(self, texts: Sequence[str]) -> Floats:
        """Return the same, and a last row of all texts joined by line ends."""
        ...


def unit(rows: Floats) -> Floats:
    """Return rows brought to length 1; those of nothing but 0 stay so."""
    lengths = np.sqrt(np.add.reduce(rows * rows, axis=1, keepdims=True))
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
