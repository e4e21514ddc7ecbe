"""Keep presets: how each well-known provider is reached and what is to be known of it, as reviewed data."""

import re
import tomllib
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from bursar.core.errors import ConfigError
from bursar.gateway.tables import near_text

KEY_PLACES: Final = ("api_key_env", "api_key_file", "api_key")
"""Where a table may name its key: one that names a place needs none of its preset's."""

_WORD: Final = re.compile(r"\{(\w+)\}")


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold one provider's settings, and what is known of it.

    `fill` are the words its settings leave open, each with what it is; `model` is the name of one it serves; `extra` is
    what of Bursar's extras it needs. `usage`, `errors` and `limits` say what it reports and where.
    """

    name: str
    title: str
    source: str
    checked: date
    settings: dict[str, Any]
    model: str
    usage: str
    errors: str
    limits: str
    fill: dict[str, str] = {}
    extra: str = ""
    note: str = ""

    @property
    def priced_by(self) -> str:
        """Return the provider of the price book whose prices apply, empty where the operator gives them."""
        return self.settings.get("prices", "")

    def open_settings(self) -> dict[str, str]:
        """Return those settings that hold a word in braces."""
        return {name: value for name, value in self.settings.items() if isinstance(value, str) and _WORD.search(value)}

    def filled(self, words: dict[str, str]) -> dict[str, str]:
        """Return the open settings with their words filled in. Raises `ConfigError` for one missing or not known."""
        for word in words:
            if word not in self.fill:
                known = near_text(word, self.fill) if self.fill else ": it needs nothing to be set"
                raise ConfigError(f"preset {self.name} has no {word!r}{known}")
        for word, what in self.fill.items():
            if not words.get(word):
                raise ConfigError(f"preset {self.name} needs {word}, {what}: give --set {word}=...")
        return {name: _WORD.sub(lambda match: words[match[1]], value) for name, value in self.open_settings().items()}


@cache
def presets() -> dict[str, Preset]:
    """Return all presets by name."""
    text = files("bursar.gateway").joinpath("data/presets.toml").read_text()
    return {name: msgspec.convert({"name": name, **table}, Preset) for name, table in tomllib.loads(text).items()}


def preset_of(name: str, where: str) -> Preset:
    """Return a preset. Raises `ConfigError` naming the nearest ones."""
    found = presets().get(name)
    if found is None:
        raise ConfigError(f"{where}: no preset {name!r}{near_text(name, presets())}")
    return found


def with_preset(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a provider's table with what its preset says where it says nothing. Raises `ConfigError`."""
    name = table.get("preset")
    if name is None:
        return table
    if not isinstance(name, str):
        raise ConfigError(f'{where}.preset: expected a name such as "groq"')
    preset = preset_of(name, f"{where}.preset")
    has_key = any(place in table for place in KEY_PLACES)
    usual = {name: value for name, value in preset.settings.items() if not (has_key and name in KEY_PLACES)}
    for setting in preset.open_settings():
        if setting not in table:
            words = " ".join(f"--set {word}=..." for word in preset.fill)
            raise ConfigError(f"{where}.{setting}: preset {name} leaves it open: bursar providers add {name} {words}")
    return {**usual, **table}
