"""Keep arrays of numbers in a file: half precision, which is finer than any label is."""

from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.core.errors import ConfigError

Floats: TypeAlias = npt.NDArray[np.float64]


class Packed(msgspec.Struct, frozen=True):
    """Hold an array: its shape and its numbers as little-endian float16, in rows."""

    shape: tuple[int, ...]
    numbers: bytes


def packed(array: Floats) -> Packed:
    """Return an array as it is kept."""
    return Packed(array.shape, array.astype("<f2").tobytes())


def unpacked(kept: Packed, shape: tuple[int, ...], what: str) -> Floats:
    """Return an array as it was, in half precision. Raises `ConfigError` where it is not of the shape expected."""
    if kept.shape != shape or len(kept.numbers) != 2 * int(np.prod(shape)):
        raise ConfigError(f"the router's {what} are of shape {kept.shape}, expected {shape}; train it again")
    array = np.frombuffer(kept.numbers, "<f2").reshape(shape).astype(np.float64)
    if not np.isfinite(array).all():
        raise ConfigError(f"the router's {what} hold what is no number; train it again")
    return array
