"""Rows come to length 1, and nothing stays nothing."""

import numpy as np

from bursar.embed.embedder import unit


def test_rows_come_to_length_one_and_nothing_stays_nothing() -> None:
    rows = unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))

    assert rows.dtype == np.float32
    assert rows.tolist() == [[np.float32(0.6), np.float32(0.8)], [0.0, 0.0]]
