"""A router learns from labels what each model is good at, keeps it in a file, and promises what it can."""

import json
import time

import msgspec
import numpy as np
import pytest

from bursar.core.errors import ConfigError
from bursar.embed import table
from bursar.savings.route.arrays import Packed, packed, unpacked
from bursar.savings.route.choice import Option, Target
from bursar.savings.route.choose import choose, prepare
from bursar.savings.route.features import BUCKETS, EXCERPT_CHARS, NAMES, look
from bursar.savings.route.labels import Label, Labels, labels_of, read_labels
from bursar.savings.route.learned import Learned, load
from bursar.savings.route.likeness import marked, see
from bursar.savings.route.policy import Policy
from bursar.savings.route.router import read_router, write_router
from bursar.savings.route.train import About, Trained, train
from tests.savings.routing import BIG, SMALL, asked

EMBEDDER = table.load()
ABOUT = About(trained_on="sums and greetings", trained="2026-11-22", limits="a test's")
AUTO = Policy(name="auto", models=("small", "big"), target=Target(quality_percent=95))


def sums_and_greetings(count: int) -> Labels:
    """Give labels on which the small model greets well and cannot calculate; one in ten is otherwise."""
    generator = np.random.default_rng(5)
    rows = []
    for number in range(count):
        hard, odd = number % 2 == 0, generator.random() < 0.1
        one, other = generator.integers(10, 99, 2)
        prompt = (
            f"Compute {one} * {other} + {number} = ?" if hard else f"Say hello to my friend number {number}, please."
        )
        small = float(hard is bool(odd))
        rows.append(Label(prompt=prompt, scores={"small": small, "big": 1.0}, tokens={"small": 20}))
    return labels_of(rows)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(sums_and_greetings(400), EMBEDDER, ABOUT)


def test_a_router_sends_up_what_the_small_model_cannot_do(trained) -> None:
    route = prepare(AUTO, [SMALL, BIG], Learned(trained.router, EMBEDDER))

    sent = choose(route, asked("Compute 71 * 13 + 5 = ?", prompt_tokens=20))
    kept = choose(route, asked("Say hello to my friend number 7, please.", prompt_tokens=20))

    assert (sent.model, kept.model) == ("big", "small")
    assert sent.promised
    assert kept.promised
    assert "95 % of the best model's quality, to a point, is kept with 97.5% confidence on 400 held-out" in kept.why


def test_expectations_of_rows_left_out_are_right_where_labels_are(trained) -> None:
    small = trained.chances[:, 0]

    assert small[::2].mean() < 0.2  # sums
    assert small[1::2].mean() > 0.8  # greetings


def test_the_same_labels_give_the_same_router(trained) -> None:
    assert write_router(train(sums_and_greetings(400), EMBEDDER, ABOUT).router) == write_router(trained.router)


def test_a_router_comes_back_from_its_file_as_it_was_and_holds_no_prompt(trained) -> None:
    data = write_router(trained.router)

    assert read_router(data, "router.json") == trained.router
    assert b"hello" not in data
    assert trained.router.tokens == {"small": 20.0, "big": 20.0}
    assert trained.router.card.labels == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held | {"version": 1}, "router.json: version 1, this Bursar reads 2; train it again"),
        (lambda held: {"version": 2}, "router.json: a damaged router of 14 bytes (Object missing required field"),
        (
            lambda held: held | {"field_spread": 0},
            "router.json: a damaged router of ",
        ),
        (
            lambda held: held | {"models": ["small", "small"]},
            "router.json: a damaged router: models: expected two or more, each once",
        ),
        (lambda held: [], "router.json: no router (Expected `object`, got `array`); make one with `bursar route"),
    ],
)
def test_a_file_that_is_no_router_of_this_version_is_refused(trained, change, message) -> None:
    with pytest.raises(ConfigError) as refused:
        read_router(json.dumps(change(json.loads(write_router(trained.router)))).encode(), "router.json")

    assert str(refused.value).startswith(message)


def test_a_router_that_was_cut_short_is_called_damaged_with_its_size(trained) -> None:
    with pytest.raises(ConfigError, match=r"no router, or a damaged one of 5,000 bytes .Input data was truncated"):
        read_router(write_router(trained.router)[:5_000], "router.json")


def test_a_router_of_another_embedder_is_refused(trained) -> None:
    with pytest.raises(ConfigError, match=r"trained on vectors of static-other, here are those of static-"):
        Learned(msgspec.structs.replace(trained.router, embedder="static-other"), EMBEDDER)


def test_trees_that_ask_of_what_is_not_seen_are_refused(trained) -> None:
    shape = trained.router.tree_columns.shape
    strange = msgspec.structs.replace(trained.router, tree_columns=packed(np.full(shape, 2_000.0)))

    with pytest.raises(ConfigError, match="trees ask of what is not seen in a text; train it again"):
        Learned(strange, EMBEDDER)


def test_one_text_is_expected_as_many_are(trained) -> None:
    texts = ["Compute 12 * 34 = ?", "Which is prime?\nA. 91\nB. 97\nAnswer:", ""]
    learned = Learned(trained.router, EMBEDDER)
    predictor = learned.predictor(AUTO, [SMALL, BIG])

    one = [predictor.chances(asked(text), [SMALL, BIG]) for text in texts]

    np.testing.assert_allclose(learned.expected(see(texts, EMBEDDER)), one, atol=2e-4)


def test_arrays_of_another_shape_or_without_numbers_are_refused() -> None:
    kept = packed(np.array([[1.0, 2.0]]))

    assert unpacked(kept, (1, 2), "means").tolist() == [[1.0, 2.0]]
    with pytest.raises(ConfigError, match=r"the router's means are of shape \(1, 2\), expected \(2, 1\)"):
        unpacked(kept, (2, 1), "means")
    with pytest.raises(ConfigError, match="expected"):
        unpacked(Packed((1, 2), b""), (1, 2), "means")
    with pytest.raises(ConfigError, match="hold what is no number"):
        unpacked(packed(np.array([np.nan])), (1,), "means")


def test_too_few_labels_promise_nothing(trained) -> None:
    few = train(sums_and_greetings(100), EMBEDDER, ABOUT)

    choice = choose(prepare(AUTO, [SMALL, BIG], Learned(few.router, EMBEDDER)), asked("Compute 1 + 1 = ?"))

    assert not choice.promised
    assert "100 labels are fewer than 200" in choice.why


def test_the_router_that_ships_places_models_by_price_or_strength_and_promises_nothing() -> None:
    shipped = Learned(load(), EMBEDDER)
    middle = Option("middle", 1_000_000_000, 4_000_000_000, output_tokens=250)
    models = ("small", "middle", "big")
    by_price = shipped.predictor(Policy(name="auto", models=models), [SMALL, middle, BIG])
    given = shipped.predictor(
        Policy(name="auto", models=models, strengths={"small": 1.0, "middle": 0.5, "big": 0.0}), [SMALL, middle, BIG]
    )

    call = asked("A train leaves at 3 pm at 60 mph; another at 4 pm at 90 mph. When does the second catch the first?")
    weak, between, strong = by_price.chances(call, [SMALL, middle, BIG])
    turned = given.chances(call, [SMALL, middle, BIG])

    assert weak < between < strong
    assert turned == pytest.approx((strong, (weak + strong) / 2, weak))
    choice = choose(prepare(AUTO, [SMALL, BIG], shipped), call)
    assert not choice.promised
    assert "the router that ships was taught other models" in choice.why


def test_the_shipped_router_says_what_it_was_made_of() -> None:
    card = load().card

    assert card.labels >= 1_000
    assert len(card.labels_sha256) == 64
    assert "RouteLLM" in card.trained_on
    assert "no promise" in card.limits


GOOD = '{"prompt": "a", "scores": {"small": 0, "big": 1}}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "labels.jsonl line 51: not JSON (Input data was truncated); expected"),
        ("[]", "labels.jsonl line 51: Expected `object`, got `array`"),
        ('{"prompt": "a"}', "labels.jsonl line 51: Object missing required field `scores`"),
        ('{"prompt": 3, "scores": {}}', "labels.jsonl line 51: prompt: Expected `str`, got `int`"),
        (
            '{"prompt": "a", "scores": {"small": 2, "big": 1}}',
            "labels.jsonl line 51: scores of a model: Expected `floa",
        ),
        ('{"prompt": "a", "scores": {"small": 0}}', "labels.jsonl line 51: scores: expected those of at least two"),
        ('{"prompt": "a", "scores": {"small": 0, "huge": 1}}', "labels.jsonl line 51: scores: expected the models of "),
        (GOOD[:-1] + ', "tokens": {"huge": 3}}', "labels.jsonl line 51: tokens: no score of huge"),
        (GOOD[:-1] + ', "tokens": {"big": -1}}', "labels.jsonl line 51: tokens of a model: Expected `int` >= 0"),
        (GOOD[:-1] + f', "prompt_tokens": {"9" * 400}}}', "labels.jsonl line 51: prompt_tokens: "),
        (
            GOOD[:-1] + f', "tokens": {{"big": {10**9 + 1}}}}}',
            "labels.jsonl line 51: tokens of a model: Expected `int` <=",
        ),
        ('{"prompt": "a", "scores": {"big": 1, "small": 0, "big": 0}}', "labels.jsonl line 51: 'big' is given twice"),
        (GOOD[:-1] + ', "score": 3}', "labels.jsonl line 51: Object contains unknown field `score`"),
        ('{"prompt": " ", "scores": {"small": 0, "big": 1}}', "labels.jsonl line 51: prompt: expected a text"),
    ],
)
def test_a_bad_label_is_named_by_line_and_field(line, message) -> None:
    with pytest.raises(ConfigError) as refused:
        read_labels("\n".join([GOOD] * 50 + [line]), "labels.jsonl")

    assert str(refused.value).startswith(message)


def test_labels_are_parted_by_line_feeds_alone_and_too_few_are_refused() -> None:
    labels = read_labels("\ufeff" + "\n".join([GOOD.replace('"a"', '"a\u2028b"')] * 50) + "\n", "labels.jsonl")

    assert len(labels) == 50
    assert labels.prompts[0] == "a\u2028b"
    with pytest.raises(ConfigError, match="2 labels; a router takes at least 50"):
        read_labels(f"{GOOD}\n{GOOD}\n", "labels.jsonl")


def test_answers_nobody_counted_are_as_long_as_the_models_others() -> None:
    rows = [
        Label(prompt="a", scores={"small": 0, "big": 1}, tokens=tokens) for tokens in ({"small": 10}, {"small": 30}, {})
    ]

    assert labels_of(rows).tokens.tolist() == [[10, 20], [30, 20], [20, 20]]


def test_figures_are_read_of_a_text() -> None:
    seen = look("Which is NOT prime?\nA. 2\nB. 3\nC. 4\nD. 5\nAnswer:")
    figures = dict(zip(NAMES, seen.figures, strict=True))

    assert (figures["options"], figures["options_of_numbers"], figures["negations"], figures["which"]) == (4, 1, 1, 1)
    assert seen.question.strip() == "Which is NOT prime?"
    assert len(seen.marks) == len(set(seen.marks)) == 7  # four words and three pairs
    assert all(0 <= bucket < BUCKETS for bucket in marked(seen.marks)[0])


@pytest.mark.parametrize("text", ["", "\n", "A. \n", "\ud83d", "x" * 200_000, "A. a\nB. b"])
def test_any_text_has_all_figures(text) -> None:
    seen = look(text)

    assert len(seen.figures) == len(NAMES)
    assert np.isfinite(seen.figures).all()
    assert len(seen.question) <= EXCERPT_CHARS + 1


def test_of_many_labels_some_are_taught_and_all_are_expected(monkeypatch: pytest.MonkeyPatch, trained) -> None:
    monkeypatch.setattr("bursar.savings.route.train.TAUGHT_MAX", 150)
    monkeypatch.setattr("bursar.savings.route.train._PART", 100)

    some = train(sums_and_greetings(400), EMBEDDER, ABOUT)

    assert some.chances.shape == trained.chances.shape
    assert some.router.topics.shape[0] == 150 < trained.router.topics.shape[0] == 400
    assert some.chances[::2, 0].mean() < 0.35 < 0.65 < some.chances[1::2, 0].mean()


@pytest.mark.parametrize("unit", ["\n", "(\n", "A.\n", "A. ", "1.,", "x'", " \n\t", "\u0130\u2019"])
def test_a_look_takes_a_moment_whatever_the_text(unit: str) -> None:
    """A pattern that reads a run of line ends again from each of them takes ten times as long as this allows."""
    assert _seconds_of(unit * (9_000 // len(unit))) < 0.012


def _seconds_of(text: str) -> float:
    def once() -> float:
        begun = time.thread_time()
        look(text)
        return time.thread_time() - begun

    return min(once() for _ in range(5))


def test_blank_lines_before_lettered_answers_are_no_part_of_the_question() -> None:
    seen = look("Which is prime?  \n\n \n  (A) 4\n\nB. 5\nC) 6")

    assert (seen.question, seen.options) == ("Which is prime?  ", ["4", "5", "6"])
