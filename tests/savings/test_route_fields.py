"""Fields of knowledge lie apart, and are told of the embedder's vectors that they were found in and of no other's."""

import numpy as np

from bursar.embed import table
from bursar.savings.route.fields import FIELDS, load
from bursar.savings.route.likeness import see

EMBEDDER = table.load()
LAW = ["The court dismissed the appeal and the plaintiff paid damages.", "A tort is a wrong that the law remedies."]
MUSIC = ["The sonata ends with a slow movement in a minor key.", "A chord of three notes is played on the violin."]


def test_texts_of_one_field_lie_nearer_than_those_of_two() -> None:
    lie = load().located(EMBEDDER.vectors(LAW + MUSIC).astype(np.float64), EMBEDDER.name)
    apart = np.linalg.norm(lie[:, None] - lie, axis=2)

    assert max(apart[0, 1], apart[2, 3]) < apart[:2, 2:].min()


def test_fields_are_of_the_table_that_ships() -> None:
    assert load().embedder == EMBEDDER.name
    assert load().directions.shape == (EMBEDDER.dimensions, FIELDS)


def test_fields_are_unknown_to_another_embedder() -> None:
    vectors = np.ones((2, EMBEDDER.dimensions))

    assert load().located(vectors, EMBEDDER.name).std() > 0
    np.testing.assert_array_equal(load().located(vectors, "local-bert"), np.zeros((2, FIELDS)))
    np.testing.assert_array_equal(load().located(np.ones(384), "local-bert"), np.zeros(FIELDS))


def test_the_whole_of_a_text_is_its_question_and_its_answers() -> None:
    seen = see(["Which is prime?\nA. four\nB. five\nAnswer:", "Say hello."], EMBEDDER)

    whole = EMBEDDER.vectors(["Which is prime?\nfour\nfive", "Say hello."])
    np.testing.assert_allclose(seen.wholes, whole, atol=1e-6)
    np.testing.assert_array_equal(seen.vectors[1], seen.wholes[1])
    np.testing.assert_array_equal(seen.fields, load().located(seen.wholes, EMBEDDER.name))
