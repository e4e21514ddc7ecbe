"""Choose among a model's targets: those that are well, by order, load, or where a prompt's beginning is cached."""

import math
import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from bursar.core.errors import Refusal
from bursar.core.times import SECOND_US
from bursar.gateway.attempt import Outcome
from bursar.gateway.health import Health
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Candidate, Routes
from bursar.wires.prefix import prefix_digest

OVERLOADED_TIMES: Final = 2
OVERLOADED_MORE: Final = 8
"""A target with more than so many times the calls of the least loaded, and so many more, is left for another."""

_HASHES: Final = float(2**64)


def choose(routes: Routes, passage: Passage, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Return the candidates to ask, in order: of the model, or where none is well, of the first fallback that is.

    Where nothing is well, the least bad of the model is asked first.
    """
    now_us, rules = passage.call.opened_us, passage.rules
    if any(candidate.health.ready(now_us) for candidate in candidates):
        return arrange(passage, candidates)
    for place, name in enumerate(rules.fallbacks, 1):
        try:
            found = routes.find(name, passage.call.protocol)
        except Refusal:
            continue
        if any(candidate.health.ready(now_us) for candidate in found):
            passage.rules = msgspec.structs.replace(rules, fallbacks=rules.fallbacks[place:])
            return arrange(passage, found)
    return arrange(passage, candidates)


def arrange(passage: Passage, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Return a model's candidates that are well, in the order they are to be asked; all of them, where none is."""
    now_us, balance = passage.call.opened_us, candidates[0].rules.balance
    well = [candidate for candidate in candidates if candidate.health.ready(now_us)]
    if not well:
        return sorted(candidates, key=lambda candidate: candidate.health.ready_at_us)
    if len(well) > 1 and balance == "least_loaded":
        well = by_load(well, [random.random() for _ in well])  # noqa: S311 - where a call goes is no secret
    elif len(candidates) > 1 and balance == "affinity":
        order = by_rank(candidates, passage.call.key_id.encode() + prefix_digest(passage.body))
        well = overloaded_last([candidate for candidate in order if candidate in well])
        if well[0] is not order[0]:
            order[0].health.strayed += 1
    well[0].health.begin(now_us)
    return well


def load_of(candidate: Candidate) -> float:
    """Return a target's calls under way for each unit of its weight."""
    return candidate.upstream.pool.busy / candidate.weight


def by_load(candidates: Sequence[Candidate], chances: Sequence[float]) -> list[Candidate]:
    """Shuffle candidates by weight, then put the less loaded of the first two first.

    Of two taken at random, rather than of all: gateways that know nothing of one another would all choose the same.
    """
    drawn = sorted(zip(chances, candidates, strict=True), key=lambda each: _rank(each[0], each[1].weight))
    order = [candidate for _, candidate in drawn]
    if load_of(order[1]) < load_of(order[0]):
        order[0], order[1] = order[1], order[0]
    return order


def by_affinity(candidates: Sequence[Candidate], digest: bytes) -> list[Candidate]:
    """Order candidates by where a digest belongs; one that is clearly overloaded comes last."""
    return overloaded_last(by_rank(candidates, digest))


def by_rank(candidates: Sequence[Candidate], digest: bytes) -> list[Candidate]:
    """Order candidates by rendezvous hashing: the same digest finds the same target, by weight.

    When targets come and go only the digests of those move.
    """

    def rank(candidate: Candidate) -> float:
        name = f"{candidate.upstream.name}/{candidate.model}".encode()
        number = int.from_bytes(blake2b(digest + name, digest_size=8).digest(), "big")
        return _rank((number + 0.5) / _HASHES, candidate.weight)

    return sorted(candidates, key=rank)


def overloaded_last(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Put candidates last that are clearly overloaded, and leave the others' order as it is."""
    most = min(load_of(candidate) for candidate in candidates) * OVERLOADED_TIMES + OVERLOADED_MORE
    return sorted(candidates, key=lambda candidate: load_of(candidate) > most)


def _rank(chance: float, weight: int) -> float:
    """Turn an even chance into a rank: the lowest of several wins by the share of its weight."""
    return -math.log(max(chance, 1e-18)) / weight


def note_outcome(health: Health, outcome: Outcome) -> None:
    """Tell a target's health how an attempt went."""
    now_us, response = outcome.answered_us, outcome.response
    if response is None:
        health.failed(now_us, str(outcome.fault))
    elif response.status in (401, 403):
        health.refused_key(now_us, str(response.status))
    elif response.status == 429:
        wait_s = outcome.wait_s
        health.throttled(now_us, None if wait_s is None else round(wait_s * SECOND_US))
    elif response.status >= 500 or response.status in (404, 408) or 300 <= response.status < 400:
        health.failed(now_us, str(response.status))
    elif health.troubled:
        health.answered(now_us)
