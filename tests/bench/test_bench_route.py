"""What routers are compared with is right on cases that can be worked out by hand."""

import json
from pathlib import Path

import numpy as np

from bench.routing import sets
from bench.routing.baselines import best_by_group, gain_by_group, neighbours, network
from bench.routing.nine import FOLDS, by_question


def test_a_group_never_seen_is_taken_for_all() -> None:
    groups = np.array(["law", "law", "art"])

    assert gain_by_group(groups, np.array([0.0, 1.0, 1.0]), np.array(["law", "sea"])).tolist() == [0.5, 2 / 3]
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.9]])
    assert best_by_group(groups, scores, np.array(["art", "law", "sea"])).tolist() == [1, 0, 0]


def test_neighbours_and_a_network_learn_what_a_vector_says() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(400, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.stack([vectors[:, 0] > 0, vectors[:, 0] <= 0], axis=1).astype(float)

    for expected in (
        neighbours(vectors[:300], scores[:300], vectors[300:]),
        network(vectors[:300], scores[:300], vectors[300:], seed=1),
    ):
        assert (expected.argmax(axis=1) == scores[300:].argmax(axis=1)).mean() > 0.85


def test_rows_of_one_question_share_a_fold() -> None:
    folds = by_question(["a", "b", "a", "c", "b", "d", "e", "f"])

    assert folds[0] == folds[2]
    assert folds[1] == folds[4]
    assert set(folds.tolist()) == set(range(FOLDS))


def test_contaminated_rows_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "routellm/gsm8k"
    folder.mkdir(parents=True)
    header = f"prompt,{sets.WEAK},{sets.STRONG}\n"
    (folder / "gsm8k_responses.csv").write_text(f'{header}"a\nb",True,False\nc,False,True\n')
    (folder / "contaminated_prompts.jsonl").write_text(json.dumps({"train_prompt": "x", "eval_prompt": "c"}) + "\n")

    kept, whole = sets.gsm8k(tmp_path), sets.gsm8k(tmp_path, all_rows=True)

    assert (kept.prompts, kept.scores.tolist()) == (["a\nb"], [[1.0, 0.0]])
    assert whole.prompts == ["a\nb", "c"]
    assert len(sets.sha256(folder)) == 16
