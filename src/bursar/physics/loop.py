"""Say how long first and further tokens take where a number of clients each send one request after another."""

import math
from dataclasses import dataclass
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.calibration import Calibration, Rates
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.serving import (
    MEMORY_SHARE,
    OTHER_BYTES,
    PREFILL_TOKENS,
    Guess,
    Traffic,
    cache_bytes_per_chip,
    weight_bytes_per_chip,
)
from bursar.physics.step import seconds_of

_ROUNDS: Final = 12
_ROOM_MIN: Final = 0.06
"""What an engine leaves for the cache however large the weights, as a share of the memory: it gives up buffers."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Hold who asks: `concurrency` requests are in flight all the time.

    `equal` says that all are of one length, so that they begin and end together. `wait_steps` is how many steps pass
    until the engine looks for new requests, on average; `sequences_max` what the engine allows at once.
    """

    concurrency: float
    equal: bool = False
    wait_steps: float = 0.5
    sequences_max: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 1 <= self.concurrency < math.inf:
            raise ConfigError(f"concurrency is {self.concurrency}; it is a number of requests of at least 1")
        if self.sequences_max < 1 or self.wait_steps < 0:
            raise ConfigError("sequences_max is at least 1 and wait_steps at least 0")


@dataclass(frozen=True, slots=True)
class Loop:
    """Hold what a client sees: seconds to the first token and for each further one.

    `decoding` is how many sequences write on average; `saturated` says that more are in flight than the cache holds,
    so that the rest queue. `error` is the half width of the 90 % interval of ln(time per output token).
    """

    ttft_s: float
    tpot_s: float
    decoding: float
    saturated: bool
    error: float


def loop(
    deployment: Deployment, traffic: Traffic, clients: Clients, calibration: Calibration, guess: Guess | None = None
) -> Loop:
    """Predict a closed loop of clients in front of one replica.

    Within one turn of a request the replica reads the prompts of all others and takes the request's own steps; so the
    turn is steps x decode + others x prompt, whoever waits for what. `wave` says which part of the prompts falls on the
    wait for the first token. Solved for the number that decodes, which is what those times make it.
    """
    rates, guess = calibration.rates, guess or Guess()
    wave = rates.wave if clients.equal else rates.wave_spread
    room = max(1.0, min(sequences_room(deployment, traffic), clients.sequences_max))
    at_once = min(clients.concurrency, room)
    steps = traffic.output_tokens / guess.accepted
    context = traffic.input_tokens + traffic.output_tokens / 2
    read_s, prompt_s = _reading_s(deployment, traffic, Batch(at_once, context, draft=guess.draft), rates, steps)
    others_s = (at_once - 1) * prompt_s
    decoding = at_once
    decode_s = writing_s = 0.0
    for _ in range(_ROUNDS):
        decode_s = seconds_of(deployment, Batch(decoding, context, draft=guess.draft), rates)
        writing_s = steps * decode_s + (1 - wave) * others_s
        waiting_s = read_s + wave * others_s + clients.wait_steps * decode_s
        decoding = (decoding + at_once * writing_s / (writing_s + waiting_s)) / 2
    ttft_s = rates.first_token_s + rates.first_token_share * read_s + wave * others_s + clients.wait_steps * decode_s
    ttft_s += (clients.concurrency / at_once - 1) * (writing_s + ttft_s)
    error = calibration.error_on(deployment.chip)
    return Loop(ttft_s, writing_s / traffic.output_tokens, decoding, clients.concurrency > room, error)


def _reading_s(
    deployment: Deployment, traffic: Traffic, decoding: Batch, rates: Rates, steps: float
) -> tuple[float, float]:
    """Give the seconds until a prompt is read, beside those who decode, and the part of them that is for it alone.

    A prompt longer than a step allows is read in parts; where more than one arrives in a step, they share it.
    """
    parts = math.ceil(traffic.fresh_tokens / PREFILL_TOKENS)
    tokens = traffic.fresh_tokens / parts
    together = max(1.0, min(decoding.decodes / steps * parts, PREFILL_TOKENS / tokens))
    past = traffic.cached_tokens + (parts - 1) / 2 * tokens
    mixed = Batch(decoding.decodes, decoding.context, tokens * together, together, past, decoding.draft)
    longer_s = (seconds_of(deployment, mixed, rates) - seconds_of(deployment, decoding, rates)) * parts
    return longer_s, longer_s / together


def sequences_room(deployment: Deployment, traffic: Traffic) -> float:
    """Count the sequences whose cache fits beside the weights, each at its mean length."""
    chip = deployment.chip
    free = chip.memory_bytes * MEMORY_SHARE - OTHER_BYTES - weight_bytes_per_chip(deployment)
    one = cache_bytes_per_chip(deployment, round(traffic.input_tokens + traffic.output_tokens / 2))
    return deployment.groups * max(free, _ROOM_MIN * chip.memory_bytes) / one if one else math.inf
