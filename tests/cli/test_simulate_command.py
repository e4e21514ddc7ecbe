"""`bursar simulate` replays a trace and says how long requests take, what is promised and kept, and what it costs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.outcome import Cli

ON = ("--model", "Meta-Llama-3.1-8B", "--chip", "H100")
SMALL = (*ON, "--trace", "poisson:20,500,100,20")
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""


def answered(cli: Cli, *arguments: str) -> dict[str, Any]:
    return cli("simulate", *arguments, "--json").json()


def test_the_answer_says_all_that_an_operator_asks(bare_cli: Cli) -> None:
    outcome = bare_cli("simulate", *SMALL, "--replicas", "2")
    assert (outcome.code, outcome.err) == (0, "")
    for said in (
        "meta-llama/Meta-Llama-3.1-8B in bf16 on 2 x 1 x H100",
        "TTFT ms",
        "90 % interval of the mean",
        "of requests keep TTFT 500 ms and TPOT 50 ms",
        "preemptions",
        "kWh",
        "USD per million tokens",
        "waiting",
        "KV use",
    ):
        assert said in outcome.out


def test_the_same_line_gives_the_same_answer_and_another_seed_another(bare_cli: Cli) -> None:
    one = answered(bare_cli, *SMALL)
    assert one == answered(bare_cli, *SMALL)
    other = answered(bare_cli, *SMALL, "--seed", "2")
    assert other["e2e_ms"] != one["e2e_ms"]


def test_the_figures_hang_together(bare_cli: Cli) -> None:
    found = answered(bare_cli, *SMALL)
    ttft, tpot, whole = (found[name]["mean"] for name in ("ttft_ms", "tpot_ms", "e2e_ms"))
    assert whole == pytest.approx(ttft + 99 * tpot, abs=0.06)  # rounded to a microsecond
    assert found["interval"]["low"]["e2e_ms"]["mean"] < whole < found["interval"]["high"]["e2e_ms"]["mean"]
    assert found["goodput_per_s"] == pytest.approx(found["kept_share"] * found["requests_per_s"], abs=2e-3)
    low, high = found["energy_kwh_interval"]
    assert low < found["energy_kwh"] < high
    million, output = float(found["usd_per_million_tokens"]), float(found["usd_per_million_output_tokens"])
    assert output == pytest.approx(million * 6, rel=1e-6)  # 500 tokens in and 100 out
    assert {moment["waiting"] for moment in found["timeline"]} == {0}


def test_twice_the_rent_is_twice_the_price_and_a_bigger_site_more_energy(bare_cli: Cli) -> None:
    one, two = (answered(bare_cli, *SMALL, "--chip-usd-per-hour", rent, "--no-interval") for rent in ("2", "4"))
    assert float(two["usd_per_million_tokens"]) == pytest.approx(2 * float(one["usd_per_million_tokens"]), rel=1e-6)
    site = answered(bare_cli, *SMALL, "--pue", "2.3", "--no-interval")
    assert site["energy_kwh"] == pytest.approx(2 * one["energy_kwh"], rel=1e-4)
    assert one["interval"] == {}


def test_less_memory_and_more_load_show_in_queue_and_preemptions(bare_cli: Cli) -> None:
    free = answered(bare_cli, *SMALL, "--no-interval")
    tight = answered(bare_cli, *SMALL, "--no-interval", "--kv-blocks", "200", "--scale", "4")
    assert (free["preemptions"], free["queue_max"]) == (0, 0)
    assert tight["preemptions"] > 0 < tight["queue_max"]
    assert tight["kv_use"] > 0.7
    assert tight["kept_share"] < free["kept_share"]


def test_a_trace_is_read_from_a_file_of_any_form(bare_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "azure.csv").write_text(AZURE)
    lines = [{"timestamp": at, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]} for at in (0, 900)]
    (tmp_path / "mooncake.jsonl").write_text("\n".join(json.dumps(each) for each in lines))
    assert answered(bare_cli, *ON, "--trace", "azure.csv")["requests"] == 2
    found = answered(bare_cli, *ON, "--trace", "mooncake.jsonl")
    assert (found["requests"], found["hit_share"]) == (2, round(1024 / 2200, 4))
    assert answered(bare_cli, *ON, "--trace", "mooncake.jsonl", "--no-prefix-cache")["hit_share"] == 0


def test_the_timeline_is_drawn(bare_cli: Cli, tmp_path: Path) -> None:
    assert bare_cli("simulate", *SMALL, "--no-interval", "--plot", "queue.svg").code == 0
    picture = (tmp_path / "queue.svg").read_text()
    assert picture.startswith("<svg")
    assert "cache in use" in picture


def test_a_model_is_also_named_first_and_a_pictures_ending_in_capitals(bare_cli: Cli, tmp_path: Path) -> None:
    words = ("Meta-Llama-3.1-8B", "--chip", "H100", "--trace", "poisson:20,500,100,20", "--no-interval")
    assert answered(bare_cli, *words) == answered(bare_cli, *SMALL, "--no-interval")
    assert bare_cli("simulate", *words, "--plot", "queue.SVG").code == 0
    assert (tmp_path / "queue.SVG").read_text().startswith("<svg")


def test_a_picture_that_cannot_be_is_refused_before_any_work(bare_cli: Cli) -> None:
    for plot, complaint in (("queue.gif", "must end in .svg or .png"), ("nowhere/queue.svg", "no folder nowhere")):
        outcome = bare_cli("simulate", *ON, "--trace", "nowhere.csv", "--plot", plot)
        assert complaint in outcome.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "Meta-Llama-3.1-8B", "--trace", "azure-conv"), "chip is missing; name one with --chip"),
        (
            (*ON, "--trace", "nowhere.csv"),
            "trace nowhere.csv cannot be read: No such file or directory; give",
        ),
        ((*ON, "--trace", "poisson:5"), "poisson:5 has 1 values; give poisson:RATE,IN,OUT,SECONDS"),
        ((*SMALL, "--kv-blocks", "30"), "has 500 tokens in and 100 out, 38 blocks of cache; a replica has 30"),
        ((*ON, "--trace", "azure-conv", "--scale", "inf"), "scale is inf; give a number above 0"),
        ((*SMALL, "--seed", "-1"), "seed is -1; give a whole number of at least 0"),
        ((*SMALL, "--pue", "inf"), "pue is inf; give a plain number"),
        ((*SMALL, "--slo-ttft-ms", "inf"), "slo_ttft_ms is inf; give milliseconds above 0"),
        ((*SMALL, "--replicas", "0"), "replicas is 0; give a whole number of at least 1"),
        ((*SMALL, "--slo-ttft-ms", "0"), "slo_ttft_ms is 0.0; give milliseconds above 0"),
        ((*SMALL, "--step-tokens", "100"), "step_tokens is 100, fewer than the 256 sequences"),
        ((*SMALL, "--scale", "0"), "scale is 0.0; give a number above 0"),
        ((*SMALL, "--chip-usd-per-hour", "dear"), "--chip-usd-per-hour"),
        ((*SMALL, "--plot", "queue.gif"), "plot is queue.gif; its name must end in .svg or .png"),
        (("--model", "Meta-Llama-3.1-70B", "--chip", "H100", "--trace", "azure-conv"), "give more chips with --gpus"),
        (("--model", "Meta-Llama-3.1-8B", "--chip", "H1000", "--trace", "azure-conv"), "no chip 'H1000' is known"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(bare_cli: Cli, arguments: tuple[str, ...], complaint: str) -> None:
    outcome = bare_cli("simulate", *arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert complaint in outcome.err


def test_a_file_that_is_no_text_is_refused(bare_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_bytes(b"\xff\xfe\x00")
    assert "trace trace.csv is not text in UTF-8" in bare_cli("simulate", *ON, "--trace", "trace.csv").err


def test_a_token_served_costs_no_more_because_it_was_found_in_the_cache(bare_cli: Cli, tmp_path: Path) -> None:
    lines = [{"at_s": at / 5, "input_tokens": 2048, "output_tokens": 20, "prefix": [1, 2, 3]} for at in range(40)]
    (tmp_path / "shared.jsonl").write_text("\n".join(json.dumps(each) for each in lines))
    on, off = (
        answered(bare_cli, *ON, "--trace", "shared.jsonl", "--no-interval", *more)
        for more in ((), ("--no-prefix-cache",))
    )
    assert on["hit_share"] > 0.7 > off["hit_share"]
    assert float(on["usd_per_million_tokens"]) <= float(off["usd_per_million_tokens"])


def test_requests_without_output_have_no_price_of_output(bare_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text('{"at_s": 0, "input_tokens": 10, "output_tokens": 0}')
    found = answered(bare_cli, *ON, "--trace", "none.jsonl")
    assert (found["usd_per_million_output_tokens"], found["energy_j_per_output_token"]) == (None, None)
    said = bare_cli("simulate", *ON, "--trace", "none.jsonl").out
    assert "per million of output" not in said
    assert "J an output token" not in said


def test_one_request_shows_in_every_line_and_none_is_wide_or_empty(bare_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"at_s": 0, "input_tokens": 10, "output_tokens": 9}')
    said = bare_cli("simulate", *ON, "--trace", "one.jsonl", "--no-interval").out
    assert "interval of the mean" not in said
    assert "0.000 kWh" not in said
    assert "\n\n\n" not in said
    busy = bare_cli("simulate", *SMALL).out
    assert max(len(line) for line in busy.splitlines() if line.startswith(("waiting", "KV use"))) <= 80
    assert "▁" in next(line for line in busy.splitlines() if line.startswith("KV use"))
