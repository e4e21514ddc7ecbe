"""Say how long tokens take where some replicas read prompts and others write answers (disaggregated serving)."""

import math
from dataclasses import dataclass
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.calibration import Calibration
from bursar.physics.deployment import Batch, Deployment
from bursar.physics.loop import Clients, Loop, sequences_room
from bursar.physics.serving import PREFILL_TOKENS, Guess, Traffic, cache_bytes_per_chip
from bursar.physics.step import seconds_of

_ROUNDS: Final = 40


@dataclass(frozen=True, slots=True)
class Pool:
    """Hold equal replicas, and how their steps are timed."""

    deployment: Deployment
    calibration: Calibration
    replicas: int

    def __post_init__(self) -> None:
        """Refuse a pool of nothing."""
        if self.replicas < 1:
            raise ConfigError(f"replicas is {self.replicas}; a pool has at least 1")


def loop_apart(readers: Pool, writers: Pool, traffic: Traffic, clients: Clients, guess: Guess | None = None) -> Loop:
    """Predict a closed loop of clients before two pools.

    A prompt is read in steps of its own, one for each group of a reading replica at a time; its cache is sent over a
    chip's link; then it is written among those of its writing replica. What the readers cannot keep up with queues
    before them: a request's turn is never shorter than all prompts in flight take at their rate.
    """
    guess = guess or Guess()
    steps = traffic.output_tokens / guess.accepted
    context = traffic.input_tokens + traffic.output_tokens / 2
    rates = writers.calibration.rates
    read_s, each_s = _read_s(readers, traffic)
    sent_s = cache_bytes_per_chip(readers.deployment, traffic.input_tokens) / readers.deployment.chip.link_bytes_per_s
    room = writers.replicas * max(1.0, min(sequences_room(writers.deployment, traffic), clients.sequences_max))
    ttft_s, writing_s, decoding = read_s, read_s, min(clients.concurrency, room)
    for _ in range(_ROUNDS):
        batch = Batch(max(1.0, decoding / writers.replicas), context, draft=guess.draft)
        writing_s = steps * seconds_of(writers.deployment, batch, rates)
        alone_s = readers.calibration.rates.first_token_s + read_s + sent_s
        behind_s = clients.concurrency * each_s - writing_s
        ttft_s = math.hypot(alone_s, max(0.0, behind_s))
        share = min(room, clients.concurrency * writing_s / (writing_s + ttft_s))
        decoding = (decoding + share) / 2
    ttft_s += max(0.0, clients.concurrency / room - 1) * writing_s
    error = max(pool.calibration.error_on(pool.deployment.chip) for pool in (readers, writers))
    return Loop(ttft_s, writing_s / traffic.output_tokens, decoding, clients.concurrency > room, error)


def _read_s(readers: Pool, traffic: Traffic) -> tuple[float, float]:
    """Give the seconds to read one prompt alone, and those between prompts where all readers are busy."""
    deployment, rates = readers.deployment, readers.calibration.rates
    parts = math.ceil(traffic.fresh_tokens / PREFILL_TOKENS)
    tokens = traffic.fresh_tokens / parts
    past = traffic.cached_tokens + (parts - 1) / 2 * tokens
    alone_s = seconds_of(deployment, Batch(0, prefill=tokens, chunks=1, past=past), rates) * parts
    groups = deployment.groups
    full_s = seconds_of(deployment, Batch(0, prefill=tokens * groups, chunks=groups, past=past), rates) * parts
    return alone_s, full_s / groups / readers.replicas
