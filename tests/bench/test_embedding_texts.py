"""The texts an embedding is fitted on are read as they stand, once each, and stated by their hash."""

import hashlib
from pathlib import Path

from bench.embedding_texts import LEARNT_FROM, Source, Synset, banking, held_out, read_wordnet

LINES = """  1 This software and database is being provided to you
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived or known
02084071 05 n 02 domestic_dog 0 dog 0 001 @ 02083346 n 0000 | a member of the genus Canis; "the dog barked"; "a dog"
"""


def test_wordnet_gives_meanings_and_examples(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(LINES, encoding="latin-1")
    (tmp_path / "data.adj").write_text("00001740 00 a 01 able(p) 0 000 | having the power  \n", encoding="latin-1")
    for kind in ("verb", "adv"):
        (tmp_path / f"data.{kind}").write_text("")

    synsets, examples = read_wordnet(tmp_path)

    assert synsets == [
        Synset("entity", "noun", "that which is perceived or known"),
        Synset("domestic dog", "noun", "a member of the genus Canis"),
        Synset("able", "adj", "having the power"),
    ]
    assert examples == ["the dog barked", "a dog"]


def test_questions_are_read_with_their_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "banking77").mkdir()
    (tmp_path / "banking77/train.csv").write_text('text,category\n"Where is\nmy card?",card_arrival\n')

    assert banking(tmp_path, "train") == ["Where is\nmy card?"]


def test_what_is_held_out_is_none_of_what_is_learnt_from() -> None:
    learnt, away = held_out(10_003)

    assert len(learnt) == LEARNT_FROM
    assert sorted(learnt + away) == list(range(10_003))
    assert (learnt, away) == held_out(10_003)


def test_a_source_is_stated_by_the_texts_it_gave() -> None:
    found = Source("glosses", "a dictionary", "free", ("one", "two", "three")).first(2).stated

    assert (found.name, found.licence, found.texts) == ("glosses: a dictionary", "free", 2)
    assert found.sha256 == hashlib.sha256(b"one\ntwo").hexdigest()
