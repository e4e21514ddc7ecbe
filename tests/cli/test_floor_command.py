"""`bursar floor` answers with prices, their interval, what binds, what sellers ask, and the dials."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bursar.core.money import usd_to_nano
from bursar.prices.file import read_model_price
from tests.cli.outcome import Cli

WORK = ("Meta-Llama-3.1-70B", "--chip", "H100", "--gpus", "4")
TINY = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}


def answered(cli: Cli, *arguments: str) -> dict[str, Any]:
    return cli("floor", *arguments, "--json").json()


def test_the_answer_says_all_that_a_buyer_asks(bare_cli: Cli) -> None:
    outcome = bare_cli("floor", *WORK)
    assert (outcome.code, outcome.err) == (0, "")
    for said in (
        "meta-llama/Meta-Llama-3.1-70B in bf16 on 4 x H100",
        "rented at 1.30 USD a chip-hour, power in it; 40% utilised",
        "priced by three-year rental, SemiAnalysis InferenceX",
        "90 % interval",
        "cached input",
        "bound by memory",
        "asks least",
        "The machine's dials; the biggest: utilisation",
        "The request's dials; the biggest:",
        "What techniques save here",
    ):
        assert said in outcome.out


def test_the_same_as_json_with_money_as_text(bare_cli: Cli) -> None:
    found = answered(bare_cli, *WORK)
    for price in found["usd_per_million"].values():
        assert float(price["low"]) < float(price["floor"]) < float(price["high"])
        assert price["joules_per_token"] > 0
    assert found["batch"] >= 1
    assert found["tpot_ms"] <= 50
    assert {each["dial"] for each in found["dials"]["machine"]} == {
        *("power price", "chip cost", "throughput", "overhead (PUE)", "utilisation", "serving waste")
    }
    assert {each["dial"] for each in found["dials"]["request"]} == {
        *("answer length", "cache misses", "retries", "batchable share", "idle capacity")
    }
    assert [each["request_dollars"] for each in found["offers"]] == sorted(
        each["request_dollars"] for each in found["offers"]
    )


def test_what_is_bought_pays_for_power(bare_cli: Cli) -> None:
    own = answered(bare_cli, *WORK, "--own", "--region", "US-CA")
    cheap = answered(bare_cli, *WORK, "--own", "--region", "US-TX")
    assert own["request"]["parts_dollars"]["power"] > cheap["request"]["parts_dollars"]["power"] > 0
    assert 1 < own["break_even_dollars_per_chip_hour"] < 3
    rented = answered(bare_cli, *WORK, "--chip-usd-per-hour", f"{own['break_even_dollars_per_chip_hour']:.9f}")
    assert rented["request"]["tokens_dollars"] == pytest.approx(own["request"]["tokens_dollars"], rel=1e-6)


def test_carbon_and_water_need_a_place(bare_cli: Cli) -> None:
    nowhere = answered(bare_cli, *WORK)["request"]
    assert nowhere["carbon_g"] is nowhere["water_l"] is None
    assert "carbon and water are unknown without a --region" in bare_cli("floor", *WORK).out
    found = answered(bare_cli, *WORK, "--region", "US-VA", "--operator", "Google")["request"]
    kwh = found["joules"] / 3.6e6
    assert (found["region"], found["carbon_year"]) == ("USA", 2023)
    assert found["carbon_g"] == pytest.approx(kwh * 369.5)
    assert found["water_l"] == pytest.approx(kwh * (1.15 / 1.09 + 3.1321))
    abroad = answered(bare_cli, *WORK, "--region", "DEU", "--power-usd-per-kwh", "0.2")["request"]
    assert abroad["carbon_g"] > 0
    assert answered(bare_cli, *WORK, "--region", "Germany")["request"]["carbon_g"] == abroad["carbon_g"]
    assert answered(bare_cli, *WORK, "--region", "FRA")["request"]["region"] == "FRA"
    assert abroad["water_l"] is None


def test_an_operator_s_published_overhead_is_taken(bare_cli: Cli) -> None:
    pues = [
        next(each["value"] for each in answered(bare_cli, *WORK, *given)["dials"]["machine"] if "PUE" in each["dial"])
        for given in (("--operator", "google"), ("--operator", "google", "--pue", "1.3"), ())
    ]
    assert pues == [1.09, 1.3, 1.15]


def test_a_model_may_be_the_path_of_its_config(bare_cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-of-ours"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TINY))
    found = answered(bare_cli, str(folder / "config.json"), "--chip", "L40S")
    assert found["model"] == "tiny-of-ours"
    assert found["offers"] == []


def test_a_request_is_told_by_its_parts(bare_cli: Cli) -> None:
    given = ("--tools-usd", "0.002", "--safety-usd", "0.0001", "--retrieval-usd", "0.001", "--logging-usd", "0.00001")
    found = answered(bare_cli, *WORK, "--retries", "0", *given)["request"]
    usd = {name: float(text) for name, text in found["usd_by_part"].items()}
    assert (usd["tools"], usd["safety"], usd["retrieval"], usd["logging"]) == (0.002, 0.0001, 0.001, 0.00001)
    assert sum(usd.values()) == pytest.approx(found["dollars"], abs=1e-12)
    assert found["dollars"] == pytest.approx(found["tokens_dollars"] + 0.00311, rel=1e-4)
    assert "A thousand requests by their parts" in bare_cli("floor", *WORK).out


def test_a_laptop_is_no_server(bare_cli: Cli) -> None:
    given = ("Qwen3-0.6B", "--chip", "LAPTOP-CPU", "--own", "--capex-usd", "1500", "--slo-tpot-ms", "500")
    found = answered(bare_cli, *given)
    seconds = found["tpot_ms"] / 1_000 / found["batch"] * 300
    assert found["request"]["joules"] / 1.15 < 2.5 * seconds * 80  # what a laptop can draw, idle time with it
    assert any("plain roofline" in each for each in found["extrapolates"])


def test_an_answer_of_one_token_is_written_by_the_prompt_s_step(bare_cli: Cli) -> None:
    outcome = bare_cli("floor", "Meta-Llama-3.1-8B", "--chip", "H100", "--output-tokens", "1")
    assert (outcome.code, outcome.err) == (0, "")
    assert "writing   none: the only token comes from the step that reads the prompt" in outcome.out


def test_training_is_carried_by_the_tokens_served(bare_cli: Cli) -> None:
    found = answered(bare_cli, *WORK, "--training-usd", "5576000", "--tokens-served", "100000000000000")
    assert found["training_usd_per_million"] == "0.05576"
    without = answered(bare_cli, *WORK)
    assert float(found["request"]["usd_by_part"]["training"]) == pytest.approx(1_300 * 0.05576e-6)
    more = found["request"]["dollars"] - without["request"]["dollars"]
    assert more == pytest.approx(1.05 * 1_300 * 0.05576e-6, rel=1e-3)
    for dearer, cheaper in zip(found["offers"], without["offers"], strict=True):
        assert dearer["times_floor"] < cheaper["times_floor"]


def test_the_text_s_million_is_a_thousand_times_its_parts(bare_cli: Cli) -> None:
    given = (
        "--tools-usd",
        "0.002",
        "--batchable",
        "0.3",
        "--training-usd",
        "5576000",
        "--tokens-served",
        "10" + "0" * 13,
    )
    found = answered(bare_cli, *WORK, *given)["request"]
    text = bare_cli("floor", *WORK, *given).out
    assert f"A million such requests cost {found['dollars'] * 1e6:,.2f} USD in all" in text
    assert re.search(rf"^all +{found['dollars'] * 1e3:.6f} *$", text, re.MULTILINE)
    assert re.search(r"^batch lane +-", text, re.MULTILINE)


def test_an_offer_says_whether_the_floor_excludes_it_and_which_utilisation_meets_it(bare_cli: Cli) -> None:
    own = ("--own", "--training-usd", "5576000", "--tokens-served", "100000000000000")
    for given in ((), own):
        found = answered(bare_cli, *WORK, *given)
        least = found["offers"][0]
        assert least["met_at_utilisation"] > 0.4 > found["offers"][-1]["met_at_utilisation"]
        tokens, training = found["request"]["tokens_dollars"], float(found["request"]["usd_by_part"]["training"])
        low = tokens * math.exp(-found["error_ln"]) + training
        assert least["inside_interval"] == (low <= least["request_dollars"]) == (not given)
        assert found["offers"][-1]["inside_interval"] is False
        met = answered(bare_cli, *WORK, *given, "--utilisation", repr(least["met_at_utilisation"]))
        assert met["offers"][0]["times_floor"] == pytest.approx(1, rel=1e-6)
        assert least["seller"] == met["offers"][0]["seller"]
    text = " ".join(bare_cli("floor", *WORK).out.split())
    assert "times the floor at 40% utilised (inside its 90 % interval; 45% utilised meets it)" in text


def test_full_use_may_not_be_enough_for_an_offer(bare_cli: Cli) -> None:
    given = (*WORK, "--chip-usd-per-hour", "9")
    assert answered(bare_cli, *given)["offers"][0]["met_at_utilisation"] is None
    assert "outside its 90 % interval; no utilisation meets it" in " ".join(bare_cli("floor", *given).out.split())


def test_what_is_true_of_every_floor_is_no_warning(bare_cli: Cli) -> None:
    assert answered(bare_cli, *WORK)["extrapolates"] == []
    assert "all within the calibration" in bare_cli("floor", *WORK).out


@pytest.mark.parametrize("given", [(), ("--input-tokens", "8000", "--output-tokens", "99", "--waste", "0.1", "--own")])
def test_a_day_s_power_is_that_of_its_requests(bare_cli: Cli, given: tuple[str, ...]) -> None:
    found = answered(bare_cli, *WORK, *given)
    day = found["replica"]
    assert day["kwh_per_day"] == pytest.approx(day["requests_per_day"] * found["request"]["joules"] / 3.6e6)
    text = " ".join(bare_cli("floor", *WORK, *given).out.split())
    assert f"{day['requests_per_day']:,.0f} requests a day take the replica {day['kwh_per_day']:,.1f} kWh" in text
    assert (day["power_usd_per_day"] is None) == (not given)


def test_rent_that_holds_the_power_shows_no_second_bill(bare_cli: Cli) -> None:
    rented, own = (bare_cli("floor", *WORK, *given).out for given in ((), ("--own",)))
    assert "paid with the rent" in rented
    assert "power price" not in rented.replace("its price", "")
    assert "The rent holds the power" in rented
    assert "power price" in own
    assert "The rent holds the power" not in own


@pytest.mark.parametrize("given", [(), ("--own", "--region", "US-VA", "--operator", "Google")])
def test_no_line_is_wider_than_a_terminal(bare_cli: Cli, given: tuple[str, ...]) -> None:
    lines = bare_cli("floor", *WORK, *given).out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 100
    heads = ("USD per million tokens", "dial ", "technique ", "part ")
    tables = [block for block in "\n".join(lines).split("\n\n") if any(f"\n{head}" in f"\n{block}" for head in heads)]
    rows = [line.rstrip() for block in tables for line in block.splitlines() if ": " not in line]
    assert len(tables) == 5
    assert max(map(len, rows)) <= 80


def test_why_a_technique_saves_nothing_stands_below_its_table(bare_cli: Cli) -> None:
    text = bare_cli("floor", "DeepSeek-V3", "--chip", "H200", "--gpus", "8").out
    assert re.search(r"^quantised weights +fp8 for bf16 +none *$", text, re.MULTILINE)
    assert "quantised weights: 8 x H200 do not hold deepseek-ai/DeepSeek-V3 in bf16" in text
    assert "as measured on deepseek-v4-pro, coding prompts" in text


@pytest.mark.parametrize(
    ("kind", "columns", "row"),
    [
        ("chips", "idle_w", "H100"),
        ("models", "billion_active", "deepseek-ai/DeepSeek-V3"),
        ("prices", "source", "B200"),
        ("regions", "usd_per_kwh", "US-VA"),
        ("operators", "pue", "Google"),
    ],
)
def test_what_is_known_is_listed_with_its_source(bare_cli: Cli, kind: str, columns: str, row: str) -> None:
    shown = bare_cli("floor", "--list", kind).out
    assert columns in shown
    assert row in shown
    found = bare_cli("floor", "--list", kind, "--json").json()
    assert any(row in each.values() for each in found)
    assert all(each.get("source", "known") for each in found)


@pytest.mark.parametrize("kind", ["chips", "models", "prices", "regions", "operators"])
def test_a_list_cuts_nothing_and_keeps_to_a_page(bare_cli: Cli, kind: str) -> None:
    shown = bare_cli("floor", "--list", kind).out
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 100
    assert "…" not in shown
    folded = " ".join(shown.split())
    for row in bare_cli("floor", "--list", kind, "--json").json():
        assert " ".join(str(row.get("source", "")).split()) in folded


def test_every_region_that_is_taken_is_listed(bare_cli: Cli) -> None:
    known = {each["region"]: each for each in bare_cli("floor", "--list", "regions", "--json").json()}
    assert len(known) > 200
    assert (known["FRA"]["usd_per_kwh"], known["FRA"]["place"]) == (None, "France")
    assert float(known["US-TX"]["usd_per_kwh"]) > 0
    assert known["US-TX"]["carbon_g_per_kwh"] == known["USA"]["carbon_g_per_kwh"]


def test_a_purchase_says_what_part_of_it_is_the_server(bare_cli: Cli) -> None:
    text = " ".join(bare_cli("floor", *WORK, "--own").out.split())
    assert "bought at 41982.63 USD a chip" in text
    assert "10078.00 USD of it for the server" in text
    assert "for the server" not in bare_cli("floor", *WORK, "--own", "--capex-usd", "42000").out


@pytest.mark.parametrize("name", ["cost.svg", "cost.png"])
def test_a_picture_is_drawn(bare_cli: Cli, tmp_path: Path, name: str) -> None:
    assert bare_cli("floor", *WORK, "--plot", str(tmp_path / name)).code == 0
    start = (tmp_path / name).read_bytes()[:4]
    assert start == (b"\x89PNG" if name.endswith("png") else b"<svg")


def test_the_picture_of_rented_chips_has_a_bar_for_each_part_and_the_interval(bare_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "cost.svg"
    assert bare_cli("floor", *WORK, "--tools-usd", "0.001", "--plot", str(path)).code == 0
    texts = set(re.findall(r">([^<>]+)</text>", path.read_text()))
    assert {"fresh", "output", "tools", "retries", "idle", "all", "machine", "request"} <= texts
    assert not {"power", "storage", "power price", "overhead (PUE)", "serving waste"} & texts
    assert any("90 % interval" in text for text in texts)
    colours = {each.casefold() for each in re.findall(r'fill="(#[0-9a-fA-F]{6})"', path.read_text())}
    assert {"#9aa5b8", "#1b7f79", "#c8782a"} <= colours


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "name a model or the path of its config.json"),
        ("Qwen3-8B", "chip is missing; name one with --chip"),
        ("Qwen3-8B --chip H1000", "no chip 'H1000' is known; near it: H100"),
        ("Qwen3-9B --chip H100", "no model 'Qwen3-9B' is known; near it: Qwen/Qwen3-8B"),
        ("Qwen3-8B --chip H100 --pue 0.9", "pue is 0.9; it must be at least 1"),
        ("Qwen3-8B --chip H100 --utilisation 0", "utilisation is 0.0; it is a share above 0"),
        ("Qwen3-8B --chip H100 --chip-usd-per-hour=-2", "--chip-usd-per-hour is -2; it must be at least 0"),
        ("Qwen3-8B --chip H100 --power-usd-per-kwh ten", "--power-usd-per-kwh: expected USD as a decimal"),
        ("Qwen3-8B --chip H100 --own --chip-usd-per-hour 2", "leave it out with --own"),
        ("Qwen3-8B --chip LAPTOP-CPU", "no rent of LAPTOP-CPU is known; give it with --chip-usd-per-hour"),
        ("Qwen3-8B --chip L4 --own", "no purchase price of L4 is known; give it with --capex-usd"),
        ("Qwen3-8B --chip H100 --engine sgl", "engine is 'sgl'; step times are known of sglang, trtllm, vllm"),
        ("Qwen3-8B --chip H100 --weights fp3", "weights is 'fp3'; give one of"),
        ("DeepSeek-V3 --chip H100 --gpus 4", "give at least 16 chips"),
        ("Qwen3-8B --chip H100 --slo-tpot-ms 1", "one sequence alone takes"),
        ("Qwen3-8B --chip H100 --own --region DEU", "no power price of DEU is known; give it with --power-usd-per-kwh"),
        ("Qwen3-8B --chip H100 --region Mars", "no region 'Mars' is known"),
        ("Qwen3-8B --chip H100 --gpus 0", "gpus is 0; it is how many chips one replica takes"),
        ("Qwen3-8B --chip H100 --chip-usd-per-hour 0", "the cost is 0, so no dial moves it; give a rent"),
        ("Qwen3-8B --chip H100 --operator Gogle", "no operator 'Gogle' is known; near it: Google"),
        ("Qwen3-8B --chip H100 --plot cost.pdf", "plot is cost.pdf; its name must end in .svg or .png"),
        ("none.json --chip H100", "none.json is not readable as a model's config.json"),
        ("Qwen3-8B --chip H100 --tools-usd free", "--tools-usd: expected USD as a decimal"),
        ("Qwen3-8B --chip H100 --training-usd 5", "tokens_served is 0"),
        ("Qwen3-8B --chip H100 --tokens-served 5", "give --training-usd with it, or leave it out"),
        ("Qwen3-8B --chip H100 --capex-usd 5", "capex_usd is for chips that are bought; give --own with it"),
        ("Qwen3-8B --chip H100 --life-years 5", "life_years is for chips that are bought; give --own with it"),
        ("Qwen3-8B --chip H100 --interest 0", "interest is for chips that are bought; give --own with it"),
        ("Qwen3-8B --chip H100 --tensor 0", "tensor is 0; it must be at least 1"),
        ("Qwen3-8B --chip RTX4090 --own", "only the bare card's price is known, 1417.20 USD; give --capex-usd"),
        ("Qwen3-8B --chip H100 --gpus 99999999999999999999", "it is how many chips one replica takes, from 1 to 4,096"),
        ("Qwen3-8B --chip H100 --pue 1e308", "pue is 1e+308; it must be at least 1 and at most 10"),
        ("Qwen3-8B --chip H100 --own --interest 1e308", "interest is 1e+308; it must be at least 0 and at most 10"),
        ("Qwen3-8B --chip H100 --own --life-years 1e-300", "life_years is 1e-300; it must be at least 0.01"),
        ("Qwen3-8B --chip H100 --utilisation 1e-300", "the least is 0.001"),
        ("Qwen3-8B --chip H100 --input-tokens 1" + "0" * 400, "at most 1,000,000,000"),
        (
            "Qwen3-8B --chip H100 --region DE",
            "give a country's ISO code of three letters, its name, or US- and a state",
        ),
        ("Qwen3-8B --chip H100 --region US-ZZ", "no state 'US-ZZ' is known, only US-AZ, US-CA"),
    ],
)
def test_bad_input_is_refused_in_one_line_with_the_way_out(bare_cli: Cli, arguments: str, said: str) -> None:
    outcome = bare_cli("floor", *arguments.split())
    assert outcome.code == 1
    assert outcome.out == ""
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_floor_can_be_written_as_a_price_of_bursar_toml(bare_cli: Cli) -> None:
    outcome = bare_cli("floor", *WORK, "--price")
    assert (outcome.code, outcome.err, outcome.out.count("\n")) == (0, "", 1)
    price = read_model_price(tomllib.loads(outcome.out)["price"], "house", "m", "price").at(0)
    floors = {name: usd_to_nano(each["floor"]) for name, each in answered(bare_cli, *WORK)["usd_per_million"].items()}
    leaves = {"input": "input_tokens", "cached_input": "cache_read_tokens", "output": "output_tokens"}
    assert {name: price.rates[leaf].base_nano for name, leaf in leaves.items()} == floors
