"""Say how fast a replica serves a traffic: the batch it runs, the seconds each kind of token takes, what binds."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.calibration import Calibration
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.shape import Attention, Compressed, Layer
from bursar.physics.step import Step, step
from bursar.physics.work import Kind, work_of

MEMORY_SHARE: Final = 0.9
"""What an engine takes of a chip's memory, as vLLM does unless told otherwise."""
OTHER_BYTES: Final = 3_758_096_384
"""What else lies in it beside weights and cache: activations, graphs, buffers (aiconfigurator's system files)."""
PREFILL_TOKENS: Final = 8_192
"""How many tokens of prompts are read in one step, as vLLM does unless told otherwise."""
_CHIPS_MAX: Final = 256  # more than any model's heads can be spread over
_LINKS: Final = (Kind.ALL_REDUCE, Kind.ALL_TO_ALL)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Hold what one request is on average: tokens in and out, and the share of the input a cache already holds."""

    input_tokens: int
    output_tokens: int
    cached_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, tokens in (("input_tokens", self.input_tokens), ("output_tokens", self.output_tokens)):
            if tokens < 1:
                raise ConfigError(f"{name} is {tokens}; it is a number of tokens of at least 1")
        if not 0 <= self.cached_share < 1:
            raise ConfigError(f"cached_share is {self.cached_share}; it is a share of the input, from 0 to below 1")

    @property
    def cached_tokens(self) -> float:
        """Count the tokens of the input that are read from a cache."""
        return self.input_tokens * self.cached_share

    @property
    def fresh_tokens(self) -> float:
        """Count the tokens of the input that are computed."""
        return self.input_tokens - self.cached_tokens

    @property
    def decoded_tokens(self) -> int:
        """Count the tokens of the answer that decode steps give: all but the first, which the prompt's step gives."""
        return self.output_tokens - 1

    @property
    def tokens(self) -> int:
        """Count all tokens a request holds at its end."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Promise:
    """Hold what is promised: the mean time per output token, or the sequences in flight where `batch` fixes them.

    Where prefill is `apart`, on chips of its own, prompts do not hold up the answers.
    """

    tpot_ms: float = 50.0
    batch: int | None = None
    batch_max: int = 1_024
    apart: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 < self.tpot_ms < math.inf:
            raise ConfigError(f"slo_tpot_ms is {self.tpot_ms}; it must be above 0 (milliseconds a token)")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch is {self.batch}; it is a number of sequences of at least 1")


@dataclass(frozen=True, slots=True)
class Guess:
    """Hold how a step guesses ahead: `draft` tokens a sequence, of which with the sure one `accepted` stay."""

    draft: int = 0
    accepted: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.draft < 0 or not 1 <= self.accepted <= self.draft + 1:
            raise ConfigError(
                f"accepted is {self.accepted} tokens a step with {self.draft} drafted; it lies between 1 and one more"
            )


@dataclass(frozen=True, slots=True)
class Pace:
    """Hold what serving a traffic takes: seconds of the whole replica for one token of each kind.

    `fresh_s` holds the attention of a computed token to the cached ones before it; `cached_s` is for loading a token
    from the host's memory. `output_s` spreads the decode steps over all tokens of the answer, the first among them,
    which the prompt's step gives. `tpot_s` is the mean time of each token after the first. `error` is the half width of
    the 90 % interval of ln(seconds). `binds` says of the prefill and the decode step which share of the time is bound
    by memory, compute, link and overhead. `limit` says what keeps the batch from being larger. `reading` and `writing`
    are the two steps' batches.
    """

    batch: int
    limit: str
    fresh_s: float
    cached_s: float
    output_s: float
    tpot_s: float
    reading: Batch
    prefill: Step
    writing: Batch
    decode: Step
    error: float
    binds: Mapping[str, Mapping[str, float]]
    extrapolates: tuple[str, ...]

    def request_s(self, traffic: Traffic) -> float:
        """Give the seconds of the replica one request takes."""
        reading = self.fresh_s * traffic.fresh_tokens + self.cached_s * traffic.cached_tokens
        return reading + self.output_s * traffic.output_tokens


def pace(
    deployment: Deployment, traffic: Traffic, promise: Promise, calibration: Calibration, guess: Guess | None = None
) -> Pace:
    """Find the largest batch that keeps the promise and fits the memory, and say how fast it goes.

    Prompts are read in steps of their own, answers written in others; in one engine they take turns, so the time per
    output token counts both unless prefill is apart. Raises `ConfigError` where the chips do not hold the model
    or one sequence alone breaks the promise.
    """
    guess = guess or Guess()
    reading = _reading(deployment, traffic, calibration)
    room = sequences_max(deployment, traffic.tokens)

    def tpot_s(batch: int) -> float:
        decode = _decode(deployment, traffic, calibration, batch, guess)
        # While an answer is written, each other place in the batch is taken anew once, and its prompt read.
        prompts = 0.0 if promise.apart or not traffic.decoded_tokens else (batch - 1) / traffic.decoded_tokens
        return decode.seconds / guess.accepted + prompts * reading.request_s

    batch, limit = _batch(deployment, promise, room, tpot_s)
    writing, writes = _decoding(traffic, batch, guess), traffic.decoded_tokens > 0
    decode = _decode(deployment, traffic, calibration, batch, guess)
    return Pace(
        batch=batch,
        limit=limit,
        fresh_s=reading.fresh_s,
        cached_s=reading.cached_s,
        output_s=decode.seconds / batch / guess.accepted * traffic.decoded_tokens / traffic.output_tokens,
        tpot_s=tpot_s(batch),
        reading=reading.batch,
        prefill=reading.step,
        writing=writing,
        decode=decode,
        error=max(math.log(each.high_s / each.seconds) for each in (reading.step, decode)),
        binds={
            "prefill": bound(deployment, reading.batch, reading.step),
            "decode": bound(deployment, writing, decode),
        },
        extrapolates=tuple(dict.fromkeys((*reading.step.extrapolates, *(decode.extrapolates if writes else ())))),
    )


def sequences_max(deployment: Deployment, tokens: int) -> int:
    """Count the sequences of `tokens` that fit beside the weights. Raises `ConfigError` where not even these fit."""
    usable = deployment.chip.memory_bytes * MEMORY_SHARE - OTHER_BYTES
    free = usable - weight_bytes_per_chip(deployment)
    one = cache_bytes_per_chip(deployment, tokens)
    room = deployment.groups * int(free // one) if one else deployment.groups * 1_000_000
    if room < 1:
        raise ConfigError(_does_not_fit(deployment, tokens, usable))
    return room


def weight_bytes_per_chip(deployment: Deployment) -> float:
    """Give the bytes of weights each chip holds; tables of words stay in bf16."""
    shape = deployment.shape
    tables = shape.head_weights * (1 if shape.tied else 2)
    each = 2 if deployment.keeps_bf16 else deployment.weight_bytes
    mixed = (shape.everyone_weights - shape.head_weights) * each + tables * 2
    return mixed / deployment.tensor + shape.expert_weights * deployment.weight_bytes / deployment.chips


def cache_bytes_per_chip(deployment: Deployment, tokens: int) -> float:
    """Give the bytes of cache each chip of a group holds for one sequence of `tokens`."""
    return sum(_held(deployment, layer, tokens) for layer in deployment.shape.layers) * deployment.cache_bytes


def bound(deployment: Deployment, batch: Batch, taken: Step) -> Mapping[str, float]:
    """Say which share of a step is bound by memory, compute, link and overhead.

    A kind of work is bound by what takes it longer at the chip's peaks; the rest of the step is overhead.
    """
    shares: dict[str, float] = {"memory": 0.0, "compute": 0.0, "link": 0.0, "overhead": 0.0}
    longest: dict[str, tuple[float, float]] = {}
    for work in work_of(deployment, batch):
        moving, computing = longest.get(work.kind, (0.0, 0.0))
        chip = deployment.chip
        moving += work.count * work.moved / chip.memory_bytes_per_s
        computing += work.count * work.flops / chip.peak_flops_per_s(work.precision)
        longest[work.kind] = (moving, computing)
    for kind, seconds in taken.parts_s.items():
        moving, computing = longest.get(kind, (0.0, 0.0))
        at_work = "compute" if computing > moving else "memory"
        name = "link" if kind in _LINKS else at_work if kind in longest else "overhead"
        shares[name] += seconds / taken.seconds
    return shares


@dataclass(frozen=True, slots=True)
class _Reading:
    """Hold how a request's input is read: the step, and seconds a fresh and a cached token."""

    batch: Batch
    step: Step
    fresh_s: float
    cached_s: float
    request_s: float


def _reading(deployment: Deployment, traffic: Traffic, calibration: Calibration) -> _Reading:
    chunk = float(PREFILL_TOKENS)
    fresh = traffic.fresh_tokens
    # A prompt longer than a step is read in parts, each after what was cached and read before.
    past = traffic.cached_tokens + max(fresh - chunk, 0.0) / 2
    batch = Batch(0, prefill=chunk, chunks=max(chunk / fresh, 1.0), past=past)
    taken = step(deployment, batch, calibration)
    loaded_s = cache_bytes_per_chip(deployment, traffic.input_tokens) / deployment.chip.host_bytes_per_s
    fresh_s = taken.seconds / chunk
    # What takes longer to load than to compute is computed again.
    cached_s = min(loaded_s / traffic.input_tokens / deployment.groups, fresh_s)
    return _Reading(batch, taken, fresh_s, cached_s, fresh_s * fresh + cached_s * traffic.cached_tokens)


def _decoding(traffic: Traffic, batch: int, guess: Guess) -> Batch:
    return Batch(batch, traffic.input_tokens + traffic.output_tokens / 2, draft=guess.draft)


def _decode(deployment: Deployment, traffic: Traffic, calibration: Calibration, batch: int, guess: Guess) -> Step:
    return step(deployment, _decoding(traffic, batch, guess), calibration)


def _batch(deployment: Deployment, promise: Promise, room: int, tpot_s: Callable[[int], float]) -> tuple[int, str]:
    if promise.batch is not None:
        if promise.batch > room:
            raise ConfigError(f"batch is {promise.batch}; the memory beside the weights holds {room} such sequences")
        return promise.batch, "set"
    most = min(room, promise.batch_max)
    limit = "memory for the cache" if room < promise.batch_max else "the largest batch allowed"
    promised_s = promise.tpot_ms / 1_000
    if tpot_s(most) <= promised_s:
        return most, limit
    low, high = 1, most
    if tpot_s(low) > promised_s:
        raise ConfigError(
            f"slo_tpot_ms is {promise.tpot_ms}; one sequence alone takes {tpot_s(1) * 1_000:.1f} ms a token on "
            f"{deployment.chips} x {deployment.chip.name}: promise less, or take more or faster chips"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if tpot_s(middle) <= promised_s else (low, middle)
    return low, "the promised time per token"


def _held(deployment: Deployment, layer: Layer, tokens: int) -> float:
    mixer = layer.mixer
    if mixer is None:
        return 0.0
    if isinstance(mixer, Compressed):
        return layer.count * mixer.held_elements(tokens)
    if isinstance(mixer, Attention):
        seen = min(tokens, mixer.window) if mixer.window else tokens
        return layer.count * seen * mixer.kv_elements / min(deployment.tensor, mixer.kv_heads)
    return layer.count * tokens * mixer.kv_elements


def _does_not_fit(deployment: Deployment, tokens: int, usable: float) -> str:
    needed = weight_bytes_per_chip(deployment) + cache_bytes_per_chip(deployment, tokens)
    enough = next((each for each in _shared_by_more(deployment) if _fits(each, tokens, usable)), None)
    fewer = "weights or a cache of fewer bits, or a shorter sequence"
    way = (
        f"give at least {enough.chips} chips that share each matrix, or {fewer}"
        if enough
        else f"what every chip holds does not shrink with their number: give {fewer}"
    )
    return (
        f"{deployment.chips} x {deployment.chip.name} do not hold {deployment.shape.name} in {deployment.weights} with "
        f"a sequence of {tokens} tokens: that takes {needed / 1e9:.0f} GB of {usable / 1e9:.0f} GB a chip; {way}"
    )


def _shared_by_more(deployment: Deployment) -> Iterator[Deployment]:
    """Give the replicas of more and more chips, all of which share each matrix, as far as the heads allow."""
    for chips in range(1, _CHIPS_MAX + 1):
        try:
            yield replace(deployment, chips=chips, tensor=chips, expert=1)
        except ConfigError:
            continue


def _fits(deployment: Deployment, tokens: int, usable: float) -> bool:
    return weight_bytes_per_chip(deployment) + cache_bytes_per_chip(deployment, tokens) <= usable
