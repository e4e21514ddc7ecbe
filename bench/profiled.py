"""Time steps by tables of measured parts: attention by shape, layers by tokens, head and sampler by sequences.

The tables are those of shared/data/llmservingsim (`profiler/perf`), measured part by part on an idle engine, not taken
from any run. Between their places the times are lines. Nothing is fitted and nothing is added.
"""

import csv
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

from bursar.simulate.timer import Line

_LAYERS: Final = 32
_IN_A_LAYER: Final = {
    "layernorm": 2, "qkv_proj": 1, "rotary_emb": 1, "o_proj": 1, "gate_up_proj": 1, "act_fn": 1, "down_proj": 1,
}  # fmt: skip
_ONCE: Final = ("embedding", "final_layernorm")
_SIZES: Final = [16 << power for power in range(11)]
_SEQUENCES: Final = [1 << power for power in range(9)]
_CHUNKS: Final = _SIZES[:8]


class Curve:
    """Hold a measured curve; between its places it is a line, beyond the last the line goes on."""

    def __init__(self, points: Mapping[int, float]) -> None:
        self.places = sorted(points)
        self.values = [points[place] for place in self.places]

    def at(self, place: float) -> float:
        """Give the value at a place."""
        left = _left(self.places, place)
        slope = (self.values[left + 1] - self.values[left]) / (self.places[left + 1] - self.places[left])
        return self.values[left] + slope * (place - self.places[left])


class Profiled:
    """Time the steps of Llama-3.1-8B on one chip from its folder of tables."""

    def __init__(self, folder: Path) -> None:
        dense, ends = _curves(folder / "dense.csv", "tokens"), _curves(folder / "per_sequence.csv", "sequences")
        tokens = dense["qkv_proj"]
        self._tokens = Curve(
            {
                each: _LAYERS * sum(times * dense[name][each] for name, times in _IN_A_LAYER.items())
                + sum(dense[name][each] for name in _ONCE)
                for each in tokens
            }
        )
        self._ends = Curve({each: ends["lm_head"][each] + ends["sampler"][each] for each in ends["lm_head"]})
        with (folder / "attention.csv").open(newline="") as file:
            columns = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
            self._attention = {
                tuple(int(row[name]) for name in columns): float(row["time_us"]) for row in csv.DictReader(file)
            }
        self._past = [0, *_SIZES]
        self._batches = [0, *_SEQUENCES[:8]]

    def decode(self, decodes: int, context: int) -> Line:
        """Give the line on which steps of `decodes` sequences lie that hold `context` tokens in the cache together."""
        mean = context / decodes
        left, right = _SIZES[_left(_SIZES, mean)], _SIZES[_left(_SIZES, mean) + 1]
        low, high = self._decoding(decodes, left), self._decoding(decodes, right)
        slope = _LAYERS * (high - low) / (right - left) / decodes
        base = self._tokens.at(decodes) + self._ends.at(decodes) + _LAYERS * low - slope * left * decodes
        until = float("inf") if right == _SIZES[-1] else right * decodes - 1.0
        return base * 1e-6, slope * 1e-6, until

    def mixed(self, decodes: int, context: int, prefill: int, chunks: int, past: float) -> float:
        """Give the seconds of a step that also reads prompts.

        Beside a prompt's chunk, decoding sequences are far slower than alone, as the tables have it; the chunks after
        the first cost what each does alone.
        """
        chunk, mean = prefill / chunks, context / decodes if decodes else 0.0
        attention = self._together(chunk, past, decodes, mean) + (chunks - 1) * self._together(chunk, past, 0, 0)
        return (self._tokens.at(decodes + prefill) + self._ends.at(decodes + chunks) + _LAYERS * attention) * 1e-6

    def _decoding(self, decodes: int, mean: int) -> float:
        left = _left(_SEQUENCES, decodes)
        few, many = _SEQUENCES[left], _SEQUENCES[left + 1]
        # The largest batch was measured with small contexts only: beyond, the slope of the ones below goes on.
        if (0, 0, many, mean) not in self._attention:
            few, many = _SEQUENCES[left - 1], _SEQUENCES[left]
        low, high = self._attention[0, 0, few, mean], self._attention[0, 0, many, mean]
        return low + (high - low) * (decodes - few) / (many - few)

    def _together(self, chunk: float, past: float, decodes: int, mean: float) -> float:
        """Interpolate between the sixteen places around a shape."""
        axes = (_corner(_CHUNKS, chunk), _corner(self._past, past), _corner(self._batches, decodes))
        sides = [*axes, _corner(_SIZES, mean) if decodes else ((0, 1.0),)]
        total = 0.0
        for corner in product(*sides):
            share = 1.0
            for _, weight in corner:
                share *= weight
            if share:
                size, before, batch, held = (place for place, _ in corner)
                total += share * self._attention[size, before, batch, held if batch else 0]
        return total


def _left(places: Sequence[int], place: float) -> int:
    return min(max(bisect_right(places, place) - 1, 0), len(places) - 2)


def _corner(places: Sequence[int], place: float) -> tuple[tuple[int, float], tuple[int, float]]:
    left = _left(places, place)
    share = (place - places[left]) / (places[left + 1] - places[left])
    return (places[left], 1 - share), (places[left + 1], share)


def _curves(path: Path, column: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["layer"], {})[int(row[column])] = float(row["time_us"])
    return found
