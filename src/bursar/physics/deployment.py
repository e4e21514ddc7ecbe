"""Say how a model is served: on which chips, split how, in which formats, by which engine."""

from dataclasses import dataclass
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.chip import BITS_OF, Chip
from bursar.physics.shape import Attention, Experts, Recurrent, Shape

_HALF_BYTE_BITS: Final = 5  # four bits and their scales


@dataclass(frozen=True, slots=True)
class Deployment:
    """Hold one replica: a model over `chips` equal chips.

    `tensor` chips share each matrix of the mixers; `chips / tensor` groups of them take different sequences
    (data-parallel attention where that is above 1). Experts are split over all chips: whole experts over `expert`
    chips, and each expert's matrices over the `chips / expert` that remain. `weights`, `cache` and `compute` are
    formats of `chip.BITS_OF`.
    """

    shape: Shape
    chip: Chip
    chips: int = 1
    tensor: int = 1
    expert: int = 1
    weights: str = "bf16"
    cache: str = "bf16"
    compute: str = "bf16"
    engine: str = "vllm"

    def __post_init__(self) -> None:
        """Refuse a split that no engine can make, and formats nobody knows."""
        for name, parts in (("chips", self.chips), ("tensor", self.tensor), ("expert", self.expert)):
            if parts < 1 or self.chips % parts:
                raise ConfigError(f"{name} is {parts}; it must be at least 1 and divide the {self.chips} chips")
        _splits_heads(self.shape, self.tensor)
        _spreads_experts(self.shape, self.expert)
        for name, known in (("weights", self.weights), ("cache", self.cache), ("compute", self.compute)):
            if known not in BITS_OF:
                raise ConfigError(f"{name} is {known!r}; give one of {', '.join(BITS_OF)}")

    @property
    def nodes(self) -> int:
        """Count the nodes of chips that the replica takes, at least."""
        return -(-self.chips // self.chip.chips_per_node)

    @property
    def groups(self) -> int:
        """Count the groups of chips that take different sequences."""
        return self.chips // self.tensor

    @property
    def weight_bytes(self) -> float:
        """Give the bytes a routed weight or a matrix of a layer takes."""
        return BITS_OF[self.weights] / 8

    @property
    def keeps_bf16(self) -> bool:
        """Say whether what every token passes through stays in bf16.

        Published four-bit checkpoints of mixtures of experts quantise the routed experts alone: their `ignore` lists
        name the mixers and the shared experts (nvidia/*-NVFP4, read 2026-08-21).
        """
        return BITS_OF[self.weights] < _HALF_BYTE_BITS and self.shape.expert_weights > 0

    @property
    def cache_bytes(self) -> float:
        """Give the bytes an element of the cache takes."""
        return BITS_OF[self.cache] / 8


def _splits_heads(shape: Shape, tensor: int) -> None:
    """Refuse chips that cannot share the heads equally; heads of keys and values may be held more than once."""
    for layer in shape.layers:
        mixer = layer.mixer
        if mixer is None or isinstance(mixer, Recurrent):
            continue
        if mixer.heads % tensor:
            raise ConfigError(
                f"tensor is {tensor}, which does not divide the {mixer.heads} heads of {shape.name}; give a divisor"
            )
        if isinstance(mixer, Attention) and mixer.kv_heads % tensor and tensor % mixer.kv_heads:
            raise ConfigError(
                f"tensor is {tensor}; it must divide the {mixer.kv_heads} heads of keys and values of {shape.name}, "
                "or be a multiple of them"
            )


def _spreads_experts(shape: Shape, expert: int) -> None:
    if expert == 1:
        return
    held = [layer.feed.count for layer in shape.layers if isinstance(layer.feed, Experts)]
    if not held:
        raise ConfigError(f"expert is {expert}, but {shape.name} has no experts; leave it at 1")
    if expert > min(held):
        raise ConfigError(f"expert is {expert}; it must be at most the {min(held)} experts of {shape.name}")


@dataclass(frozen=True, slots=True)
class Batch:
    """Hold what one step works on, in the whole replica.

    `decodes` sequences get one token each, reading `context` tokens of cache on average. `prefill` tokens of `chunks`
    prompts are read in; their own earlier tokens in the cache are `past` on average for a chunk. `draft` more tokens a
    sequence are verified in the same step (speculative decoding).
    """

    decodes: float
    context: float = 0.0
    prefill: float = 0.0
    chunks: float = 0.0
    past: float = 0.0
    draft: int = 0

    @property
    def tokens(self) -> float:
        """Count the tokens that pass through every layer."""
        return self.decodes * (1 + self.draft) + self.prefill
