"""Fields of knowledge are read from WordNet's files as they stand, and directions part topics however they scatter."""

from pathlib import Path

import numpy as np
import pytest

from bench.make_fields import KINDS, directions, entries
from bursar.savings.route.fields import FIELDS

LICENCE = "  1 This software and database is being provided to you\n"


def line(place: int, word: str, topics: tuple[int, ...] = ()) -> str:
    pointers = " ".join(f";c {topic:08d} n 0000" for topic in topics)
    return (
        f"{place:08d} 04 n 01 {word} 0 {len(topics) + 1:03d} @ 00000001 n 0000 {pointers} | what {word} is; as said\n"
    )


def test_entries_are_kept_with_the_topic_that_enough_of_them_point_to(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / f"data.{kind}").write_text(LICENCE)
    law, sea = 900, 901
    nouns = [line(place, f"court_{place}", (law,)) for place in range(1, 13)] + [line(20, "keel", (sea,))]
    (tmp_path / "data.noun").write_text(LICENCE + "".join([*nouns, line(law, "law"), line(sea, "sea")]))

    texts, topics = entries(tmp_path)

    assert texts[0] == "court 1: what court_1 is; as said"
    assert texts[-1] == "law: what law is; as said"
    assert topics == [0] * 13  # of the sea there is one entry, and no topic


@pytest.mark.parametrize("seed", [1, 2])
def test_directions_part_topics_however_far_entries_scatter_elsewhere(seed: int) -> None:
    generator = np.random.default_rng(seed)
    topics = np.repeat(np.arange(40), 30)
    centres = np.concatenate([generator.normal(size=(40, 5)), np.zeros((40, 59))], axis=1)
    vectors = centres[topics] + 0.3 * generator.normal(size=(1_200, 64))
    vectors[:, 60:] *= 20  # how entries of one topic differ, and no topics do

    found = directions(vectors, topics)

    assert found.shape == (64, FIELDS)
    assert np.abs(found[:5, :5]).max() > 20 * np.abs(found[60:, :5]).max()
