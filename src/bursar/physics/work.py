"""List what one step makes the busiest chip do: floating-point operations, bytes moved, bytes sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bursar.physics.deployment import Batch, Deployment
from bursar.physics.shape import Attention, Compressed, Dense, Experts, Latent, Layer, Recurrent

ACTIVATION_BYTES: Final = 2


class Kind(StrEnum):
    """Name the kinds of work, each with an efficiency of its own on a chip."""

    LINEAR = "linear"  # a matrix product that all tokens of the step share
    EXPERTS = "experts"  # matrix products of routed experts
    DECODE = "decode"  # attention of one new token over a sequence's cache
    PREFILL = "prefill"  # attention of a prompt's tokens
    STATE = "state"  # a memory of fixed size, read and written
    ALL_REDUCE = "all_reduce"  # sums over the chips that share a matrix
    ALL_TO_ALL = "all_to_all"  # tokens sent to their experts and back


@dataclass(frozen=True, slots=True)
class Work:
    """Hold `count` equal pieces of work of one chip; flops and bytes are of one piece.

    `rows` is how many tokens share the piece: the rows of a matrix product, the sequences of an attention, the tokens
    one expert gets. `moved` bytes pass between memory and chip, `sent` bytes leave over the link. `precision` is the
    format it is computed in.
    """

    kind: Kind
    count: float
    rows: float
    flops: float
    moved: float
    precision: str = "bf16"
    sent: float = 0.0
    peers: int = 1


def work_of(deployment: Deployment, batch: Batch, skew: float = 1.0) -> Iterator[Work]:
    """List the work of one step on one chip, the busiest where groups differ.

    `skew` is the share of tokens after the first that choose experts as if at random; the others choose what those
    chose.

    Sources: arithmetic of Kaplan et al., arXiv 2001.08361, app. B; cache and weights of Pope et al., arXiv 2211.05102.
    """
    for layer in deployment.shape.layers:
        yield from _mix(deployment, batch, layer)
        yield from _feed(deployment, batch, layer, skew)
    yield _head(deployment, batch)


def experts_touched(feed: Experts, tokens: float) -> float:
    """Give how many different experts of a layer at least one of `tokens` is sent to, on average.

    Each token picks `active` of `count` at random: count * (1 - (1 - active / count) ** tokens).
    """
    return float(feed.count * (1 - (1 - feed.active / feed.count) ** tokens))


def _own(deployment: Deployment, batch: Batch) -> Batch:
    """Give the part of a step that one group of chips works on."""
    groups = deployment.groups
    return Batch(
        batch.decodes / groups, batch.context, batch.prefill / groups, batch.chunks / groups, batch.past, batch.draft
    )


def _mix(deployment: Deployment, batch: Batch, layer: Layer) -> Iterator[Work]:
    if layer.mixer is None:
        return
    own = _own(deployment, batch)
    weights = layer.mixer.weights(deployment.shape.hidden) / deployment.tensor
    yield _linear(deployment, layer.count, own.tokens, weights, _kept(deployment, layer))
    if isinstance(layer.mixer, Recurrent):
        yield _state(deployment, layer.count, layer.mixer, own)
    else:
        if own.decodes:
            yield _decode(deployment, layer.count, layer.mixer, own)
        if own.prefill:
            yield _prefill(deployment, layer.count, layer.mixer, own)
    if deployment.tensor > 1:
        yield _all_reduce(deployment, layer.count, own.tokens)


def _kept(deployment: Deployment, layer: Layer) -> bool:
    return deployment.keeps_bf16 and isinstance(layer.feed, Experts)


def _linear(deployment: Deployment, count: float, rows: float, weights: float, kept: bool = False) -> Work:
    # A row in and out is about twice the root of the matrix; its exact sizes change little.
    size = ACTIVATION_BYTES if kept else deployment.weight_bytes
    moved = weights * size + 2 * rows * weights**0.5 * ACTIVATION_BYTES
    return Work(Kind.LINEAR, count, rows, 2 * rows * weights, moved, "bf16" if kept else deployment.compute)


def _decode(deployment: Deployment, count: float, mixer: Attention | Latent | Compressed, own: Batch) -> Work:
    sequences, read = own.decodes, _seen(mixer, own.context)
    elements = mixer.kv_elements / _cache_split(deployment, mixer)
    flops = sequences * (1 + own.draft) * read * _flops_per_pair(mixer) / deployment.tensor
    return Work(Kind.DECODE, count, sequences, flops, sequences * read * elements * deployment.cache_bytes)


def _prefill(deployment: Deployment, count: float, mixer: Attention | Latent | Compressed, own: Batch) -> Work:
    chunk = own.prefill / max(own.chunks, 1e-9)
    pairs = own.prefill * min(own.past + chunk / 2, _seen(mixer, own.past + chunk))
    elements = mixer.kv_elements / _cache_split(deployment, mixer)
    moved = own.chunks * _seen(mixer, own.past + chunk) * elements * deployment.cache_bytes
    # In the prompt, latent attention is computed with keys and values unfolded.
    wide = mixer.nope_dim + mixer.rope_dim + mixer.value_dim if isinstance(mixer, Latent) else 0
    flops = 2 * mixer.heads * wide if wide else _flops_per_pair(mixer)
    return Work(Kind.PREFILL, count, own.prefill, pairs * flops / deployment.tensor, moved)


def _state(deployment: Deployment, count: float, mixer: Recurrent, own: Batch) -> Work:
    elements = mixer.state_elements / deployment.tensor
    moved = 2 * 4 * elements * (own.decodes + own.chunks)  # read and written once a step, in fp32
    return Work(Kind.STATE, count, own.tokens, 6 * elements * own.tokens, moved)


def _flops_per_pair(mixer: Attention | Latent | Compressed) -> float:
    """Give the operations of one query token with one cached token, over all heads."""
    if isinstance(mixer, Compressed):
        return 4 * mixer.heads * mixer.head_dim
    if isinstance(mixer, Latent):
        return 2 * mixer.heads * (2 * mixer.kv_rank + mixer.rope_dim)
    return 2 * mixer.heads * (mixer.head_dim + mixer.value_dim)


def _seen(mixer: Attention | Latent | Compressed, tokens: float) -> float:
    if isinstance(mixer, Compressed):
        return mixer.read_entries(tokens)
    limit = mixer.window if isinstance(mixer, Attention) else mixer.selected
    return min(tokens, limit) if limit else tokens


def _cache_split(deployment: Deployment, mixer: Attention | Latent | Compressed) -> int:
    """Say over how many chips a token's cache is divided: heads are not cut, a latent vector is not divided."""
    return min(deployment.tensor, mixer.kv_heads) if isinstance(mixer, Attention) else 1


def _feed(deployment: Deployment, batch: Batch, layer: Layer, skew: float) -> Iterator[Work]:
    own, hidden = _own(deployment, batch), deployment.shape.hidden
    if isinstance(layer.feed, Dense):
        weights = layer.feed.matrices * hidden * layer.feed.intermediate / deployment.tensor
        yield _linear(deployment, layer.count, own.tokens, weights)
        if deployment.tensor > 1:
            yield _all_reduce(deployment, layer.count, own.tokens)
    elif isinstance(layer.feed, Experts):
        if layer.feed.shared_intermediate:
            weights = layer.feed.matrices * hidden * layer.feed.shared_intermediate / deployment.tensor
            yield _linear(deployment, layer.count, own.tokens, weights, _kept(deployment, layer))
        yield _experts(deployment, layer, layer.feed, batch.tokens, skew)
        if deployment.groups > 1:
            yield _all_to_all(deployment, layer.count, layer.feed, own.tokens)
        elif deployment.tensor > 1:
            yield _all_reduce(deployment, layer.count, own.tokens)


def _experts(deployment: Deployment, layer: Layer, feed: Experts, tokens: float, skew: float) -> Work:
    touched = experts_touched(feed, min(tokens, 1 + (tokens - 1) * skew))
    weights = feed.matrices * feed.width * feed.intermediate
    routed = tokens * feed.active
    moved = (
        touched * weights * deployment.weight_bytes + 2 * routed * feed.width * ACTIVATION_BYTES
    ) / deployment.chips
    rows = routed / max(touched, 1e-9)
    return Work(Kind.EXPERTS, layer.count, rows, 2 * routed * weights / deployment.chips, moved, deployment.compute)


def _all_reduce(deployment: Deployment, count: float, rows: float) -> Work:
    size = rows * deployment.shape.hidden * ACTIVATION_BYTES
    sent = 2 * (deployment.tensor - 1) / deployment.tensor * size
    return Work(Kind.ALL_REDUCE, count, rows, 0.0, 0.0, sent=sent, peers=deployment.tensor)


def _all_to_all(deployment: Deployment, count: float, feed: Experts, rows: float) -> Work:
    away = (deployment.chips - 1) / deployment.chips
    sent = 2 * rows / deployment.tensor * min(feed.active, deployment.chips) * feed.width * ACTIVATION_BYTES * away
    return Work(Kind.ALL_TO_ALL, count, rows, 0.0, 0.0, sent=sent, peers=deployment.chips)


def _head(deployment: Deployment, batch: Batch) -> Work:
    """Give the product with the vocabulary, kept in bf16, for the tokens that are sampled."""
    own = _own(deployment, batch)
    rows = own.decodes * (1 + own.draft) + own.chunks
    weights = deployment.shape.head_weights / deployment.tensor
    return Work(Kind.LINEAR, 1, rows, 2 * rows * weights, weights * ACTIVATION_BYTES)
