"""Prices are shown as the book has them on a day, each with its source; what has none is refused with near names."""

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

from tests.cli.outcome import Cli

DAY = "2026-11-21"
OWN = """
[providers.house]
kind = "openai"
base_url = "http://127.0.0.1:1/v1"

[[prices]]
provider = "house"
model = "gpt-4o-mini-of-ours"
source = "contract of 2026"
checked = 2026-11-01
input = "0.10"
cache_read = "0.01"
output = "0.40"
above.200000 = { input = "0.20" }
"""


def priced(cli: Cli, *arguments: str) -> dict[str, Any]:
    return cli("price", *arguments, "--json").json()


def test_a_call_is_priced_line_by_line(bare_cli: Cli) -> None:
    outcome = bare_cli("price", "gpt-4o-mini", "--input", "1000", "--output", "200", "--cached", "100", "--at", DAY)
    assert (outcome.code, outcome.err) == (0, "")
    assert "\n".join(line.rstrip() for line in outcome.out.splitlines()) == snapshot("""\
openai/gpt-4o-mini
unit               quantity  USD per million        USD
input_tokens            900             0.15   0.000135
cache_read_tokens       100            0.075  0.0000075
output_tokens           200             0.60    0.00012
total                                         0.0002625
price openai/gpt-4o-mini#d0e8ca84
source https://developers.openai.com/api/docs/pricing, checked 2026-10-14\
""")


def test_the_same_as_json(bare_cli: Cli) -> None:
    arguments = ("gpt-4o-mini", "--input", "1000", "--output", "200", "--cached", "100", "--at", DAY)
    assert priced(bare_cli, *arguments) == snapshot(
        {
            "price_id": "openai/gpt-4o-mini#d0e8ca84",
            "lines": [
                {"unit": "input_tokens", "quantity": 900, "amount_usd": "0.000135"},
                {"unit": "cache_read_tokens", "quantity": 100, "amount_usd": "0.0000075"},
                {"unit": "output_tokens", "quantity": 200, "amount_usd": "0.00012"},
            ],
            "total_usd": "0.0002625",
            "source": "https://developers.openai.com/api/docs/pricing",
            "checked": "2026-10-14",
            "warning": "",
        }
    )


@pytest.mark.parametrize(
    ("arguments", "total_usd"),
    [
        ("claude-sonnet-4-5 --input 200000", "0.60"),  # the last token at the low rate
        ("claude-sonnet-4-5 --input 200001", "1.200006"),  # the first above: the high rate holds for all
        ("openai/gpt-5.4 --input 272000 --output 0", "0.68"),
        ("openai/gpt-5.4 --input 272001 --output 0", "1.360005"),
        ("gpt-5.4 --input 1000 --output 10", "0.00265"),
        ("gpt-5.4 --input 1000 --output 10 --tier flex", "0.001325"),
        ("gpt-4o-mini", "0.00"),
    ],
)
def test_bounds_and_tiers_decide_the_rate(bare_cli: Cli, arguments: str, total_usd: str) -> None:
    assert priced(bare_cli, *arguments.split(), "--at", DAY)["total_usd"] == total_usd


@pytest.mark.parametrize(
    ("at", "total_usd"),
    [
        ("2025-07-01T16:29:59Z", "1.37"),
        ("2025-07-01T16:30Z", "0.685"),  # the night's price begins
        ("2025-07-02T00:29:59Z", "0.685"),
        ("2025-07-02T00:30Z", "1.37"),
        ("2025-07-01T18:30+02:00", "0.685"),
    ],
)
def test_the_moment_decides_the_rate(bare_cli: Cli, at: str, total_usd: str) -> None:
    shown = priced(bare_cli, "deepseek/deepseek-chat", "--input", "1000000", "--output", "1000000", "--at", at)
    assert shown["total_usd"] == total_usd


@pytest.mark.parametrize("asked", ["gpt-4o-mni", "claude-sonet-4", "gpt4o", "zzz-nothing-like-it"])
def test_an_unknown_model_is_refused_with_near_names(bare_cli: Cli, asked: str) -> None:
    outcome = bare_cli("price", asked, "--input", "1")
    assert (outcome.code, outcome.out) == (1, "")
    assert (
        outcome.err
        == {
            "gpt-4o-mni": "bursar: no price for model 'gpt-4o-mni'; near: gpt-4o-mini, ft:gpt-4o-mini, gpt-5.4-mini\n",
            "claude-sonet-4": (
                "bursar: no price for model 'claude-sonet-4'; "
                "near: claude-sonnet-4, claude-sonnet-4.6, claude-sonnet-4-6\n"
            ),
            "gpt4o": snapshot("bursar: no price for model 'gpt4o'; near: gpt-4o, gpt-4, ft:gpt-4o\n"),
            "zzz-nothing-like-it": snapshot("bursar: no price for model 'zzz-nothing-like-it'\n"),
        }[asked]
    )


def test_a_tier_without_a_price_is_refused(bare_cli: Cli) -> None:
    outcome = bare_cli("price", "gpt-4o-mini", "--tier", "scale")
    assert outcome == (1, "", "bursar: openai/gpt-4o-mini has no price for service tier 'scale'\n")


def test_prices_are_searched(bare_cli: Cli) -> None:
    outcome = bare_cli("prices", "--search", "OpenAI/gpt-4o-MINI", "--at", DAY)
    assert "\n".join(line.rstrip() for line in outcome.out.splitlines()) == snapshot("""\
model                                         input  cache read  output  checked
openai/gpt-4o-mini                             0.15       0.075    0.60  2026-10-14
openai/gpt-4o-mini-2024-07-18.ft-              0.30        0.30    1.20  2026-10-14
openai/gpt-4o-mini-audio-preview               0.15        0.15    0.60  2026-11-03
openai/gpt-4o-mini-realtime-preview            0.60        0.30    2.40  2026-11-03
openai/gpt-4o-mini-transcribe                  1.25        1.25    5.00  2026-11-03
openai/gpt-4o-mini-tts                         0.60        0.60   12.00  2026-11-03
openrouter/openai/gpt-4o-mini                  0.15       0.075    0.60  2026-11-03
openrouter/openai/gpt-4o-mini-search-preview   0.15        0.15    0.60  2026-11-03
openrouter/openai/gpt-4o-mini:batch           0.075      0.0375    0.30  2026-11-03
9 prices in USD per million tokens; genai-prices 0.2.3, newest check 2026-11-03\
""")


def test_prices_are_compared_from_the_cheapest_to_the_dearest(bare_cli: Cli) -> None:
    found = bare_cli("prices", "--compare", "--at", DAY, "--json").json()

    def blended(price: dict[str, Any]) -> Decimal:
        rates = price["usd_per_million"]
        return (3 * Decimal(rates["input"]) + Decimal(rates["output"])) / 4

    costs = [blended(price) for price in found]
    assert len(costs) > 1_000
    assert all(later - earlier > Decimal("-1e-9") for earlier, later in pairwise(costs))
    assert "spread " in bare_cli("prices", "--search", "gpt-4o-mini", "--compare", "--at", DAY).out.splitlines()[-1]


def test_an_old_price_is_marked(bare_cli: Cli) -> None:
    fresh = bare_cli("price", "gpt-4o-mini", "--at", DAY)
    later = bare_cli("price", "gpt-4o-mini", "--at", "2028-01-01")
    assert "days ago" not in fresh.out
    assert later.out.endswith(" (more than 60 days ago)\n")
    assert "(old)" in bare_cli("prices", "--search", "gpt-4o-mini", "--at", "2028-01-01").out


def test_prices_of_a_configuration_come_first(bare_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    arguments = ("house/gpt-4o-mini-of-ours", "--config", "own.toml", "--at", DAY)
    assert priced(bare_cli, *arguments, "--input", "200000", "--output", "1000000")["total_usd"] == "0.42"
    shown = priced(bare_cli, *arguments, "--input", "200001", "--cached", "1")
    assert (shown["total_usd"], shown["source"], shown["checked"]) == snapshot(
        ("0.04000001", "contract of 2026", "2026-11-01")
    )
    listed = bare_cli("prices", "--search", "of-ours", "--config", "own.toml", "--at", DAY, "--json").json()
    assert listed[0]["above_input_tokens"] == snapshot(
        {
            "input": [[200000, "0.20"]],
            "cache_write": [[200000, "0.20"]],
            "cache_write_1h": [[200000, "0.20"]],
            "audio_input": [[200000, "0.20"]],
            "image_input": [[200000, "0.20"]],
            "video_input": [[200000, "0.20"]],
        }
    )


TASK = """
calls = 12
input_tokens = 3_000
cached_percent = 80
output_tokens = 350

[models."gpt-4o-mini"]

[models."claude-haiku-4-5"]
input_percent = 115
output_tokens = 420
"""


def test_the_same_work_is_priced_on_several_models(bare_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "ticket.toml"
    path.write_text(TASK)
    outcome = bare_cli("prices", "--compare", "--task", str(path), "--at", DAY)
    assert (outcome.code, outcome.err) == (0, "")
    assert "\n".join(line.rstrip() for line in outcome.out.splitlines()) == snapshot("""\
ticket.toml: 12 calls
model              input  of it cached  output       USD  times the least
gpt-4o-mini       36,000        26,400   4,200   0.00594            1.00x
claude-haiku-4-5  41,400        30,360   5,040  0.039966            6.72x\
""")
    found = bare_cli("prices", "--compare", "--task", str(path), "--at", DAY, "--json").json()
    assert [each["model"] for each in found] == ["gpt-4o-mini", "claude-haiku-4-5"]
    assert (
        Decimal(found[0]["total_usd"])
        == (Decimal("0.15") * (3_000 + 11 * 600) + Decimal("0.075") * 11 * 2_400 + Decimal("0.60") * 12 * 350) / 10**6
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("calls = 1", "missing required field `input_tokens`"),
        (TASK + "speed = 2\n", "unknown field `speed`"),
        (TASK.replace("3_000", '"many"'), "Expected `int`, got `str`"),
        (TASK.replace("gpt-4o-mini", "gpt-4o-minor"), "near: "),
        ("not toml", "expected '=' after a key"),
    ],
)
def test_work_that_cannot_be_read_is_refused_by_field(bare_cli: Cli, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ticket.toml"
    path.write_text(text)
    outcome = bare_cli("prices", "--compare", "--task", str(path))
    assert outcome.code != 0
    assert message.lower() in outcome.err.lower()
