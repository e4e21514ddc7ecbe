"""Sellers of a model are found in the price book by the model's own name."""

import pytest

from bursar.physics.asked import middle, offers, plain
from bursar.physics.serving import Traffic
from bursar.prices import load

BOOK = load()
AT_US = 1_795_000_000_000_000
TRAFFIC = Traffic(1_000, 300)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("meta-llama/Meta-Llama-3.1-70B", "llama-3.1-70b"),
        ("together/meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", "llama-3.1-70b"),
        ("nvidia/DeepSeek-V3.1-NVFP4", "deepseek-v3.1"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"),
        ("openai/gpt-oss-120b:batch", "gpt-oss-120b:batch"),  # another product
    ],
)
def test_a_name_is_read_without_maker_edition_and_format(name: str, found: str) -> None:
    assert plain(name) == found


def test_sellers_come_with_the_cheapest_first() -> None:
    found = offers(BOOK, "meta-llama/Meta-Llama-3.1-70B", TRAFFIC, AT_US)
    asked = [each.request_dollars for each in found]
    assert len(found) > 2
    assert asked == sorted(asked)
    assert asked[0] <= middle(found) <= asked[-1]
    assert all(":batch" not in each.seller and ":free" not in each.seller for each in found)


def test_a_cached_input_is_asked_at_its_own_rate() -> None:
    fresh, cached = (offers(BOOK, "deepseek-v4-pro", Traffic(1_000, 300, share), AT_US) for share in (0.0, 0.9))
    assert min(each.request_dollars for each in cached) < min(each.request_dollars for each in fresh)


def test_a_model_nobody_sells_has_no_offer() -> None:
    assert offers(BOOK, "mine/of-my-own", TRAFFIC, AT_US) == ()
