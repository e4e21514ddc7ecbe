"""Embed by a table: a row a word piece, summed, and the sum bent by one small layer. Microseconds a text.

Rows and layer are fitted so that texts are as near each other as their sentence vectors by a small transformer
(`bench/make_embedding.py`); how much a piece weighs is in its row. Rows are bytes, each with a scale of its own.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final
from zipfile import BadZipFile

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.core.errors import ConfigError
from bursar.embed.embedder import Floats, unit
from bursar.embed.tokenize import NUMBER, WordPiece

BENT_TEXTS: Final = 1_024  # so many rows go through the layer at once
FEW_TEXTS: Final = 8  # up to so many go one by one
SUMMED_TEXTS: Final = 16  # so many texts' rows are read at once: they stay in the processor's cache
LONG_PIECES: Final = 192  # from here on counting pieces first is faster
_NUMBER_BYTES: Final = np.dtype(NUMBER).itemsize
_LONG_BYTES: Final = LONG_PIECES * _NUMBER_BYTES
_LEVELS: Final = 127


class Text(msgspec.Struct, frozen=True):
    """Hold one text a table was fitted on: what it is, its licence, how many texts, and its SHA-256."""

    name: str
    licence: str
    texts: int
    sha256: str


class Provenance(msgspec.Struct, frozen=True):
    """Hold where a table is from: its teacher, under which licence, fitted on what, by what and when."""

    teacher: str
    teacher_sha256: str
    licence: str
    fitted_on: tuple[Text, ...]
    made_by: str
    date: str


@dataclass(frozen=True, slots=True)
class Layer:
    """Hold the layer: rows + relu(rows @ widen + shift) @ narrow. Of width 0 it leaves rows as they are."""

    widen: Floats
    shift: Floats
    narrow: Floats

    def bend(self, rows: Floats) -> Floats:
        """Return rows through the layer."""
        inner = _through(rows, self.widen)
        inner += self.shift
        np.maximum(inner, 0, out=inner)
        bent = _through(inner, self.narrow)
        bent += rows
        return bent


@dataclass(frozen=True, slots=True)
class Rows:
    """Hold a table: the pieces, and for each a row of bytes with its scale, (pieces, dimensions) and (pieces,)."""

    pieces: tuple[str, ...]
    levels: npt.NDArray[np.int8]
    scales: Floats
    layer: Layer
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.levels.ndim != 2 or not len(self.pieces) == len(self.levels) == len(self.scales):
            raise ConfigError(
                f"the table has {len(self.pieces)} pieces, rows of shape {self.levels.shape} and {len(self.scales)} "
                "scales; give a row and a scale a piece"
            )
        dimensions, width = self.levels.shape[1], len(self.layer.shift)
        if (self.layer.widen.shape, self.layer.narrow.shape) != ((dimensions, width), (width, dimensions)):
            raise ConfigError(
                f"the table's layer has shapes {self.layer.widen.shape} and {self.layer.narrow.shape}; "
                f"expected {(dimensions, width)} and {(width, dimensions)}"
            )


class StaticTable:
    """Turn texts into vectors by a table of rows; it embeds as any other `Embedder`."""

    def __init__(self, rows: Rows, name: str) -> None:
        self._cutter = WordPiece(rows.pieces)
        self._levels = rows.levels
        self._scales = rows.scales
        self._layer = rows.layer
        self._name = name
        self.provenance = rows.provenance

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return int(self._levels.shape[1])

    @property
    def name(self) -> str:
        """Return what it is known by: its kind, and the first letters of the table's SHA-256."""
        return self._name

    def pieces(self, text: str) -> list[int]:
        """Return the numbers of a text's pieces that the table knows."""
        return self._cutter.numbers(text)

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, of length 1, or 0 where a text holds nothing the table knows."""
        return self._bent(self._sums(texts))

    def with_whole(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, and one of all of them joined by line ends: the sum of theirs, read no second time."""
        sums = self._sums(texts)
        return self._bent(np.concatenate([sums, sums.sum(axis=0, keepdims=True)]))

    def _sums(self, texts: Sequence[str]) -> Floats:
        sums = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), SUMMED_TEXTS):
            self._sum([self._cutter.packed(text) for text in texts[start : start + SUMMED_TEXTS]], sums[start:])
        return sums

    def _bent(self, sums: Floats) -> Floats:
        """Return sums through the layer, in place, and of length 1."""
        for start in range(0, len(sums), BENT_TEXTS):
            part = sums[start : start + BENT_TEXTS]
            part[:] = unit(part)
            part[:] = unit(np.where(part.any(axis=1, keepdims=True), self._layer.bend(part), 0))
        return sums

    def _sum(self, packed: Sequence[bytes], totals: Floats) -> None:
        """Sum the rows of each text's pieces into its row of `totals`: those of short texts are read in one go."""
        short = [each if len(each) < _LONG_BYTES else b"" for each in packed]
        held = np.frombuffer(b"".join(short), NUMBER)
        rows, weights = self._levels.take(held, axis=0).astype(np.float32), self._scales.take(held)
        end = 0
        for total, each, own in zip(totals, packed, short, strict=False):
            start, end = end, end + len(own) // _NUMBER_BYTES
            if own:
                np.dot(weights[start:end], rows[start:end], out=total)
            elif each:
                self._sum_long(np.frombuffer(each, NUMBER), total)

    def _sum_long(self, pieces: npt.NDArray[np.int32], total: Floats) -> None:
        """Sum the rows of a long text's pieces: words come again in it, so each row is read once, times its count."""
        held, counts = np.unique(pieces, return_counts=True)
        weights = (counts * self._scales.take(held)).astype(np.float32)
        np.dot(weights, self._levels.take(held, axis=0).astype(np.float32), out=total)


def _through(rows: Floats, matrix: Floats) -> Floats:
    """Return rows through a matrix. Of few rows each by itself: packing the matrix would take longer than that."""
    return (rows[:, None] @ matrix)[:, 0] if len(rows) <= FEW_TEXTS else rows @ matrix


def load() -> StaticTable:
    """Read the table that ships with the package."""
    return read_table((files("bursar.embed") / "data" / "static.npz").read_bytes())


def read_table(data: bytes) -> StaticTable:
    """Build a table from a file's bytes. Raises `ConfigError` for bytes that are none."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            rows = Rows(
                tuple(held["pieces"].tobytes().decode().split("\n")),
                held["levels"],
                held["scales"],
                Layer(*(held[name].astype(np.float32) for name in ("widen", "shift", "narrow"))),
                msgspec.json.decode(held["provenance"].tobytes(), type=Provenance),
            )
    except (ValueError, KeyError, EOFError, BadZipFile, msgspec.MsgspecError) as error:
        raise ConfigError(f"the embedding table cannot be read ({error}); bring a file of make_embedding") from error
    return StaticTable(rows, f"static-{sha256(data).hexdigest()[:12]}")


def write_table(rows: Rows) -> bytes:
    """Return a table as a file's bytes; the same table gives the same bytes."""
    file = io.BytesIO()
    np.savez(
        file,
        pieces=np.frombuffer("\n".join(rows.pieces).encode(), np.uint8),
        levels=rows.levels,
        scales=rows.scales,
        widen=rows.layer.widen.astype(np.float16),
        shift=rows.layer.shift.astype(np.float16),
        narrow=rows.layer.narrow.astype(np.float16),
        provenance=np.frombuffer(msgspec.json.encode(rows.provenance), np.uint8),
    )
    return file.getvalue()


def quantized(rows: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return rows as bytes with a scale each, so that a row's largest number is 127 of its scale."""
    scales = np.abs(rows).max(axis=1) / _LEVELS
    levels = np.rint(rows / np.where(scales > 0, scales, 1)[:, None])
    return levels.astype(np.int8), scales.astype(np.float32)
