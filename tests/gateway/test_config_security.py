"""What of bursar.toml bears on security: where provider keys may stand, and whose word on addresses is taken."""

import pytest

from bursar.core.errors import ConfigError
from bursar.gateway.config import Config, parse_config

CANARY = "sk-canary-in-the-file"


def with_key(base_url: str, kind: str = "openai") -> Config:
    return parse_config({"providers": {"p": {"kind": kind, "base_url": base_url, "api_key": CANARY}}})


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:8000/v1", "http://127.9.9.9/v1"],
)
def test_a_key_may_stand_in_the_file_for_a_provider_on_this_machine(base_url: str) -> None:
    config = with_key(base_url)
    assert config.providers["p"].secret("p") == CANARY
    assert CANARY not in repr(config)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.openai.com/v1",
        "http://10.0.0.5/v1",
        "http://localhost.example/v1",
        "http://127.0.0.1.example/v1",
        "http://127.0.0.1@example.com/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "//127.0.0.1[/v1",
    ],
)
def test_elsewhere_a_key_comes_from_the_environment_or_a_file_alone(base_url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^providers\.p\.api_key: .*api_key_env, or a file in api_key_file$"
    ) as caught:
        with_key(base_url)
    assert CANARY not in str(caught.value)


def test_trusted_proxies_are_networks_in_one_form() -> None:
    tables = {"providers": {"sim": {"kind": "sandbox"}}, "gateway": {"trusted_proxies": ["10.0.0.0/8", "::1"]}}
    assert parse_config(tables).gateway.trusted_proxies == ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize("given", [["10.0.0.1/8"], ["proxy.example"], [""], "10.0.0.0/8", [5]])
def test_what_is_no_network_is_told_by_its_setting(given: object) -> None:
    tables = {"providers": {"sim": {"kind": "sandbox"}}, "gateway": {"trusted_proxies": given}}
    with pytest.raises(ConfigError, match=r"^gateway\.trusted_proxies"):
        parse_config(tables)
