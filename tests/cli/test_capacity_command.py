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
    assert (hasty.code, hasty.out.count("none")) == (0, 2)
    assert "1 x H100 at 1x: even 32 replicas keep the promise for 0.00% of the requests only" in hasty.out
    slow = bare_cli("capacity", *ONCE, "--slo-tpot-ms", "0.5")
    assert "slo_tpot_ms is 0.5; one sequence alone takes" in slow.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--scale", "1,ten"), "scale is '1,ten'; give numbers by commas, such as 1,10,100"),
        (("--scale", "0"), "scale is '0'; give numbers above 0"),
        (("--jobs", "0"), "jobs is 0; give a number of processes of at least 1"),
        (("--chips", "H100,Z9"), "no chip 'Z9' is known"),
        (("--gpus", "0"), "chips is 0"),
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
    assert (
        "405B in bf16 does not fit the 8 x A100 of a node; give --weights of fewer bits, or leave A100 out"
        in outcome.err
    )
