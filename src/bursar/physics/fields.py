"""Read the fields of a model's config.json strictly: each of its kind and within its range."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from bursar.core.errors import ConfigError

Config = Mapping[str, Any]

MISTAKES: Final = "; give the config.json of a decoder-only language model"
LAYERS_MAX: Final = 500
_ENTRIES_MAX: Final = 1_000
_MOST: Final[Mapping[str, int]] = {
    "num_hidden_layers": LAYERS_MAX,
    "vocab_size": 2**24,
    "sliding_window": 2**31,
    "attention_chunk_size": 2**31,
    "window_length": 2**31,
}
_MOST_ELSE: Final = 2**20  # more heads, experts or elements of a vector than any model has


def whole(config: Config, key: str) -> int:
    """Read a whole number above 0. Raises `ConfigError`, naming the key, where it is missing or something else."""
    found = config.get(key)
    if isinstance(found, bool) or not isinstance(found, int) or found <= 0:
        raise _wrong(key, "a whole number above 0", found)
    return _bounded(key, found)


def optional(config: Config, key: str) -> int | None:
    """Read a whole number above 0, None where it is missing."""
    return None if config.get(key) is None else whole(config, key)


def count(config: Config, key: str) -> int:
    """Read how many there are of something a model may lack: 0 where it is missing."""
    found = config.get(key)
    if found is None:
        return 0
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise _wrong(key, "a whole number of at least 0", found)
    return _bounded(key, found)


def multiple(config: Config, key: str) -> float:
    """Read a number above 0."""
    found = config.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= _MOST_ELSE:
        raise _wrong(key, "a number above 0", found)
    return float(found)


def flag(config: Config, key: str, *, otherwise: bool = False) -> bool:
    """Read true or false."""
    found = config.get(key)
    if found is None:
        return otherwise
    if not isinstance(found, bool):
        raise _wrong(key, "true or false", found)
    return found


def word(config: Config, key: str) -> str:
    """Read a word, empty where it is missing."""
    found = config.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _wrong(key, "a word", found)
    return found


def section(config: Config, key: str) -> Config:
    """Read an object, empty where it is missing."""
    found = config.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise _wrong(key, "an object", found)
    return cast("Config", found)


def sections(config: Config, key: str) -> Sequence[Config]:
    """Read a list of objects, empty where it is missing."""
    return [section({key: each}, key) for each in _listed(config, key)]


def words(config: Config, key: str) -> Sequence[str]:
    """Read a list of words, empty where it is missing."""
    return [word({key: each}, key) for each in _listed(config, key)]


def counts(config: Config, key: str) -> Sequence[int]:
    """Read a list of whole numbers of at least 0, empty where it is missing."""
    return [count({key: each}, key) for each in _listed(config, key)]


def _listed(config: Config, key: str) -> Sequence[object]:
    found = config.get(key)
    if found is None:
        return ()
    if not isinstance(found, list | tuple):
        raise _wrong(key, "a list", found)
    held = cast("Sequence[object]", found)
    if len(held) > _ENTRIES_MAX:
        raise ConfigError(f"{key} has {len(held)} entries; no model has more than {_ENTRIES_MAX:,}{MISTAKES}")
    return held


def _bounded(key: str, found: int) -> int:
    most = _MOST.get(key, _MOST_ELSE)
    if found > most:
        raise ConfigError(f"{key} is {found:.6g}; no model has more than {most:,}{MISTAKES}")
    return found


def _wrong(key: str, kind: str, found: object) -> ConfigError:
    shown = repr(found)
    return ConfigError(f"{key} must be {kind}, not {shown if len(shown) < 60 else shown[:60] + '...'}{MISTAKES}")
