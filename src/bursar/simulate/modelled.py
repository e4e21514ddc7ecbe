"""Time steps by the physics of a deployment: predicted once for each place of a grid, then looked up."""

from dataclasses import replace
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.calibration import Calibration
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.serving import MEMORY_SHARE, OTHER_BYTES, cache_bytes_per_chip, weight_bytes_per_chip
from bursar.physics.step import step
from bursar.physics.work import Kind
from bursar.simulate.engine import BLOCK_TOKENS
from bursar.simulate.timer import Line

_ASIDE: Final = (Kind.DECODE, Kind.PREFILL, "chunks")
_CONTEXT: Final = 256
_TOKENS: Final = 32
_FEW: Final = 256
_CHUNK: Final = 64
_PAST: Final = 256
_TYPICAL_TOKENS: Final = 4096
_LEAST: Final = 1e-9


class Modelled:
    """Look up the times of a deployment's steps, and predict those not asked for yet.

    What passes through every layer costs by the tokens of the step, the head and the batch's upkeep by its sequences,
    attention by batch and context: the three are predicted apart and added, as `physics.step` does. Between the places
    of the grid (each number of tokens to 256, then every 32nd; 256 tokens of context a sequence, doubling from there)
    they are lines; the error of that is below two percent of a step.
    """

    __slots__ = (
        "_attention",
        "_calibration",
        "_chunks",
        "_deployment",
        "_layers",
        "_lines",
        "_prompts",
        "_sequences",
        "_start",
    )

    def __init__(self, deployment: Deployment, calibration: Calibration) -> None:
        self._deployment, self._calibration = deployment, calibration
        self._lines: dict[tuple[int, int], Line] = {}
        self._attention: dict[tuple[int, int], tuple[float, float]] = {}
        self._layers: dict[int, float] = {}
        self._sequences: dict[int, float] = {}
        self._prompts: dict[tuple[int, int], float] = {}
        self._chunks: tuple[float, float] | None = None
        self._start = self._part(Kind.PREFILL, Batch(0.0, 0.0, _LEAST, 1.0))

    def decode(self, decodes: int, context: int) -> Line:
        """Give the line on which steps of `decodes` sequences lie that hold `context` tokens in the cache together."""
        place = _place(context // decodes)
        found = self._lines.get((decodes, place))
        if found is None:
            base, slope = self._attend(decodes, place)
            base += self._through_exactly(decodes) + self._upkeep(decodes)
            found = self._lines[decodes, place] = (base, slope, float(_edge(place + 1) * decodes - 1))
        return found

    def mixed(self, decodes: int, context: int, prefill: int, chunks: int, past: float) -> float:
        """Give the seconds of a step that also reads `prefill` tokens of `chunks` prompts, after `past` each."""
        seconds = self._through(decodes + prefill) + self._upkeep(decodes + chunks)
        seconds += chunks * self._read(prefill / chunks, past) + self._begin(prefill)
        if decodes:
            base, slope = self._attend(decodes, _place(context // decodes))
            seconds += base + slope * context
        return seconds

    def _through(self, tokens: int) -> float:
        """Predict the layers' matrices for the tokens of a step, but for attention."""
        if tokens <= _FEW:
            return self._through_exactly(tokens)
        place, beyond = divmod(tokens, _TOKENS)
        low, high = self._through_exactly(place * _TOKENS), self._through_exactly((place + 1) * _TOKENS)
        return low + (high - low) * beyond / _TOKENS

    def _through_exactly(self, tokens: int) -> float:
        found = self._layers.get(tokens)
        if found is None:
            found = self._layers[tokens] = self._without_attention(Batch(1, 0.0, tokens - 1, 1e-9))
        return found

    def _upkeep(self, sequences: int) -> float:
        """Predict what each sequence beyond the first adds in a step, whatever its tokens."""
        found = self._sequences.get(sequences)
        if found is None:
            many = self._without_attention(Batch(float(sequences)))
            found = self._sequences[sequences] = many - self._through_exactly(sequences)
        return found

    def _without_attention(self, batch: Batch) -> float:
        taken = step(self._deployment, batch, self._calibration)
        return taken.seconds - sum(taken.parts_s.get(kind, 0.0) for kind in _ASIDE)

    def _attend(self, decodes: int, place: int) -> tuple[float, float]:
        """Predict the attention of decoding sequences, as a line over their context together."""
        found = self._attention.get((decodes, place))
        if found is None:
            left, right = _edge(place), _edge(place + 1)
            low, high = (self._part(Kind.DECODE, Batch(decodes, float(each))) for each in (left, right))
            slope = (high - low) / (right - left) / decodes
            found = self._attention[decodes, place] = (low - slope * left * decodes, slope)
        return found

    def _read(self, chunk: float, past: float) -> float:
        """Predict the attention of one prompt's chunk: that of the nearest place, by the pairs of tokens in each."""
        whole = round(chunk)
        place = whole if whole < _CHUNK else round(chunk / _CHUNK) * _CHUNK, round(past / _PAST)
        found = self._prompts.get(place)
        if found is None:
            tokens, before = float(place[0]), float(place[1] * _PAST)
            seconds = self._part(Kind.PREFILL, Batch(0.0, 0.0, tokens, 1.0, before)) - self._start
            found = self._prompts[place] = seconds / (tokens * (before + tokens / 2))
        return found * chunk * (past + chunk / 2)

    def _begin(self, prefill: int) -> float:
        """Give what a step takes more because it reads prompts at all, and for each of their tokens: a line."""
        if self._chunks is None:
            none, one = (self._part("chunks", Batch(0.0, 0.0, tokens, 1.0)) for tokens in (_LEAST, 1.0))
            self._chunks = (none + self._start, one - none)
        return self._chunks[0] + self._chunks[1] * prefill

    def _part(self, kind: str, batch: Batch) -> float:
        return step(self._deployment, batch, self._calibration).parts_s.get(kind, 0.0)


def blocks_beside(deployment: Deployment) -> int:
    """Count the blocks of cache that fit beside the weights of one replica.

    A block's size is that of a typical context of 4,096 tokens, since a window of a layer holds no more than its size.
    Raises `ConfigError` where the weights alone do not fit.
    """
    usable = deployment.chip.memory_bytes * MEMORY_SHARE - OTHER_BYTES
    weights = weight_bytes_per_chip(deployment)
    block = cache_bytes_per_chip(deployment, _TYPICAL_TOKENS) * BLOCK_TOKENS / _TYPICAL_TOKENS
    blocks = deployment.groups * int((usable - weights) // block) if block else 0
    if blocks < 1:
        alone = weight_bytes_per_chip(replace(deployment, chips=1, tensor=1, expert=1))
        raise ConfigError(
            f"{deployment.chips} x {deployment.chip.name} do not hold {deployment.shape.name} in {deployment.weights}: "
            f"its weights take {alone / 1e9:.0f} GB of {usable / 1e9:.0f} GB a chip; give more chips with --gpus, or "
            f"weights of fewer bits"
        )
    return blocks


def _place(context: int) -> int:
    """Give the place of a context in the grid: 0 below 256 tokens, then one more with each doubling."""
    return (context // _CONTEXT).bit_length()


def _edge(place: int) -> int:
    return _CONTEXT << (place - 1) if place else 0
