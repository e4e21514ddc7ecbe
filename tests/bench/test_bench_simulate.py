"""Tables of step times are looked up as they are written, and an error is that of mean, median, P90 and P99."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.profiled import Profiled
from bench.simulate import error_pct

SIZES = [16 << power for power in range(11)]
LAYERS = ("layernorm", "qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj", "embedding")


@pytest.fixture
def tables(tmp_path: Path) -> Profiled:
    """Write tables of simple laws, and read them."""
    dense = [f"{name},{tokens},{10 + tokens}" for name in (*LAYERS, "final_layernorm") for tokens in (1, 16, 2048)]
    ends = [f"{name},{count},{5 + count}" for name in ("lm_head", "sampler") for count in (1, 256)]
    shapes = [(chunk, past, n, kv) for chunk, past in product(SIZES[:8], [0, *SIZES]) for n, kv in batches()]
    shapes += [(0, 0, n, kv) for n, kv in batches() if n] + [(0, 0, 256, kv) for kv in SIZES[:6]]
    attention = [f"{c},{past},{n},{kv},{c + past / 8 + n * kv / 4 * (2 if c else 1)}" for c, past, n, kv in shapes]
    for name, header, rows in (
        ("dense", "layer,tokens,time_us", dense),
        ("per_sequence", "layer,sequences,time_us", ends),
        ("attention", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us", attention),
    ):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    return Profiled(tmp_path)


def batches() -> list[tuple[int, int]]:
    return [(0, 0), *product([1 << power for power in range(8)], SIZES)]


@pytest.mark.parametrize(("decodes", "mean"), [(1, 16), (3, 100), (64, 1024), (100, 5000), (200, 3000), (256, 300)])
def test_a_decode_step_is_the_sum_of_its_parts(tables: Profiled, decodes: int, mean: int) -> None:
    base, slope, until = tables.decode(decodes, decodes * mean)
    parts_us = (32 * 8 + 2) * (10 + decodes) + 2 * (5 + decodes) + 32 * decodes * mean / 4
    assert base + slope * decodes * mean == pytest.approx(parts_us * 1e-6)
    assert until >= decodes * mean


def test_decoding_beside_a_prompt_is_as_slow_as_measured(tables: Profiled) -> None:
    parts_us = (32 * 8 + 2) * (10 + 310) + 2 * (5 + 12) + 32 * (150 + 20 / 8 + 10 * 500 / 4 * 2 + 150 + 20 / 8)
    assert tables.mixed(10, 5000, 300, 2, 20) == pytest.approx(parts_us * 1e-6)


def test_an_error_is_the_mean_of_four() -> None:
    was = np.array([1.0, 2.0, 3.0, 10.0])
    assert error_pct(was, was) == 0
    assert error_pct(was * 0.9, was) == pytest.approx(10)
    assert error_pct(np.array([1.0, 2.0, 3.0, 14.0]), was) > 15
