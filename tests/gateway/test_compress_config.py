"""The `[compress]` table and what models say of it: what is read, and that each mistake is told by its setting."""

from typing import Any

import pytest
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError
from bursar.gateway.config import Compress, parse_config
from bursar.savings.compress.setting import OFF, Mode, Setting

SIM: dict[str, Any] = {
    "providers": {"sim": {"kind": "sandbox"}},
    "models": {"small": {"targets": ["sim/gpt-4o-mini"]}, "big": {"targets": ["sim/gpt-4o"], "compress": 4}},
    "routes": {"auto": {"models": ["small", "big"]}},
}


def test_the_table_and_the_models_are_read() -> None:
    table = {
        "default": "lossless",
        "keys": {"legal team": "off"},
        "routes": {"auto": {"ratio": 8, "read_more": True}},
        "bytes_min": 100,
        "holdout_percent": 0.5,
        "experiment": "spring",
        "embedder": "static",
    }
    config = parse_config(SIM | {"compress": table})
    by_eight = Setting(Mode.contextual, 8.0, read_more=True)
    assert config.compress == Compress(
        Setting(Mode.lossless), {"legal team": OFF}, {"auto": by_eight}, 100, 5_000, "spring", "static"
    )
    assert config.models["big"].compress == Setting(Mode.contextual, 4.0)
    assert config.models["small"].compress is None


def test_nothing_compresses_unless_something_says_so() -> None:
    models = {"small": {"targets": ["sim/gpt-4o-mini"]}}
    plain = {"providers": SIM["providers"], "models": models}
    assert not parse_config(plain).compresses
    assert parse_config(plain | {"compress": {}}).compresses
    assert parse_config(SIM).compresses


def mistake(table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(SIM | {"compress": table})
    return str(caught.value)


def test_every_mistake_names_its_setting() -> None:
    assert {
        "no table": mistake(4),
        "setting": mistake({"defaults": "off"}),
        "default": mistake({"default": "on"}),
        "key": mistake({"keys": {"legal": 0.5}}),
        "keys": mistake({"keys": "off"}),
        "route": mistake({"routes": {"auto": True}}),
        "unknown route": mistake({"routes": {"autos": 4}}),
        "nothing to read": mistake({"default": {"ratio": 1, "read_more": True}}),
        "hold-out": mistake({"holdout_percent": 95}),
        "size": mistake({"bytes_min": 0}),
        "vectors": mistake({"embedder": "table"}),
        "instructions": mistake({"default": {"ratio": 4, "system": 2}}),
    } == snapshot(
        {
            "no table": "compress: Expected `object`, got `int`",
            "setting": "unknown setting compress.defaults; near: default",
            "default": 'compress.default: expected "off", "lossless", or a ratio from 1 to 100 such as 4, got \'on\'',
            "key": 'compress.keys.legal: expected "off", "lossless", or a ratio from 1 to 100 such as 4, got 0.5',
            "keys": "compress.keys: Expected `object`, got `str`",
            "route": 'compress.routes.auto: expected "off", "lossless", or a ratio from 1 to 100 such as 4',
            "unknown route": "compress.routes: no route 'autos'; near: auto",
            "nothing to read": (
                "compress.default: read_more: nothing is left out at ratio 1; leave it out, or give a larger ratio"
            ),
            "hold-out": "compress.holdout_percent: Expected `float` <= 90.0",
            "size": "compress.bytes_min: Expected `int` >= 1",
            "vectors": "compress.embedder: expected words or static, got 'table'",
            "instructions": (
                'compress.default: system: expected "lossless" or "off": its words are instructions, and none is cut'
            ),
        }
    )
    with pytest.raises(ConfigError, match=r"^models\.small\.compress: expected \"off\", "):
        parse_config(SIM | {"models": {"small": {"targets": ["sim/x"], "compress": "yes"}}, "routes": {}})
