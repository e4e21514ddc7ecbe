"""Rows of the silicon sample say what ran; what they leave open comes from the recipe, or the row is left out."""

import csv
from pathlib import Path

import pytest

from bench.calibrate.silicon import FILE, sample

ROW = {
    "id": "a", "silicon_data_source": "db-dump/2026-04-27; config_id=1; measured=2026-03-25T00:00:00.000Z; "
    "lmsysorg/sglang:v0.5.9-cu130", "backend": "sglang", "backend_version": "0.5.9",
    "model_path": "deepseek-ai/DeepSeek-R1", "system": "b200_sxm", "precision": "fp8", "mode": "agg", "isl": "1024",
    "osl": "1024", "tp_size": "8", "attention_dp_size": "1", "moe_tp_size": "8", "moe_ep_size": "1",
    "prefill_num_workers": "", "prefill_tp_size": "4", "prefill_attention_dp_size": "2", "prefill_moe_ep_size": "8",
    "decode_num_workers": "", "decode_tp_size": "1", "decode_attention_dp_size": "16", "decode_moe_ep_size": "16",
    "silicon_ttft_ms": "200", "silicon_tpot_ms": "10", "gpus": "8", "concurrency": "32",
}  # fmt: skip
LAB = {"silicon_data_source": "source_file=data/h100_sxm/vllm/0.12.0/x.csv; silicon_concurrency=32"}
FILED = {"silicon_data_source": ROW["silicon_data_source"].replace("db-dump/2026-04-27", "source_file=2026-03-25.csv")}

COPY = {"silicon_data_source": "source_file=qwen3.5-397b-gap-analysis.csv", "silicon_tpot_ms": "10.01"}


def write(folder: Path, *changes: dict[str, str]) -> Path:
    path = folder / FILE
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows({**ROW, **change} for change in changes)
    return folder


def test_a_row_says_what_ran(tmp_path: Path) -> None:
    (run,) = sample(write(tmp_path, {})).runs
    held = run.deployment
    assert (held.chip.name, held.chips, held.tensor, held.expert) == ("B200", 8, 8, 1)
    assert (held.weights, held.cache, held.engine) == ("fp8", "fp8", "sglang")
    assert (run.traffic.input_tokens, run.traffic.output_tokens) == (922, 922)
    assert (run.ttft_s, run.tpot_s, run.lab, run.clients.wait_steps) == (0.2, 0.01, False, 15.0)


def test_a_laboratorys_lengths_are_those_named_and_equal(tmp_path: Path) -> None:
    (run,) = sample(write(tmp_path, LAB)).runs
    assert (run.traffic.input_tokens, run.clients.equal, run.deployment.cache) == (1024, True, "bf16")


@pytest.mark.parametrize(
    ("change", "tensor", "expert"),
    [
        ({"tp_size": "64", "moe_ep_size": "8"}, 8, 8),
        ({"tp_size": "1", "attention_dp_size": "8", "moe_ep_size": "8"}, 1, 8),
        ({"tp_size": "1", "attention_dp_size": "64", "moe_ep_size": "8"}, 1, 8),
        ({"tp_size": "2", "attention_dp_size": "4"}, 2, 1),
        ({"attention_dp_size": "0", "moe_ep_size": "0"}, 8, 1),
    ],
)
def test_a_product_of_tp_and_ep_is_not_taken_for_chips(
    tmp_path: Path, change: dict[str, str], tensor: int, expert: int
) -> None:
    (run,) = sample(write(tmp_path, change)).runs
    assert (run.deployment.chips, run.deployment.tensor, run.deployment.expert) == (8, tensor, expert)


@pytest.mark.parametrize(
    ("changes", "drafts"),
    [
        ([{}], [0]),
        ([FILED], [3]),
        ([{**FILED, "moe_ep_size": "8"}], [0]),
        ([{**FILED, "system": "h200_sxm"}], [0]),
        ([LAB], [0]),
        ([FILED, COPY], [3, 3]),
        ([FILED, {**COPY, "silicon_tpot_ms": "12"}], [3, 0]),
    ],
)  # fmt: skip
def test_drafts_come_from_the_recipe_of_the_image(
    tmp_path: Path, changes: list[dict[str, str]], drafts: list[int]
) -> None:
    assert [run.guess.draft for run in sample(write(tmp_path, *changes)).runs] == drafts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gpus": ""}, "aggregated, number of replicas unknown"),
        ({"mode": "disagg"}, "two pools, number of replicas or load unknown"),
        ({"system": "gb200", "gpus": "72"}, "gb200 of whole racks, filed as aggregated"),
    ],
)
def test_a_row_that_does_not_say_what_ran_is_counted_and_left_out(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    found = sample(write(tmp_path, change, {}))
    assert found.left_out == {reason: 1}
    assert len(found.runs) == 1


def test_more_weights_than_chips_hold_are_predicted_but_not_learnt_from(tmp_path: Path) -> None:
    runs = sample(write(tmp_path, {"gpus": "1", "tp_size": "1"}, {})).runs
    assert [run.doubtful for run in runs] == ["more weights than the chips named can hold", ""]


def test_two_pools_have_deployments_and_replicas_of_their_own(tmp_path: Path) -> None:
    pools = {"mode": "disagg", "gpus": "", "prefill_num_workers": "3", "decode_num_workers": "2"}
    (run,) = sample(write(tmp_path, pools)).apart
    (readers, threes), (writers, twos) = run.readers, run.writers
    assert (readers.chips, readers.tensor, readers.expert, threes) == (8, 4, 8, 3)
    assert (writers.chips, writers.tensor, writers.groups, twos) == (16, 1, 16, 2)
