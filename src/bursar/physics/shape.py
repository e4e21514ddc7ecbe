"""Describe a model by its layers: what each holds in memory, and what a token makes it do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attention:
    """Hold softmax attention with one key and value a head (MHA), a group (GQA) or all (MQA).

    `window` is how many tokens back it looks, None for all. `gated` adds an output gate of the size of the queries.
    """

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None = None
    gated: bool = False

    def weights(self, hidden: int) -> int:
        """Count the parameters of one layer."""
        queries = self.heads * self.head_dim * (2 if self.gated else 1)
        return hidden * (queries + self.kv_heads * (self.head_dim + self.value_dim) + self.heads * self.value_dim)

    @property
    def kv_elements(self) -> int:
        """Count the elements one token leaves in one layer's cache."""
        return self.kv_heads * (self.head_dim + self.value_dim)


@dataclass(frozen=True, slots=True)
class Latent:
    """Hold multi-head latent attention: one compressed key-value vector a token, for all heads.

    `selected` is how many tokens a sparse variant reads for each query, chosen by an index of `index_elements` a token;
    None reads all. Source: DeepSeek-V2, arXiv 2405.04434; DeepSeek-V3.2 for the sparse one.
    """

    heads: int
    query_rank: int
    kv_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    selected: int | None = None
    index_heads: int = 0
    index_dim: int = 0

    def weights(self, hidden: int) -> int:
        """Count the parameters of one layer."""
        per_query = self.heads * (self.nope_dim + self.rope_dim)
        queries = self.query_rank * (hidden + per_query) if self.query_rank else hidden * per_query
        keys = hidden * (self.kv_rank + self.rope_dim) + self.kv_rank * self.heads * (self.nope_dim + self.value_dim)
        index = (self.query_rank or hidden) * self.index_heads * self.index_dim + hidden * self.index_dim
        return queries + keys + self.heads * self.value_dim * hidden + index

    @property
    def kv_elements(self) -> int:
        """Count the elements one token leaves in one layer's cache; splitting over chips does not divide them."""
        return self.kv_rank + self.rope_dim + self.index_dim


@dataclass(frozen=True, slots=True)
class Compressed:
    """Hold attention over compressed tokens: one entry for every `ratio` tokens, and a window of whole ones.

    Key and value are one vector of `head_dim`, shared by all heads. A ratio of 0 leaves the window alone. Where an
    index is kept, a query reads the `selected` entries it finds best, else all. `output_rank` is what each of
    `output_groups` groups of heads is narrowed to on the way out. Source: DeepSeek-V4 technical report, 2026.
    """

    heads: int
    head_dim: int
    query_rank: int
    window: int
    ratio: int
    output_groups: int
    output_rank: int
    selected: int | None = None
    index_heads: int = 0
    index_dim: int = 0

    def weights(self, hidden: int) -> int:
        """Count the parameters of one layer."""
        wide = self.heads * self.head_dim
        queries = self.query_rank * (hidden + wide)
        out = wide * self.output_rank + self.output_groups * self.output_rank * hidden
        index = self.query_rank * self.index_heads * self.index_dim + hidden * self.index_heads
        # A compressor is two matrices, values and their weights; where an index is kept, entries overlap.
        compressor = 2 * hidden * (self.head_dim + self.index_dim) * (2 if self.index_dim else 1)
        return queries + hidden * self.head_dim + out + (compressor if self.ratio else 0) + (index if self.ratio else 0)

    @property
    def kv_elements(self) -> int:
        """Count the elements of one entry; splitting over chips does not divide them."""
        return self.head_dim

    def held_elements(self, tokens: float) -> float:
        """Count the elements that a sequence of `tokens` holds in one layer's cache."""
        entries = tokens / self.ratio if self.ratio else 0.0
        return min(tokens, self.window) * self.head_dim + entries * (self.head_dim + self.index_dim)

    def read_entries(self, tokens: float) -> float:
        """Count the entries one query reads, the whole index among them, in entries of `head_dim`."""
        entries = tokens / self.ratio if self.ratio else 0.0
        chosen = min(entries, self.selected) if self.selected else entries
        return min(tokens, self.window) + chosen + entries * self.index_dim / self.head_dim


@dataclass(frozen=True, slots=True)
class Recurrent:
    """Hold a layer whose memory is of fixed size: linear attention or a state space. `parameters` are one layer's."""

    parameters: int
    state_elements: int

    def weights(self, hidden: int) -> int:  # noqa: ARG002 (the parameters are counted already)
        """Count the parameters of one layer."""
        return self.parameters

    @property
    def kv_elements(self) -> int:
        """Leave nothing behind for a token."""
        return 0


Mixer = Attention | Latent | Compressed | Recurrent


@dataclass(frozen=True, slots=True)
class Dense:
    """Hold a feed-forward network. `matrices` is 3 with a gate, else 2."""

    intermediate: int
    matrices: int = 3


@dataclass(frozen=True, slots=True)
class Experts:
    """Hold a mixture of experts: `active` of `count` work on a token, the shared part on every token.

    `width` is the size experts read and write, the hidden one unless the model narrows it first.
    """

    count: int
    active: int
    intermediate: int
    shared_intermediate: int
    width: int
    matrices: int = 3


@dataclass(frozen=True, slots=True)
class Layer:
    """Hold `count` equal layers: how tokens are mixed, then how each is worked on. Either may be absent."""

    count: int
    mixer: Mixer | None
    feed: Dense | Experts | None


@dataclass(frozen=True, slots=True)
class Shape:
    """Hold a model's shape. Norms, biases and towers for images and sound are left out: under 1 % of a text model.

    `precision` is the format its weights are published in: `bf16`, `fp8`, `fp4`; `blocks` says that its fp8 has a scale
    for each block of weights, not for each channel. `known` is false of a family nobody looked at, which is
    read as a plain decoder.
    """

    name: str
    family: str
    hidden: int
    vocabulary: int
    layers: tuple[Layer, ...]
    tied: bool = False
    precision: str = "bf16"
    blocks: bool = False
    known: bool = True

    @property
    def layer_count(self) -> int:
        """Count the layers that mix tokens."""
        return sum(layer.count for layer in self.layers if layer.mixer is not None)

    @property
    def expert_layer_count(self) -> int:
        """Count the layers with a mixture of experts."""
        return sum(layer.count for layer in self.layers if isinstance(layer.feed, Experts))

    @property
    def head_weights(self) -> int:
        """Count the parameters that turn the last hidden vector into a distribution over the vocabulary."""
        return self.hidden * self.vocabulary

    @property
    def expert_weights(self) -> int:
        """Count the parameters of all routed experts."""
        return sum(
            layer.count * layer.feed.count * layer.feed.matrices * layer.feed.width * layer.feed.intermediate
            for layer in self.layers
            if isinstance(layer.feed, Experts)
        )

    @property
    def everyone_weights(self) -> int:
        """Count the parameters each token passes through, the head included and routed experts left out."""
        return self.head_weights + sum(
            layer.count * (_mixer_weights(layer, self.hidden) + _shared_weights(layer, self.hidden))
            for layer in self.layers
        )

    @property
    def total_weights(self) -> int:
        """Count all parameters; the table of embeddings apart from the head unless they are one."""
        return self.everyone_weights + self.expert_weights + (0 if self.tied else self.head_weights)

    @property
    def active_weights(self) -> int:
        """Count the parameters that work on one token."""
        return self.everyone_weights + sum(
            layer.count * layer.feed.active * layer.feed.matrices * layer.feed.width * layer.feed.intermediate
            for layer in self.layers
            if isinstance(layer.feed, Experts)
        )

    def kv_elements(self, tokens: int) -> int:
        """Count the elements that a sequence of `tokens` holds in the cache, windows and compression heeded."""
        return round(sum(layer.count * _held(layer.mixer, tokens) for layer in self.layers))


def _held(mixer: Mixer | None, tokens: int) -> float:
    if mixer is None:
        return 0.0
    if isinstance(mixer, Compressed):
        return mixer.held_elements(tokens)
    window = mixer.window if isinstance(mixer, Attention) else None
    return mixer.kv_elements * (min(tokens, window) if window else tokens)


def _mixer_weights(layer: Layer, hidden: int) -> int:
    return layer.mixer.weights(hidden) if layer.mixer is not None else 0


def _shared_weights(layer: Layer, hidden: int) -> int:
    if isinstance(layer.feed, Dense):
        return layer.feed.matrices * hidden * layer.feed.intermediate
    if isinstance(layer.feed, Experts):
        router = hidden * layer.feed.count
        narrowing = 2 * hidden * layer.feed.width if layer.feed.width != hidden else 0
        return router + narrowing + layer.feed.matrices * hidden * layer.feed.shared_intermediate
    return 0
