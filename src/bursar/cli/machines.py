"""Share what `floor`, `simulate` and `capacity` ask about machines: a model on chips, and prices given on the line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from bursar.core.errors import ConfigError
from bursar.core.money import Money, usd_to_nano
from bursar.physics.config import shape_of
from bursar.physics.deployment import Deployment
from bursar.physics.facts import Facts
from bursar.physics.shape import Shape


@Parameter(name="*")
@dataclass(frozen=True)
class On:
    """Hold what the model runs on."""

    chip: Annotated[str | None, Parameter(help="The chip, such as H100; `bursar floor --list chips` names all.")] = None
    gpus: Annotated[int, Parameter(help="How many chips one replica takes.")] = 1
    tensor: Annotated[int | None, Parameter(help="Chips that share each matrix; all of the replica without it.")] = None
    expert: Annotated[int, Parameter(help="Chips over which whole experts are spread.")] = 1
    weights: Annotated[str | None, Parameter(help="Format of the weights; as published without it.")] = None
    cache: Annotated[str, Parameter(help="Format of the cache of keys and values.")] = "bf16"
    engine: Annotated[str, Parameter(help="What serves it: vllm, sglang or trtllm.")] = "vllm"


CHIPS_MAX: Final = 4_096
"""The most chips of a replica: several times what anybody has said to serve one model on."""
NOWHERE: Final = On()
"""What is meant where nothing is said: no chip is guessed."""


def model_shape(facts: Facts, model: str) -> Shape:
    """Give the shape of a model by its name, or from its config.json. Raises `ConfigError` or `NotThere`."""
    path = Path(model)
    if path.suffix != ".json":
        return facts.shape(model)
    try:
        config = json.loads(path.read_bytes())
    except RecursionError:
        raise ConfigError(f"{model} is nested too deep for a model's config.json") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{model} is not readable as a model's config.json: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{model} holds no JSON object; give the config.json published with the model")
    return shape_of(path.parent.name or path.stem, config)


def deployment_of(facts: Facts, shape: Shape, on: On) -> Deployment:
    """Put a model on chips. Raises `ConfigError` where none are named or they cannot be split so."""
    if on.chip is None:
        raise ConfigError("chip is missing; name one with --chip, such as H100 (`bursar floor --list chips`)")
    if not 1 <= on.gpus <= CHIPS_MAX:
        raise ConfigError(f"gpus is {on.gpus}; it is how many chips one replica takes, from 1 to {CHIPS_MAX:,}")
    chip = facts.chip(on.chip)
    weights = on.weights or shape.precision
    return Deployment(
        shape=shape,
        chip=chip,
        chips=on.gpus,
        tensor=on.gpus if on.tensor is None else on.tensor,
        expert=on.expert,
        weights=weights,
        cache=on.cache,
        engine=on.engine,
        compute=weights if weights.removesuffix("_block") in chip.flops_per_s else "bf16",
    )


def usd(option: str, text: str | None) -> Money:
    """Read an option's amount of USD. Raises `ConfigError`, naming it."""
    try:
        nano = usd_to_nano(text or "")
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
    if nano < 0:
        raise ConfigError(f"{option} is {text}; it must be at least 0 (USD)")
    return nano
