"""Training takes the hours its makers publish, and each token served carries its share."""

import pytest

from bursar.core.errors import ConfigError
from bursar.core.money import nano_to_usd
from bursar.physics.training import amortised_nano_per_million, training_chip_hours
from tests.physics.working_point import FACTS


# Published: Llama 3.1 405B 30.84 million H100 hours for 15.6 trillion tokens, with all that went wrong; DeepSeek-V3
# 2.664 million H800 hours for 14.8 trillion.
@pytest.mark.parametrize(
    ("model", "tokens", "hours"), [("Meta-Llama-3.1-405B", 15.6e12, 30.84e6), ("DeepSeek-V3", 14.8e12, 2.664e6)]
)
def test_training_takes_about_the_published_hours(model: str, tokens: float, hours: float) -> None:
    assert training_chip_hours(FACTS.shape(model), tokens, FACTS.chip("H100")) == pytest.approx(hours, rel=0.2)


def test_each_million_tokens_served_carries_its_share() -> None:
    trained = FACTS.costs.training["DeepSeek-V3"]
    assert nano_to_usd(amortised_nano_per_million(trained.nano, 10**14)) == "0.05576"
    assert amortised_nano_per_million(1, 3 * 10**6) == 1  # a floor is never understated


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="tokens_served is 0"):
        amortised_nano_per_million(1, 0)
    with pytest.raises(ConfigError, match=r"efficiency is 1\.5"):
        training_chip_hours(FACTS.shape("Qwen3-8B"), 1.0, FACTS.chip("H100"), 1.5)
