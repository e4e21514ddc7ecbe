"""Run a small BERT in NumPy on weights somebody brings: a sentence's vector is the mean of its last layer.

What inference needs of Devlin et al., arXiv 1810.04805, pooled as sentence-transformers does. Texts of one length go
together, so nothing is padded and nothing masked.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from bursar.core.errors import ConfigError
from bursar.embed.embedder import Floats, unit
from bursar.embed.tokenize import WordPiece

PIECES_MAX: Final = 256  # what these models were trained to read at most; the rest of a text is left out
BATCH_PIECES_MAX: Final = 2_048  # a batch's pieces: its widest layer then stays within a core's cache
HEAD_WIDTH: Final = 32  # where the weights do not say how many heads there are; MiniLM's
_START: Final = "[CLS]"
_END: Final = "[SEP]"
_EPSILON: Final = 1e-12
_KINDS: Final[Mapping[str, npt.DTypeLike]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "F64": np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class Layer:
    """Hold one layer: matrices as (in, out), each with its bias, and the two norms' scale and shift."""

    attend: tuple[Floats, Floats]
    merge: tuple[Floats, Floats]
    widen: tuple[Floats, Floats]
    narrow: tuple[Floats, Floats]
    attended_norm: tuple[Floats, Floats]
    output_norm: tuple[Floats, Floats]


class Bert:
    """Turn texts into vectors by a BERT whose weights are given; it embeds as any other `Embedder`."""

    def __init__(self, weights: Mapping[str, Floats], vocabulary: Sequence[str], name: str, heads: int = 0) -> None:
        self._cutter = WordPiece(vocabulary)
        self._words = _weight(weights, "embeddings.word_embeddings.weight")
        if len(vocabulary) != len(self._words):
            raise ConfigError(
                f"vocabulary holds {len(vocabulary)} pieces and the weights {len(self._words)}; bring the file they "
                "were published with"
            )
        positions = _weight(weights, "embeddings.position_embeddings.weight")
        self._positions = positions + _weight(weights, "embeddings.token_type_embeddings.weight")[0]
        self._norm = _norm(weights, "embeddings")
        self._layers = tuple(_layers(weights))
        self._marks = _marks(vocabulary)
        self._heads = heads or self.dimensions // HEAD_WIDTH
        if self._heads < 1 or self.dimensions % self._heads:
            raise ConfigError(f"heads is {heads!r}; give a number that divides the width, {self.dimensions}")
        self._name = name

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return int(self._words.shape[1])

    @property
    def name(self) -> str:
        """Return what it is known by."""
        return self._name

    def pieces(self, text: str) -> list[int]:
        """Return the numbers of a text's pieces as the model reads them: cut at its limit, with start and end."""
        start, end = self._marks
        limit = min(PIECES_MAX, len(self._positions)) - 2
        return [start, *self._cutter.numbers(text)[:limit], end]

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, of length 1."""
        pieces = [self.pieces(text) for text in texts]
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for places in _alike(pieces):
            rows[places] = self._pooled(np.array([pieces[place] for place in places]))
        return unit(rows)

    def with_whole(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, and one of all of them joined by line ends."""
        return self.vectors([*texts, "\n".join(texts)])

    def piece_vectors(self, numbers: Sequence[int]) -> Floats:
        """Return a row a word piece read alone, between the marks of start and end, as long as it comes."""
        start, end = self._marks
        return self._pooled(np.array([(start, number, end) for number in numbers]))

    def _pooled(self, pieces: npt.NDArray[np.int64]) -> Floats:
        """Run texts of equal length, (texts, pieces), and return the mean of the last layer, (texts, dimensions)."""
        texts, length = pieces.shape
        state = _normed((self._words[pieces] + self._positions[:length]).reshape(texts * length, -1), self._norm)
        for layer in self._layers:
            state = self._step(layer, state, texts)
        return state.reshape(texts, length, -1).mean(axis=1)

    def _step(self, layer: Layer, state: Floats, texts: int) -> Floats:
        """Run one layer over (texts x pieces, dimensions)."""
        attended = self._attended(_through(state, layer.attend), texts)
        merged = _through(attended, layer.merge)
        merged += state
        state = _normed(merged, layer.attended_norm)
        out = _through(gelu(_through(state, layer.widen)), layer.narrow)
        out += state
        return _normed(out, layer.output_norm)

    def _attended(self, asked: Floats, texts: int) -> Floats:
        """Let each piece look at its text's pieces; `asked` holds queries, keys and values beside each other."""
        length = len(asked) // texts
        width = self.dimensions // self._heads
        split = asked.reshape(texts, length, 3, self._heads, width).transpose(2, 0, 3, 1, 4)
        scores = split[0] @ split[1].swapaxes(-1, -2)
        scores *= np.float32(1 / math.sqrt(width))
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ split[2]).transpose(0, 2, 1, 3).reshape(texts * length, -1)


def read_bert(safetensors: bytes, vocabulary: str, name: str = "", heads: int = 0) -> Bert:
    """Build a BERT from the bytes of a safetensors file and the text of a vocabulary, one piece a line.

    Raises `ConfigError` for a file that is none, or lacks a matrix.
    """
    known_by = name or f"bert-{sha256(safetensors).hexdigest()[:12]}"
    return Bert(read_safetensors(safetensors), vocabulary.removesuffix("\n").split("\n"), known_by, heads)


def read_safetensors(data: bytes) -> dict[str, Floats]:
    """Return a safetensors file's float matrices by name, as float32. Raises `ConfigError` for anything else.

    The format: 8 bytes of length, a JSON header with each tensor's kind, shape and place, then the numbers.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        if not 0 < length <= len(data) - 8:
            raise ValueError(f"{len(data):,} bytes cannot hold its header")
        header = msgspec.json.decode(data[8 : 8 + length], type=dict[str, dict[str, Any]])
        return {
            name: _tensor(data, 8 + length, entry) for name, entry in header.items() if entry.get("dtype") in _KINDS
        }
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"weights are no safetensors file ({error}); bring model.safetensors whole") from error


def gelu(values: Floats) -> Floats:
    """Return x * Phi(x), in place, by an erf good to 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    scaled = np.abs(values)
    scaled *= np.float32(math.sqrt(0.5))
    share = 1 / (1 + np.float32(0.3275911) * scaled)
    series = np.full_like(share, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series *= share
        series += np.float32(factor)
    series *= share
    np.multiply(scaled, scaled, out=scaled)
    series *= np.exp(-scaled)
    error = np.copysign(1 - series, values)
    error += 1
    values *= error
    values *= np.float32(0.5)
    return values


def _tensor(data: bytes, start: int, entry: Mapping[str, Any]) -> Floats:
    """Read one tensor's numbers."""
    low, high = entry["data_offsets"]
    if start + high > len(data):
        raise ValueError(f"{len(data):,} bytes where {start + high:,} were announced")
    numbers = np.frombuffer(data[start + low : start + high], _KINDS[entry["dtype"]])
    return numbers.reshape(entry["shape"]).astype(np.float32)


def _weight(weights: Mapping[str, Floats], name: str) -> Floats:
    """Return a weight, whether or not the model's name stands before it."""
    found = weights.get(name, weights.get(f"bert.{name}"))
    if found is None:
        raise ConfigError(f"weights lack {name}; bring those of a BERT")
    return found


def _dense(weights: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:
    """Return a matrix as (in, out) with its bias."""
    return np.ascontiguousarray(_weight(weights, f"{name}.weight").T), _weight(weights, f"{name}.bias")


def _norm(weights: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:
    """Return a norm's scale and shift."""
    return _weight(weights, f"{name}.LayerNorm.weight"), _weight(weights, f"{name}.LayerNorm.bias")


def _layers(weights: Mapping[str, Floats]) -> Iterator[Layer]:
    """Give the layers in order."""
    number = 0
    while any(name.removeprefix("bert.").startswith(f"encoder.layer.{number}.") for name in weights):
        at = f"encoder.layer.{number}"
        parts = [_dense(weights, f"{at}.attention.self.{part}") for part in ("query", "key", "value")]
        yield Layer(
            attend=(
                np.ascontiguousarray(np.concatenate([matrix for matrix, _ in parts], axis=1)),
                np.concatenate([bias for _, bias in parts]),
            ),
            merge=_dense(weights, f"{at}.attention.output.dense"),
            widen=_dense(weights, f"{at}.intermediate.dense"),
            narrow=_dense(weights, f"{at}.output.dense"),
            attended_norm=_norm(weights, f"{at}.attention.output"),
            output_norm=_norm(weights, f"{at}.output"),
        )
        number += 1


def _marks(vocabulary: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of the marks of start and end."""
    try:
        return vocabulary.index(_START), vocabulary.index(_END)
    except ValueError as error:
        raise ConfigError(f"vocabulary lacks {_START} or {_END}; bring a BERT's vocab.txt") from error


def _through(rows: Floats, dense: tuple[Floats, Floats]) -> Floats:
    """Return rows through a matrix, with its bias."""
    out = rows @ dense[0]
    out += dense[1]
    return out


def _normed(rows: Floats, norm: tuple[Floats, Floats]) -> Floats:
    """Bring rows to mean 0 and deviation 1, then scale and shift them, in place."""
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows)[:, None] / np.float32(rows.shape[1]) + np.float32(_EPSILON))
    rows *= norm[0]
    rows += norm[1]
    return rows


def _alike(pieces: Iterable[Sequence[int]]) -> Iterator[list[int]]:
    """Give the places of texts of one length, so many at a time that a batch stays small."""
    by_length: dict[int, list[int]] = {}
    for place, found in enumerate(pieces):
        by_length.setdefault(len(found), []).append(place)
    for length, places in sorted(by_length.items()):
        step = max(1, BATCH_PIECES_MAX // length)
        yield from (places[start : start + step] for start in range(0, len(places), step))
