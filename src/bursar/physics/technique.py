"""Say what each technique of serving saves at a working point: the same request without it, and with it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.deployment import Deployment
from bursar.physics.floor import Plan, floor, request_dollars
from bursar.physics.serving import PREFILL_TOKENS, Guess
from bursar.physics.shape import Attention, Experts, Latent, Layer
from bursar.physics.work import ACTIVATION_BYTES

SCORE_PASSES: Final = 4
"""How often attention without tiling moves each score: written, read to be normalised, written, read for the values
(FlashAttention, arXiv 2205.14135)."""
COMPRESSED_TO: Final = 0.7
"""What is left of a prompt that a compressor shortens gently; how far it may go is a question of quality, not cost."""
CACHED: Final = 0.5


@dataclass(frozen=True, slots=True)
class Saving:
    """Hold a request's cost without and with a technique, in dollars; `status` says why there is none."""

    technique: str
    setting: str
    without_dollars: float | None
    with_dollars: float | None
    status: str = ""

    @property
    def share(self) -> float | None:
        """Give the share of the cost it saves; below 0 where it costs more than it saves."""
        if self.without_dollars is None or self.with_dollars is None:
            return None
        return 1 - self.with_dollars / self.without_dollars


def savings(plan: Plan, accepted: Sequence[float]) -> tuple[Saving, ...]:
    """List what each technique saves at a working point, the batch found anew where it is not set.

    `accepted` are the tokens a step gives by how many were drafted. The largest saving comes first.
    """
    found = tuple(_each(plan, accepted))
    return tuple(sorted(found, key=lambda each: -(each.share if each.share is not None else -1.0)))


def _each(plan: Plan, accepted: Sequence[float]) -> Iterator[Saving]:
    deployment, traffic = plan.deployment, plan.traffic
    pinned = replace(plan, promise=replace(plan.promise, batch=1))
    yield _saving("batching", f"{floor(plan).pace.batch} sequences for 1", lambda: pinned, lambda: plan)
    yield Saving(
        "FlashAttention",
        f"prompts of {traffic.input_tokens:,} tokens",
        request_dollars(plan) + scores_dollars(plan),
        request_dollars(plan),
    )
    yield _sparse(plan)
    half = "fp8"
    bf16 = replace(deployment, weights="bf16", compute="bf16")
    quantised = replace(deployment, weights=half, compute=half if half in deployment.chip.flops_per_s else "bf16")
    yield _saving("quantised weights", "fp8 for bf16", lambda: _on(plan, bf16), lambda: _on(plan, quantised))
    caches = [replace(deployment, cache=each) for each in ("bf16", "fp8")]
    yield _saving("quantised cache", "fp8 for bf16", lambda: _on(plan, caches[0]), lambda: _on(plan, caches[1]))
    guess = best_guess(plan, accepted)
    yield _saving(
        "speculative decoding",
        f"{guess.draft} drafted, {guess.accepted} tokens a step",
        lambda: replace(plan, guess=Guess()),
        lambda: replace(plan, guess=guess),
    )
    bare = replace(plan, traffic=replace(traffic, cached_share=0.0))
    share = traffic.cached_share or CACHED
    warm = replace(plan, traffic=replace(traffic, cached_share=share))
    yield _saving("prefix caching", f"{share:.0%} of the input", lambda: bare, lambda: warm)
    shorter = replace(traffic, input_tokens=max(round(traffic.input_tokens * COMPRESSED_TO), 1))
    yield _saving("compression", f"input to {COMPRESSED_TO:.0%}", lambda: plan, lambda: replace(plan, traffic=shorter))


def scores_dollars(plan: Plan) -> float:
    """Give what attention without tiling would cost a request more: its scores through the chip's memory and back."""
    deployment = plan.deployment
    fresh = plan.traffic.fresh_tokens
    moved = sum(
        layer.count * _scores(layer, min(fresh, PREFILL_TOKENS), plan.traffic.input_tokens) * fresh
        for layer in deployment.shape.layers
    )
    seconds = moved * SCORE_PASSES * ACTIVATION_BYTES / deployment.chips / deployment.chip.memory_bytes_per_s
    found = floor(plan)
    power = plan.terms.dollars_of_power(found.draw.prefill_w * seconds, found.draw.idle_w, seconds)
    return plan.terms.dollars_of_time(deployment.chips, seconds) / plan.speed + power / plan.speed


def best_guess(plan: Plan, accepted: Sequence[float]) -> Guess:
    """Choose how many tokens to draft, so that a request costs least; `accepted` is by 1, 2, ... drafted."""
    guesses = [Guess(draft, tokens) for draft, tokens in enumerate(accepted, 1)]
    if not guesses:
        raise ConfigError("accepted is empty; give the tokens a step gives by how many were drafted, such as 1.8 2.4")
    return min(guesses, key=lambda each: request_dollars(replace(plan, guess=each)))


def _scores(layer: Layer, chunk: float, tokens: int) -> float:
    """Count the scores of one new token in a layer: each head with each token it may see."""
    if isinstance(layer.mixer, Latent):
        return layer.mixer.heads * tokens
    if isinstance(layer.mixer, Attention):
        return layer.mixer.heads * min(tokens, (layer.mixer.window or tokens) + chunk)
    return 0.0


def _sparse(plan: Plan) -> Saving:
    shape = plan.deployment.shape
    if not shape.expert_layer_count:
        return Saving("mixture of experts", "", None, None, "the model has none")
    dense = replace(shape, layers=tuple(_dense(layer) for layer in shape.layers))
    feed = next(layer.feed for layer in shape.layers if isinstance(layer.feed, Experts))
    full = _on(plan, replace(plan.deployment, shape=dense))
    return _saving("mixture of experts", f"{feed.active} of {feed.count} at work", lambda: full, lambda: plan)


def _dense(layer: Layer) -> Layer:
    feed = layer.feed
    return replace(layer, feed=replace(feed, active=feed.count)) if isinstance(feed, Experts) else layer


def _on(plan: Plan, deployment: Deployment) -> Plan:
    return replace(plan, deployment=deployment)


def _saving(technique: str, setting: str, without: Callable[[], Plan], with_it: Callable[[], Plan]) -> Saving:
    try:
        return Saving(technique, setting, request_dollars(without()), request_dollars(with_it()))
    except ConfigError as error:
        return Saving(technique, setting, None, None, str(error))
