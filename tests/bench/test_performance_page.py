"""The page of figures is written from a run, the same for the same run; and a run has only parts there are."""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from inline_snapshot import snapshot

from bench.gateway import PARTS, chosen, with_anchors
from bench.harness import ROOT
from bench.performance import WORDS, Run, page
from bench.soak import slope_mb

RUN = {
    "bench": "gateway",
    "machine": {"cpu": "A Processor", "cores": 2, "memory_gb": 25, "python": "3.11.7", "kernel": "6.1"},
    "began": "2026-11-22T10:00:00+00:00",
    "minutes": 11.5,
    "command": "python -m bench.gateway",
    "load_before": 0.25,
    "figures": [
        {"id": "gateway.rps_json_1core", "value": 20400, "unit": "req/s", "note": "p50 1.50 ms", "anchors": {"x": 1}},
        {"id": "gateway.added_p50_ms", "value": 0.18, "unit": "ms", "note": "a|b"},
        {"id": "gateway.unheard_of", "value": 2.0, "unit": ""},
    ],
    "peers": [
        {"name": "Bursar, 1 worker", "version": "0", "does": "all", "rps": 20400, "sse": "whole", "rss_mb": 90},
        {"name": "Other", "version": "2", "does": "less", "missing": "no npm"},
    ],
}


def test_the_page_shows_what_the_run_found() -> None:
    text = page([msgspec.convert(RUN, Run)])
    measured, _, rest = text.partition("Measured ")[2].partition("## How it was measured")
    assert measured == snapshot("""\
on A Processor, 2 cores, 25 GB, Linux 6.1, Python 3.11.7; in brackets the load average of the minute before:

- 2026-11-22, 11.5 minutes: `python -m bench.gateway` (0.25)

| figure | | id | how it came about |
|---|---|---|---|
| calls a second, closed loop of 32 or 128 | 20,400 req/s | `gateway.rps_json_1core` | p50 1.50 ms |
| added to a call, median, one call at a time | 0.18 ms | `gateway.added_p50_ms` | a/b |
| gateway.unheard_of | 2 | `gateway.unheard_of` |  |

## Beside others

| gateway | version | req/s | connections | added p50, p99 ms | SSE | MB | what it does for each call |
|---|---|---|---|---|---|---|---|
| Bursar, 1 worker | 0 | 20,400 | 0 | 0.00, 0.00 | whole | 90 | all |
| Other | 2 | not measured: no npm | | | | | less |

""")
    assert "## What it does not say" in rest


def test_the_command_writes_the_same_page_for_the_same_run(tmp_path: Path) -> None:
    run, output = tmp_path / "run.json", tmp_path / "page.md"
    run.write_bytes(msgspec.json.encode(RUN))
    command = [sys.executable, "-m", "bench.performance", str(run), "--output", str(output)]
    texts = []
    for _ in range(2):
        subprocess.run(command, check=True, cwd=ROOT)
        texts.append(output.read_text())
    assert texts == [page([msgspec.convert(RUN, Run)])] * 2


def test_parts_that_ran_apart_make_one_page(tmp_path: Path) -> None:
    first, second = msgspec.convert(RUN, Run), msgspec.convert(RUN | {"peers": [], "began": "2026-11-23"}, Run)
    text = page([first, second])
    assert text.count("\n- 2026-11-2") == 2
    assert text.count("`gateway.added_p50_ms`") == 2
    assert text.count("| Bursar, 1 worker |") == 1


def test_a_run_without_peers_has_no_table_of_them() -> None:
    assert "## Beside others" not in page([msgspec.convert(RUN | {"peers": []}, Run)])


def test_every_figure_of_the_benchmark_has_words() -> None:
    found = set()
    for name in ("comparison", "soak", "speed", "sse", "streams"):
        for node in ast.walk(ast.parse((ROOT / "bench" / f"{name}.py").read_text())):
            if isinstance(node, ast.Constant) and str(node.value).startswith("gateway.") and " " not in str(node.value):
                found.add(node.value)
    whole = {name for name in found if name in WORDS}
    stems = found - whole
    assert len(whole) > 10
    assert [stem for stem in stems if not any(name.startswith(stem) for name in WORDS)] == []


def test_only_known_parts_are_chosen() -> None:
    assert chosen("json, soak") == ["json", "soak"]
    assert chosen(",".join(PARTS)) == list(PARTS)
    with pytest.raises(ValueError, match="got 'jsn'"):
        chosen("jsn")


def test_peers_of_the_same_run_stand_beside_the_rate() -> None:
    run = msgspec.convert(RUN, Run)
    peer = msgspec.structs.replace(run.peers[1], rps=1_000.0)
    figures = with_anchors(run.figures, [run.peers[0], peer, run.peers[1]])
    assert figures[0].anchors == {"Other 2": 1_000.0}
    assert figures[1:] == run.figures[1:]


def test_the_slope_is_that_of_100_000_calls() -> None:
    samples = [(number, 60.0 + number / 50_000) for number in range(0, 10_000, 100)]
    assert slope_mb(samples) == pytest.approx(2.0)
    assert slope_mb([(number, 60.0) for number, _ in samples]) == 0.0
