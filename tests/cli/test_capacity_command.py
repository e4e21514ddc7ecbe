"""`bursar capacity` finds the cheapest fleet that keeps a promise, whoever works on it."""

from typing import Any

import pytest

from tests.cli.outcome import Cli

MODEL = ("--model", "Meta-Llama-3.1-8B", "--trace", "poisson:20,500,100,30")
SMALL = (*MODEL, "--chips", "H100,A100", "--scale", "1,8")
ONCE = (*MODEL, "--chips", "H100,A100", "--jobs", "1", "--gpus", "1", "--scale", "1")


def found(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    return cli("capacity", *SMALL, *arguments, "--json").json()["fleets"]


def test_the_cheapest_comes_first_at_each_load(bare_cli: Cli) -> None:
    fleets = found(bare_cli, "--jobs", "1")
    assert [each["scale"] for each in fleets] == sorted(each["scale"] for each in fleets)
    for scale in (1, 8):
        hours = [float(each["usd_per_hour"]) for each in fleets if each["scale"] == scale]
        assert hours == sorted(hours)
        assert len(hours) == 4  # two chips, each alone and in pairs
    for each in fleets:
        assert each["figures"]["kept_share"] >= 0.99
        assert each["chips"] == each["replicas"] * each["gpus"]
        assert each["replicas"] in each["tried"]
        assert each["replicas"] == 1 or each["replicas"] - 1 in each["tried"]
    assert max(each["replicas"] for each in fleets if each["scale"] == 8) > 1


def test_processes_find_what_one_does(bare_cli: Cli) -> None:
    assert found(bare_cli, "--jobs", "2", "--gpus", "1") == found(bare_cli, "--jobs", "1", "--gpus", "1")


def test_the_table_names_the_cheapest_and_why_there_is_none(bare_cli: Cli) -> None:
    outcome = bare_cli("capacity", *SMALL, "--jobs", "1", "--gpus", "1")
    assert (outcome.code, outcome.err, outcome.out.count("cheapest")) == (0, "", 2)
    hasty = bare_cli("capacity", *ONCE, "--slo-ttft-ms", "1")
    assert (hasty.code, hasty.out.count("none")) == (1, 2)
    assert "1 x H100 at 1x: even 32 replicas keep the promise for 0.00% of the requests only: TTFT for 0.0" in hasty.out
    assert "TPOT for 100.00%; a prompt of 500 tokens, which 99.00% do not pass, takes 18 ms alone" in hasty.out
    assert "no fleet keeps the promise at 1x; beside each fleet stands why" in hasty.err
    slow = bare_cli("capacity", *ONCE, "--slo-tpot-ms", "0.5")
    assert "slo_tpot_ms is 0.5; one sequence alone takes" in slow.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--scale", "1,ten"), "scale is '1,ten'; give numbers by commas, such as 1,10,100"),
        (("--scale", "0"), "scale is '0'; give numbers above 0"),
        (("--jobs", "0"), "jobs is 0; give a number of processes of at least 1"),
        (("--chips", "H100,Z9"), "no chip 'Z9' is known"),
        (("--scale", "inf"), "scale is 'inf'; give numbers above 0"),
        (("--gpus", "0"), "gpus is 0; it is how many chips one replica takes, at least 1"),
        (("--chips", "H100,"), "chips is 'H100,'; give names by commas, such as H100,B200"),
        (("--requests", "0"), "requests is 0; give a whole number of requests to replay"),
        (("--seed", "-1"), "seed is -1; give a whole number of at least 0"),
        (("--tensor", "1"), "--tensor and --expert split the chips of a replica; give their number with --gpus"),
        (("--chip-usd-per-hour", "2"), "--chip-usd-per-hour is 2 for 3 chips; give each its own: H100=2"),
        (("--chip-usd-per-hour", "A100=2"), "--chip-usd-per-hour names A100, which is none of the chips H100, H200"),
        (("--chip-usd-per-hour", "H100=dear"), "--chip-usd-per-hour"),
        (("--ray", "127.0.0.1:1"), "no Ray cluster answers at 127.0.0.1:1 ("),
        (("--ray", "there:ray"), "no Ray cluster answers at there:ray ("),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(bare_cli: Cli, arguments: tuple[str, ...], complaint: str) -> None:
    outcome = bare_cli("capacity", *MODEL, *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert complaint in outcome.err


def test_a_model_that_fits_no_node_is_refused(bare_cli: Cli) -> None:
    outcome = bare_cli("capacity", "--model", "Meta-Llama-3.1-405B", "--trace", "azure-conv", "--chips", "A100")
    assert "405B in bf16 fits a node of none of A100; give --weights of fewer bits, or other --chips" in outcome.err


def test_a_chip_that_does_not_hold_the_model_does_not_keep_the_others_from_it(bare_cli: Cli) -> None:
    large = ("--model", "DeepSeek-R1", "--trace", "poisson:2,500,50,20", "--chips", "H100,B200", "--jobs", "1")
    outcome = bare_cli("capacity", *large, "--scale", "1", "--slo-ttft-ms", "2000")
    assert outcome.code == 0
    assert "8 x H100 do not hold" in outcome.out
    assert outcome.out.count("cheapest") == 1


def test_a_chip_or_a_load_named_twice_is_tried_once(bare_cli: Cli) -> None:
    twice = bare_cli(
        "capacity", *MODEL, "--chips", "H100,H100", "--scale", "1,1", "--gpus", "1", "--jobs", "1", "--json"
    )
    assert len(twice.json()["fleets"]) == 1


def test_ones_own_rent_and_engine_count(bare_cli: Cli) -> None:
    own = (*ONCE, "--chip-usd-per-hour", "H100=9.5,A100=0.25", "--cache", "fp8", "--kv-blocks", "400")
    fleets = bare_cli("capacity", *own, "--sequences", "16", "--json").json()["fleets"]
    assert [(each["chip"], float(each["usd_per_hour"]) / each["chips"]) for each in fleets] == [
        ("A100", 0.25),
        ("H100", 9.5),
    ]
    assert max(each["figures"]["kv_use_max"] for each in fleets) > 0.5


def test_a_fleet_that_step_times_within_their_error_would_put_first_is_marked(bare_cli: Cli) -> None:
    pair = (*MODEL, "--chips", "H100,H200", "--gpus", "1", "--jobs", "1", "--scale", "20", "--chip-usd-per-hour")
    near = bare_cli("capacity", *pair, "H100=2,H200=2.01").out
    assert (near.count("cheapest"), near.count("within the error")) == (1, 2)  # its row, and what the mark means
    far = bare_cli("capacity", *pair, "H100=2,H200=90", "--json").json()
    assert [each["remark"] for each in far["fleets"]] == ["cheapest", ""]
    low, high = far["fleets"][0]["replicas_interval"]
    assert low < far["fleets"][0]["replicas"] < high


def test_what_is_replayed_is_said_and_a_trace_that_is_over_too_soon(bare_cli: Cli) -> None:
    cut = (
        "--trace",
        "azure-conv",
        "--chips",
        "H100",
        "--gpus",
        "1",
        "--jobs",
        "1",
        "--scale",
        "1",
        "--requests",
        "1000",
    )
    outcome = bare_cli("capacity", "--model", "Meta-Llama-3.1-8B", *cut)
    assert "requests of azure-conv in 300 s, the busiest stretch" in outcome.out
    short = ("--trace", "poisson:100,50,500,2", *cut[2:])
    assert "the trace 2.0 s; give a longer one" in bare_cli("capacity", "--model", "Meta-Llama-3.1-8B", *short).out
