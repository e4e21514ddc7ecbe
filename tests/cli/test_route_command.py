"""`bursar route` trains a router on labels, says what it would save, and why it chooses."""

import json
from pathlib import Path

import pytest

from tests.cli.outcome import Cli

PRICES = ("--price", "small=0.15,0.60", "--price", "big=2.50,10")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Write labels of two models: the small one greets and cannot calculate."""
    rows = []
    for number in range(240):
        hard = number % 2 == 0
        prompt = f"Compute {number} * {number + 7} - 3 = ?" if hard else f"Say hello to friend number {number}."
        small = float(not hard or number % 24 == 0)
        row = {"prompt": prompt, "scores": {"small": small, "big": 1.0}, "tags": {"task": "sum" if hard else "chat"}}
        rows.append(json.dumps(row))
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(rows))
    return file


@pytest.fixture
def router(bare_cli: Cli, labels: Path, tmp_path: Path) -> Path:
    out = tmp_path / "router.json"
    trained = bare_cli("route", "train", str(labels), "--out", str(out), "--json").json()
    assert trained["card"]["labels"] == 240
    assert trained["card"]["figures"]["big mean score"] == 1.0
    return out


def test_a_router_is_judged_on_rows_left_out_beside_trivial_rules(bare_cli: Cli, labels: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curve.svg"

    outcome = bare_cli("route", "eval", str(labels), *PRICES, "--task", "task", "--curve", str(picture))

    assert (outcome.code, outcome.err) == (0, "")
    for said in (
        "240 labels",
        "best model by task",
        "router, 95 %",
        "oracle",
        "95 % of big's quality costs",
        "longest first",
        "chosen with hindsight",
        "no label counts tokens: answers are taken as 300 tokens long",
    ):
        assert said in outcome.out
    assert picture.read_text().startswith("<svg")


def test_figures_come_as_json(bare_cli: Cli, labels: Path) -> None:
    report = bare_cli("route", "eval", str(labels), *PRICES, "--json").json()

    assert report["best"] == "big"
    assert report["savings"]["98"] > 0.3
    assert report["gap"]["apgr"] > report["longest_first"]["apgr"]


def test_a_prompt_is_explained_by_ones_own_router_and_by_the_one_that_ships(bare_cli: Cli, router: Path) -> None:
    own = bare_cli("route", "explain", "Compute 3 * 4 - 3 = ?", "--router", str(router))
    shipped = bare_cli("route", "explain", "Compute 3 * 4 - 3 = ?", "--json").json()

    assert own.code == 0
    assert "big: 100% good enough" in own.out
    assert "points for big over small" in own.out
    assert "spreads above the labels' mean" in own.out
    assert "effort " in own.out
    assert isinstance(shipped["effort"], float)
    assert shipped["models"] == ["weak", "strong"]
    assert shipped["chances"][0] < shipped["chances"][1]


def test_what_cannot_be_done_is_refused_in_a_line(bare_cli: Cli, labels: Path, router: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text('{"prompt": "a", "scores": {"small": 1, "big": 1}}\n')
    other = tmp_path / "other.jsonl"
    other.write_text(labels.read_text().replace('"small"', '"tiny"'))
    for arguments, error in (
        (("train", str(tmp_path / "none"), "--out", "x"), "none cannot be read: No such file or directory"),
        (("train", str(few), "--out", "x"), "few.jsonl: 1 labels; a router takes at least 50"),
        (("train", str(labels), "--out", str(tmp_path / "no" / "x")), "x cannot be written: No such file or directory"),
        (("eval", str(labels)), "no price for model 'small'"),
        (("eval", str(labels), "--price", "small"), "price is 'small': expected MODEL=INPUT,OUTPUT, such as small="),
        (("eval", str(labels), "--price", "tiny=1,1"), "price: the labels have no model tiny; they have small, big"),
        (("eval", str(labels), *PRICES, "--curve", "x.pdf"), "plot is x.pdf; its name must end in .svg or .png"),
        (("eval", str(labels), *PRICES, "--router", str(router)), "was trained on these very labels; leave --router"),
        (("eval", str(other), *PRICES, "--router", str(router)), "price: the labels have no model small"),
        (("eval", str(labels)), "give it by --price small=INPUT,OUTPUT"),
        (("eval", str(labels), *PRICES, "--output-tokens", "-5"), "output-tokens is -5; expected at least 1"),
        (("eval", str(labels), *PRICES, "--task", "nosuch"), "task is 'nosuch', which is no tag of the labels; they"),
        (("train", str(labels), "--out", "x", "--embedder", "fast"), "embedder is 'fast'; give static, local:FOLDER"),
        (("explain", " "), "prompt is empty; expected a text to explain"),
        (("explain", "a", "--router", str(few)), "few.jsonl: no router (Object missing required field `version`"),
    ):
        outcome = bare_cli("route", *arguments)
        assert (outcome.code, outcome.out) == (1, ""), arguments
        assert error in outcome.err
        assert outcome.err.count("\n") == 1
