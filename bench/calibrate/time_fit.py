"""Fit the rates of step time on runs: damped Gauss-Newton on ln(predicted / measured), held near what is known before.

A rate of a run is a base times factors: of its engine, of Blackwell against Hopper, of a laboratory's way to measure.
Bases start from kernel tables and data sheets, factors from 1; a penalty holds each to where it starts, so that an
engine or a model seen little keeps the pooled value.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.calibrate.time_priors import Prior, Scheme
from bench.calibrate.time_table import ENGINES, FORMATS, FULL, HALF, MIXED, STEPS, Array, Flags, Pieces, Table
from bursar.physics.work import Kind

_SHARPNESS: Final = 4.0
_ITERATIONS: Final = 40
_STEP_MAX: Final = 0.5
_ROUNDS: Final = 8
_DAMPING_MAX: Final = 1e5
_STILL: Final = 2e-5
_STILL_ROUNDS: Final = 3
TPOT_SCALE: Final = 0.1
TTFT_SCALE: Final = 0.3
TTFT_WEIGHT: Final = 0.5
QUEUED_S: Final = 10.0
"""A time to the first token above this is queueing before a full pool (SOURCE.md); no fit looks at it."""


@dataclass(frozen=True)
class Names:
    """Hold the parameters' names, where each starts and how firmly it is held, and the factors' runs."""

    names: tuple[str, ...]
    start: Array
    held: Array
    base: Mapping[str, int]
    factors: tuple[tuple[int, Flags], ...]


def names_of(table: Table, scheme: Scheme) -> Names:
    """Lay out the parameters of a scheme for a table."""
    base = {name: place for place, name in enumerate(scheme.bases)}
    priors: dict[str, Prior] = dict(scheme.bases)
    factors: list[tuple[int, Flags]] = []
    for name, prior in scheme.factors.items():
        of, _, who = name.partition("@")
        priors[name] = prior
        factors.append((base[of], _who(table, who)))
    start = np.log([prior.start for prior in priors.values()])
    return Names(tuple(priors), start, np.array([prior.held for prior in priors.values()]), base, tuple(factors))


def _who(table: Table, who: str) -> Flags:
    if who in ENGINES:
        return np.asarray(table.engine == ENGINES.index(who))
    return {"blackwell": table.blackwell, "lab": table.lab}[who]


def rates(names: Names, point: Array, runs: int) -> Array:
    """Give each base's value in each run."""
    logs = np.repeat(point[: len(names.base), None], runs, 1)
    for place, (base, who) in enumerate(names.factors, len(names.base)):
        logs[base] += point[place] * who
    return np.asarray(np.exp(logs))


def rates_for(names: Names, point: Array, who: Iterable[str]) -> dict[str, float]:
    """Multiply each base with the factors of an engine, a generation, a laboratory."""
    logs = dict(zip(names.names, point.tolist(), strict=True))
    chosen = tuple(who)
    return {name: math.exp(logs[name] + sum(logs.get(f"{name}@{each}", 0.0) for each in chosen)) for name in names.base}


@dataclass
class Steps:
    """Gather the seconds of each run's steps, and how they move with the logarithm of each rate."""

    table: Table
    names: Names
    rates: Array
    seconds: Array = field(init=False)
    moves: dict[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Sum the pieces and the overheads."""
        self.seconds = self.table.counts["head"].copy()
        pieces = self.table.pieces
        by_format = tuple(f"linear_{name}" for name in FORMATS)
        self._matrix(pieces[Kind.LINEAR], "linear", by_format)
        self._matrix(pieces[Kind.EXPERTS], "experts", tuple(f"experts_{name}" for name in FORMATS))
        for kind in (Kind.DECODE, Kind.PREFILL, Kind.STATE):
            self._matrix(pieces[kind], str(kind), (f"{kind}_compute",) * len(FORMATS))
        for kind in (Kind.ALL_REDUCE, Kind.ALL_TO_ALL):
            self._link(pieces[kind], str(kind))
        for name, count in self.table.counts.items():
            if name in self.names.base:
                self._add(name, count * self.of(name)[:, None], 1.0)

    def of(self, name: str) -> Array:
        """Give a rate in each run."""
        return np.asarray(self.rates[self.names.base[name]])

    def _summed(self, pieces: Pieces, seconds: Array) -> Array:
        runs = len(self.table.runs)
        summed = np.bincount(pieces.key, weights=seconds, minlength=STEPS * runs)
        return np.asarray(summed.reshape(runs, STEPS), dtype=np.float64)

    def _add(self, name: str, seconds: Array, power: float) -> None:
        self.seconds += seconds
        self._move(name, power * seconds)

    def _move(self, name: str, by: Array) -> None:
        place = self.names.base[name]
        self.moves[place] = self.moves.get(place, 0.0) + by

    def _link(self, pieces: Pieces, kind: str) -> None:
        for name, seconds, power in (("link", pieces.link_s, -1.0), ("s", 1.0, 1.0), ("peer_s", pieces.peers, 1.0)):
            full = f"{kind}_{name}"
            if full in self.names.base:
                self._add(
                    full, self._summed(pieces, pieces.count * seconds * self.of(full)[pieces.run] ** power), power
                )

    def _matrix(self, pieces: Pieces, kind: str, by_format: tuple[str, ...]) -> None:
        memory_s, rows, by_skew = self._moved(pieces, kind)
        moving = memory_s / self.of(f"{kind}_memory")[pieces.run]
        share = np.stack([self.of(name) for name in by_format])[pieces.format, pieces.run]
        least = self.of(f"{kind}_rows")[pieces.run] if f"{kind}_rows" in self.names.base else np.zeros_like(rows)
        computing = pieces.compute_s / share * (1 + least / np.maximum(rows, 1e-9))
        both = moving**_SHARPNESS + computing**_SHARPNESS + 1e-80
        seconds = pieces.count * both ** (1 / _SHARPNESS)
        of_memory = moving**_SHARPNESS / both
        self.seconds += self._summed(pieces, seconds)
        self._move(f"{kind}_memory", -self._summed(pieces, seconds * of_memory))
        for place, name in enumerate(by_format if len(set(by_format)) > 1 else by_format[:1]):
            mine = pieces.format == place if len(set(by_format)) > 1 else True
            self._move(name, -self._summed(pieces, seconds * (1 - of_memory) * mine))
        if f"{kind}_rows" in self.names.base:
            self._move(f"{kind}_rows", self._summed(pieces, seconds * (1 - of_memory) * least / (rows + least + 1e-9)))
        if by_skew is not None:
            self._move("experts_skew", self._summed(pieces, seconds * of_memory * by_skew))
        self._add(f"{kind}_s", self._summed(pieces, pieces.count * self.of(f"{kind}_s")[pieces.run]), 1.0)

    def _moved(self, pieces: Pieces, kind: str) -> tuple[Array, Array, Array | None]:
        """Give the seconds at full bandwidth, the rows a piece has, and how the first moves with the skew."""
        if kind != "experts":
            return pieces.memory_s, pieces.rows, None
        count, active, tokens, one_s, rows_s = pieces.experts.T
        skew = self.of("experts_skew")[pieces.run]
        missed = np.log1p(-active / count)
        left = np.exp(missed * np.minimum(tokens, 1 + (tokens - 1) * skew))
        touched = count * (1 - left)
        memory_s = touched * one_s + rows_s
        by_skew = -count * left * missed * np.maximum(tokens - 1, 0) * skew * one_s / np.maximum(memory_s, 1e-30)
        return memory_s, tokens * active / np.maximum(touched, 1e-9), by_skew


@dataclass(frozen=True)
class Answer:
    """Hold the seconds a run's clients see, and how they move with each parameter."""

    tpot_s: Array
    ttft_s: Array
    tpot_moves: Array
    ttft_moves: Array


def answer(table: Table, names: Names, point: Array) -> Answer:
    """Predict all runs as `physics.loop` does, but with decode steps on a line between half and all that are asked."""
    steps = Steps(table, names, rates(names, point, len(table.runs)))
    seconds, at_once = steps.seconds, np.minimum(table.concurrency, table.room)
    read_s = (seconds[:, MIXED] - seconds[:, FULL]) * table.parts
    prompt_s = read_s / table.prompts
    wave = np.where(table.lab, steps.of("wave"), steps.of("wave_spread"))
    others = at_once - 1
    turn = _turn(table, seconds, read_s, wave, at_once)
    first_s, share = steps.of("first_token_s"), steps.of("first_token_share")
    ttft_s = first_s + share * read_s + wave * others * prompt_s + table.wait_steps * turn.decode_s
    queue = table.concurrency / at_once - 1
    tpot_moves, ttft_moves = _moves(table, names, steps, wave, turn.beyond)
    base = names.base
    ttft_moves[:, base["first_token_s"]] = first_s
    ttft_moves[:, base["first_token_share"]] = share * read_s
    for name, mine in (("wave", table.lab), ("wave_spread", ~table.lab)):
        tpot_moves[:, base[name]] = -wave * others * prompt_s / table.output * mine
        ttft_moves[:, base[name]] = wave * others * prompt_s * mine
    ttft_moves = ttft_moves * (1 + queue)[:, None] + (queue * table.output)[:, None] * tpot_moves
    for place, (of, who) in enumerate(names.factors, len(base)):
        tpot_moves[:, place] = tpot_moves[:, of] * who
        ttft_moves[:, place] = ttft_moves[:, of] * who
    waited_s = ttft_s + queue * (turn.writing_s + ttft_s)
    return Answer(turn.writing_s / table.output, waited_s, tpot_moves, ttft_moves)


@dataclass(frozen=True)
class _Turn:
    """Hold a request's turn: the seconds it writes, those of a decode step, and which batch these are of."""

    writing_s: Array
    decode_s: Array
    beyond: Array  # 1 where all that are asked for decode, 0 for half of them


def _turn(table: Table, seconds: Array, read_s: Array, wave: Array, at_once: Array) -> _Turn:
    others_s = (at_once - 1) * read_s / table.prompts
    decoding = at_once / table.concurrency

    def at(decoding: Array) -> _Turn:
        beyond = np.maximum(2 * decoding - 1, -0.8)
        decode_s = seconds[:, HALF] + (seconds[:, FULL] - seconds[:, HALF]) * beyond
        return _Turn(table.steps * decode_s + (1 - wave) * others_s, decode_s, beyond)

    for _ in range(_ROUNDS - 1):
        turn = at(decoding)
        waiting_s = read_s + wave * others_s + table.wait_steps * turn.decode_s
        share = turn.writing_s / (turn.writing_s + waiting_s)
        decoding = (decoding + at_once / table.concurrency * share) / 2
    return at(decoding)


def _moves(table: Table, names: Names, steps: Steps, wave: Array, beyond: Array) -> tuple[Array, Array]:
    """Say how times move with the bases through the steps, how many decode held still."""
    others = np.minimum(table.concurrency, table.room) - 1
    tpot = np.zeros((len(table.runs), len(names.names)))
    ttft = np.zeros_like(tpot)
    for base, by in steps.moves.items():
        decode = by[:, HALF] + (by[:, FULL] - by[:, HALF]) * beyond
        read = (by[:, MIXED] - by[:, FULL]) * table.parts
        prompt = read / table.prompts
        tpot[:, base] = (table.steps * decode + (1 - wave) * others * prompt) / table.output
        share = steps.of("first_token_share")
        ttft[:, base] = table.wait_steps * decode + share * read + wave * others * prompt
    return tpot, ttft


def fit(table: Table, scheme: Scheme, train: Flags) -> tuple[Names, Array]:
    """Fit the parameters of a scheme on the runs of `train`, by a loss in which a run far off counts little more."""
    names = names_of(table, scheme)
    point, damping, still = names.start.copy(), 1e-2, 0
    found = answer(table, names, point)
    cost = _cost(table, names, point, found, train)
    for _ in range(_ITERATIONS):
        curve, slope = _normal(table, names, point, found, train)
        before = cost
        while damping < _DAMPING_MAX:
            move = np.linalg.solve(curve + damping * np.diag(np.diag(curve)), -slope)
            there = point + np.clip(move, -_STEP_MAX, _STEP_MAX)
            found_there = answer(table, names, there)
            cost_there = _cost(table, names, there, found_there, train)
            if cost_there < cost:
                point, found, cost, damping = there, found_there, cost_there, damping / 5
                break
            damping *= 5
        still = still + 1 if before - cost < _STILL * before else 0
        if still == _STILL_ROUNDS or damping >= _DAMPING_MAX:
            break
    return names, point


def _terms(table: Table, found: Answer, train: Flags) -> list[tuple[Array, Array, float]]:
    """Give the scaled residuals, how they move, and the weight of each of the two measured times."""
    seen = train & (table.ttft_s < QUEUED_S)
    terms: list[tuple[Array, Array, float]] = []
    for told, moves, measured, of, scale, weight in (
        (found.tpot_s, found.tpot_moves, table.tpot_s, train, TPOT_SCALE, 1.0),
        (found.ttft_s, found.ttft_moves, table.ttft_s, seen, TTFT_SCALE, TTFT_WEIGHT),
    ):
        by = table.weight[of] / scale
        terms.append((np.log(told / measured)[of] * by, (moves / told[:, None])[of] * by[:, None], weight))
    return terms


def _cost(table: Table, names: Names, point: Array, found: Answer, train: Flags) -> float:
    held = float(np.sum(((point - names.start) / names.held) ** 2))
    for off, _, weight in _terms(table, found, train):
        held += weight * float(np.sum(np.log1p(off * off)))
    return held


def _normal(table: Table, names: Names, point: Array, found: Answer, train: Flags) -> tuple[Array, Array]:
    firm = names.held**-2.0
    curve, slope = np.diag(firm), firm * (point - names.start)
    for off, moves, weight in _terms(table, found, train):
        tamed = (1 + off * off) ** -0.5 * weight**0.5
        bent = moves * tamed[:, None]
        curve, slope = curve + bent.T @ bent, slope + bent.T @ (off * tamed)
    return curve, slope


def spread(table: Table, names: Names, point: Array, train: Flags) -> Array:
    """Give the standard error of each parameter's logarithm, from how sharply the cost bends at the fit."""
    curve, _ = _normal(table, names, point, answer(table, names, point), train)
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(curve))))
