"""bursar.toml: what is read, and that each mistake is told by its setting, with the nearest known name."""

from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError
from bursar.gateway.config import Settings, parse_config, read_config
from bursar.gateway.provider import Provider
from bursar.sandbox.app import MODELS

WHOLE = """
[gateway]
durability = "strict"
output_cap = 1000

[providers.openai]
kind = "openai"
base_url = "https://api.openai.com/v1"
api_key_env = "OPENAI_API_KEY"

[providers.sim]
kind = "sandbox"

[models."gpt-4o-mini"]
targets = ["openai/gpt-4o-mini", "sim/gpt-4o-mini"]

[models."mine"]
targets = ["openai/org/mine:7b"]
price = { input = "0.15", output = "0.60" }
"""


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "bursar.toml"
    file.write_text(WHOLE)
    config = read_config(file)
    assert config.gateway == Settings(durability="strict", output_cap=1_000)
    assert config.models["gpt-4o-mini"].targets == (("openai", "gpt-4o-mini"), ("sim", "gpt-4o-mini"))
    assert config.models["mine"].targets == (("openai", "org/mine:7b"),)
    assert config.models["mine"].price is not None
    assert config.needs_sandbox


def test_without_a_file_the_sandbox_serves_well_known_names() -> None:
    config = read_config(None)
    assert tuple(config.models) == MODELS
    assert config.needs_sandbox


def test_a_sandbox_elsewhere_is_not_started() -> None:
    tables = {"providers": {"sim": {"kind": "sandbox", "base_url": "http://127.0.0.1:4100/v1"}}}
    assert not parse_config(tables).needs_sandbox


def mistake(tables: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(tables)
    return str(caught.value)


SIM: dict[str, Any] = {"sim": {"kind": "sandbox"}}


def test_every_mistake_names_its_setting() -> None:
    assert {
        "table": mistake({"provider": SIM}),
        "setting": mistake({"providers": SIM, "gateway": {"output_caps": 5}}),
        "too small": mistake({"providers": SIM, "gateway": {"output_cap": 0}}),
        "no time": mistake({"providers": {"p": {"kind": "sandbox", "connect_s": 0.0}}}),
        "kind of value": mistake({"providers": SIM, "gateway": {"output_cap": "many"}}),
        "choice": mistake({"providers": SIM, "gateway": {"durability": "fastest"}}),
        "no table": mistake({"providers": SIM, "gateway": 5}),
        "providers no table": mistake({"providers": 5}),
        "no provider": mistake({}),
        "provider without kind": mistake({"providers": {"p": {}}}),
        "kind of provider": mistake({"providers": {"p": {"kind": "opena1"}}}),
        "setting of a provider": mistake({"providers": {"p": {"kind": "openai", "base_ulr": "x"}}}),
        "protocol": mistake({"providers": {"p": {"kind": "sandbox", "protocols": ["gemni"]}}}),
        "protocol of another kind": mistake({"providers": {"p": {"kind": "sandbox", "protocols": [5]}}}),
        "no address": mistake({"providers": {"p": {"kind": "openai"}}}),
        "model no table": mistake({"providers": SIM, "models": {"m": "sim/x"}}),
        "setting of a model": mistake({"providers": SIM, "models": {"m": {"target": ["sim/x"]}}}),
        "no targets": mistake({"providers": SIM, "models": {"m": {"targets": []}}}),
        "target of another kind": mistake({"providers": SIM, "models": {"m": {"targets": [5]}}}),
        "target without provider": mistake({"providers": SIM, "models": {"m": {"targets": ["x"]}}}),
        "unknown provider": mistake({"providers": SIM, "models": {"m": {"targets": ["simm/x"]}}}),
        "price": mistake({"providers": SIM, "models": {"m": {"targets": ["sim/x"], "price": {"inputs": "1"}}}}),
        "prices": mistake({"providers": SIM, "prices": {}}),
    } == snapshot(
        {
            "table": "unknown setting provider; near: providers",
            "setting": "unknown setting gateway.output_caps; near: output_cap",
            "too small": "gateway.output_cap: Expected `int` >= 1",
            "no time": "providers.p.connect_s: Expected `float` > 0.0",
            "kind of value": "gateway.output_cap: Expected `int`, got `str`",
            "choice": "gateway.durability: expected fast or strict, got 'fastest'",
            "no table": "gateway: Expected `object`, got `int`",
            "providers no table": "providers: expected a table",
            "no provider": "providers: expected at least one [providers.NAME] table",
            "provider without kind": "providers.p: Object missing required field `kind`",
            "kind of provider": "providers.p.kind: expected openai or anthropic or gemini or sandbox, got 'opena1'",
            "setting of a provider": "unknown setting providers.p.base_ulr; near: base_url",
            "protocol": "providers.p.protocols: no protocol 'gemni'; near: gemini",
            "protocol of another kind": "providers.p.protocols[0]: Expected `str`, got `int`",
            "no address": 'providers.p.base_url: expected an address such as "https://api.openai.com/v1"',
            "model no table": "models.m: expected a table",
            "setting of a model": "unknown setting models.m.target; near: targets",
            "no targets": 'models.m.targets: expected a list such as ["openai/gpt-4o-mini"]',
            "target of another kind": 'models.m.targets: expected a list such as ["openai/gpt-4o-mini"]',
            "target without provider": "models.m.targets: expected provider/model, got 'x'",
            "unknown provider": "models.m.targets: no provider 'simm'; near: sim",
            "price": "models.m.price: unknown word 'inputs'; near: input",
            "prices": "prices: expected [[prices]], a list of tables",
        }
    )


def test_a_setting_far_from_every_name_is_told_all_of_them() -> None:
    assert mistake({"providers": SIM, "prizes_": {}}).startswith("unknown setting prizes_; near: prices")
    assert "; known: durability, output_cap, " in mistake({"providers": SIM, "gateway": {"zzz": 5}})


PAIR: dict[str, Any] = {"small": {"targets": ["sim/gpt-4o-mini"]}, "big": {"targets": ["sim/gpt-4o"]}}


def test_a_mistake_in_a_route_names_its_setting() -> None:
    def routed(**fields: Any) -> str:
        return mistake({"providers": SIM, "models": PAIR, "routes": fields})

    rule = {"by": "rule", "rules": [{"model": "small"}]}
    assert {
        "no table": routed(auto=5),
        "a model's name": routed(big={"models": ["small", "big"]}),
        "a provider's name": routed(**{"sim/gpt-4o": {"models": ["small", "big"]} | rule}),
        "one model": routed(auto={"models": ["small"]} | rule),
        "unknown model": routed(auto={"models": ["small", "bigg"]} | rule),
        "unknown setting": routed(auto={"models": ["small", "big"], "buy": "rule"}),
        "no judge": routed(auto={"models": ["small", "big"], "by": "judged"}),
        "cheaper": mistake({"providers": SIM, "models": {"m": {"targets": ["sim/gpt-4o"], "cheaper": ["n"]}}}),
    } == snapshot(
        {
            "no table": "routes.auto: expected a table",
            "a model's name": "routes.big: there is a model of this name: give the route another",
            "a provider's name": "routes.sim/gpt-4o: sim/ names a model of provider 'sim': leave it out",
            "one model": 'routes.auto.models: expected at least two, such as ["small", "big"]',
            "unknown model": "routes.auto.models: no model 'bigg'; near: big",
            "unknown setting": "unknown setting routes.auto.buy; near: by",
            "no judge": 'routes.auto.judge: expected the model that grades, for by = "judged"',
            "cheaper": "models.m.cheaper: no model 'n'; known: m",
        }
    )


def test_what_is_no_toml_and_what_is_not_there_is_told_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "bursar.toml"
    with pytest.raises(ConfigError, match=r"cannot read .*bursar\.toml: No such file"):
        read_config(file)
    file.write_text("[gateway\n")
    with pytest.raises(ConfigError, match=r"bursar\.toml: "):
        read_config(file)
    file.write_text("[gateway]\noutput_cap = 'x'\n")
    with pytest.raises(ConfigError, match=r"bursar\.toml: gateway\.output_cap"):
        read_config(file)


def test_a_secret_comes_from_the_environment_or_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sk-env")
    file = tmp_path / "key"
    file.write_text("sk-file\n")
    by_env = Provider(kind="openai", api_key_env="A_KEY")
    by_file = Provider(kind="openai", api_key_file=str(file))
    plain = Provider(kind="openai", api_key="sk-plain")
    assert [provider.secret("p") for provider in (by_env, by_file, plain)] == ["sk-env", "sk-file", "sk-plain"]
    assert "sk-plain" not in repr(plain) + str(plain)
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ConfigError, match=r"providers\.p\.api_key_env: the environment has no A_KEY"):
        by_env.secret("p")
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        by_file.secret("p")
    file.unlink()
    with pytest.raises(ConfigError, match=r"providers\.p\.api_key_file: .*No such file"):
        by_file.secret("p")
