"""Hold a trained router as a file does: coefficients, what they were checked on, and a card that says so in words."""

from typing import Annotated, Final

import msgspec

from bursar.core.errors import ConfigError
from bursar.savings.route.arrays import Packed

VERSION: Final = 2
"""Of the file and of what is seen in a text: a router of another is refused."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Say what a router was trained on, how good it was on rows it had not seen, and what it cannot do."""

    trained_on: str
    labels: int
    labels_sha256: str
    trained: str  # the day
    figures: dict[str, float]  # cross-validated
    limits: str
    licence: str = ""


class Held(msgspec.Struct, frozen=True):
    """Hold rows that no coefficient had seen when it expected them: what promises are calibrated on.

    Arrays have a row a label and a column a model; `prompt_tokens` a number a row. No text is in them.
    """

    chances: Packed
    scores: Packed
    tokens: Packed
    prompt_tokens: Packed


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """Hold coefficients. `placed` tells that its models are strengths, weak to strong, and not models by name.

    A chance is the bias, plus the likeness of a text's figures to each landmark, of its question's vector to each
    topic, of where the whole of it lies to each field and the marks of its words, each times a weight a model, and
    what trees say of how models differ.
    """

    version: int
    embedder: str
    models: tuple[str, ...]
    placed: bool = False
    means: Packed  # of figures
    spreads: Packed
    landmarks: Packed  # (landmarks, figures)
    landmark_weights: Packed  # (landmarks, models)
    topics: Packed  # (topics, dimensions)
    topic_weights: Packed
    fields: Packed  # (fields, directions), in spreads
    field_weights: Packed
    field_spread: Annotated[float, msgspec.Meta(gt=0)]
    components: Packed  # (dimensions, components)
    tree_columns: Packed  # (trees, depth)
    tree_thresholds: Packed
    tree_values: Packed  # (trees, leaves, models)
    mark_weights: Packed  # (buckets, models)
    biases: Packed
    tokens: dict[str, float]  # how long each model's answers were on average; empty where nobody counted
    held: Held
    card: Card


def read_router(data: bytes, where: str) -> Router:
    """Read a router's file. Raises `ConfigError` for one of another version, or none."""
    try:
        version = msgspec.json.decode(data, type=_Version).version
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: no router ({error}); make one with `bursar route train`") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConfigError(
            f"{where}: no router, or a damaged one of {len(data):,} bytes ({error}); make one with `bursar route train`"
        ) from None
    if version != VERSION:
        raise ConfigError(f"{where}: version {version}, this Bursar reads {VERSION}; train it again")
    try:
        router = msgspec.json.decode(data, type=Router)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConfigError(f"{where}: a damaged router of {len(data):,} bytes ({error}); train it again") from None
    if len(set(router.models)) < len(router.models) or len(router.models) < 2:
        raise ConfigError(f"{where}: a damaged router: models: expected two or more, each once; train it again")
    return router


def write_router(router: Router) -> bytes:
    """Return a router as a file's bytes."""
    return msgspec.json.format(msgspec.json.encode(router), indent=1) + b"\n"


class _Version(msgspec.Struct):
    version: int
