"""Compression keeps what the question needs, within its budget, and says exactly what it took out."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.embed.table import load as load_table
from bursar.savings.compress.central import central
from bursar.savings.compress.compress import compress, estimate
from bursar.savings.compress.context import MAY_LOSE, shorten
from bursar.savings.compress.edits import compose, replay
from bursar.savings.compress.prompt import Budget, Order, Removal
from bursar.wires.parts import Kind, Part

PAGES = """Document [1](Title: Eiffel Tower) The Eiffel Tower is a lattice tower in Paris. It was completed in 1889 for
the World's Fair. Its lifts carry seven million visitors a year.
Document [2](Title: Tower Bridge) Tower Bridge crosses the Thames in London. It was opened in 1894 by the Prince of
Wales. Its bascules are raised about 800 times a year.
Document [3](Title: Brooklyn Bridge) The Brooklyn Bridge spans the East River in New York. It was designed by John A.
Roebling. Its towers are of limestone and granite."""

PIECES = "the tower/opened/in 1894/by Roebling,/not Paris./Why?/It\n/\n\n{/}/```/[1]/-/é/汉。/…"
WORDS = st.sampled_from(PIECES.split("/"))
TEXTS = st.one_of(st.lists(WORDS, max_size=60).map(" ".join), st.text(max_size=80), st.just(PAGES))
PARTS = st.lists(
    st.builds(Part, TEXTS, st.sampled_from(Kind), path=st.sampled_from([(), ("m", 1)]), protected=st.booleans()),
    max_size=8,
)
BUDGETS = st.one_of(
    st.builds(Budget, ratio=st.sampled_from([1.0, 1.5, 2.0, 4.0, 20.0])),
    st.builds(Budget, tokens=st.integers(0, 80)),
    st.builds(Budget, by_kind=st.dictionaries(st.sampled_from(MAY_LOSE), st.integers(0, 60))),
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("when was the Eiffel Tower completed", "1889"),
        ("who designed the brooklyn bridge", "Roebling"),
        ("how often are the bascules of tower bridge raised", "800 times"),
    ],
)
def test_the_sentence_that_answers_stays_in_a_quarter_of_the_tokens(question: str, answer: str) -> None:
    found = compress([Part(PAGES, Kind.retrieved)], question, Budget(ratio=4))
    assert answer in found.texts[0]
    assert found.tokens_after <= found.tokens_before / 4


@settings(max_examples=60)
@given(PARTS, st.sampled_from(["", "when was it opened", "who? not Paris"]), BUDGETS)
def test_what_was_done_is_exactly_what_is_said(parts: list[Part], question: str, budget: Budget) -> None:
    found = compress(parts, question, budget)
    assert found == compress(parts, question, budget)
    assert found.texts == replay([part.text for part in parts], found.removals)
    assert found.tokens_after == sum(map(estimate, found.texts)) <= found.tokens_before
    assert all(left.end <= right.start for left, right in pairwise(found.removals) if left.part == right.part)
    for part, text in zip(parts, found.texts, strict=True):
        if part.protected:
            assert text == part.text
        elif part.kind in (Kind.user, Kind.system, Kind.tools):
            assert [*filter(str.isalnum, text)] == [*filter(str.isalnum, part.text)]
        assert not part.path or text or not part.text
        text.encode()


@settings(max_examples=50)
@given(PARTS, st.integers(0, 80))
def test_what_was_compressed_to_a_number_of_tokens_is_left_alone_the_next_time(parts: list[Part], tokens: int) -> None:
    once = compress(parts, "when was it opened", Budget(tokens=tokens))
    again = [
        Part(text, part.kind, part.path, protected=part.protected) for part, text in zip(parts, once.texts, strict=True)
    ]
    assert compress(again, "when was it opened", Budget(tokens=tokens)).texts == once.texts


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=4), inner, max_size=12),
    max_leaves=40,
).filter(lambda value: isinstance(value, list | dict))


@settings(max_examples=50)
@given(JSON, st.sampled_from([None, 1]), st.integers(0, 40))
def test_json_stays_json_and_loses_whole_elements_alone(value: object, indent: int | None, tokens: int) -> None:
    text = json.dumps(value, indent=indent)
    removals = shorten([Part(text, Kind.retrieved)], central, {None: tokens}, estimate)
    left = json.loads(replay([text], removals)[0])
    assert type(left) is type(value)
    assert set(scalars(left)) <= set(scalars(value))


def scalars(value: object) -> Iterator[str]:
    """Yield all that is no list and no object."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from scalars(each)
    else:
        yield repr(value)


def test_records_that_answer_stay_among_many() -> None:
    records = [
        {"id": number, "city": city, "opened": 1880 + number}
        for number, city in enumerate(["Oslo", "Bern", "Rome"] * 8)
    ]
    records[13]["city"] = "Lisbon"
    found = compress([Part(json.dumps(records), Kind.retrieved)], "when was Lisbon opened", Budget(ratio=8))
    assert "13,Lisbon,1893" in found.texts[0]
    assert found.tokens_after <= found.tokens_before / 8


def test_code_stays_whatever_the_budget() -> None:
    code = "```python\nif not ready:\n    stop()  # now. Never later.\n```\n"
    text = "Some words about the weather. More of them follow here.\n" + code + "And a last remark on rain."
    assert compress([Part(text, Kind.retrieved)], "stop", Budget(ratio=100)).texts == (code.strip(),)


def test_turns_that_are_recent_stay_whole_and_older_ones_keep_what_matters() -> None:
    older = "We spoke about lunch. The key of the safe is under the mat. It rained all day and nobody came."
    turns = [Part(older, Kind.history, ("m", n)) for n in range(2)] + [
        Part(older, Kind.history, ("m", n)) for n in range(2, 6)
    ]
    found = compress([*turns, Part("Where is the key?", Kind.user)], "", Budget(ratio=1.3))
    assert found.texts[2:6] == (older,) * 4
    assert found.tokens_after < found.tokens_before


def test_the_best_passages_stand_at_both_ends_where_that_is_asked() -> None:
    asked = "who designed the brooklyn bridge over the east river, and when was tower bridge opened"
    kept = compress([Part(PAGES, Kind.retrieved)], asked, Budget(ratio=1.2)).texts[0]
    found = compress([Part(PAGES, Kind.retrieved)], asked, Budget(ratio=1.2, order=Order.ends))
    assert found.texts == replay([PAGES], found.removals)
    assert [found.texts[0].index(name) for name in ("Brooklyn", "Eiffel", "Tower Bridge)")] == sorted(
        found.texts[0].index(name) for name in ("Brooklyn", "Eiffel", "Tower Bridge)")
    )
    assert sorted(found.texts[0].split()) == sorted(kept.split())


class Nearest:
    """Score sentences by the table of vectors alone."""

    def log_odds(self, question: str, sentences: Sequence[str]) -> list[float]:
        rows = load_table().vectors([question, *sentences])
        return [float(each) for each in rows[1:] @ rows[0]]


def test_a_scorer_that_somebody_brings_decides_in_the_rankers_place() -> None:
    text = "The cat sleeps on the sofa. The stock market fell by two percent. Rain is expected in the north."
    found = compress([Part(text, Kind.retrieved)], "a pet lying on furniture", Budget(ratio=2.5), pruner=Nearest())
    assert found.texts == ("The cat sleeps on the sofa.",)


def test_what_is_said_twice_goes_before_anything_else() -> None:
    text = "Tower Bridge was opened in 1894. Rain fell. Tower Bridge was opened in 1894. Snow fell."
    found = compress([Part(text, Kind.retrieved)], "when was tower bridge opened", Budget(ratio=1.2))
    assert found.texts == ("Tower Bridge was opened in 1894. Rain fell. … Snow fell.",)


def test_without_a_question_what_is_central_stays() -> None:
    text = (
        "The budget holds the call. Snow lay on every roof. The call is priced by the budget. A budget holds each call."
    )
    found = compress([Part(text, Kind.retrieved)], "", Budget(ratio=1.15))
    assert "Snow" not in found.texts[0]


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        (Budget(ratio=0.5), "ratio"),
        (Budget(ratio=float("nan")), "ratio"),
        (Budget(tokens=-1), "tokens"),
        (Budget(ratio=2, tokens=5), "ratio or tokens"),
        (Budget(by_kind={Kind.history: -2}), "by_kind.history"),
        (Budget(by_kind={Kind.system: 9}), "by_kind.system: of system nothing is left out; give retrieved or history"),
    ],
)
def test_a_budget_that_is_none_is_refused_by_name(budget: Budget, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        compress([], "", budget)


def spans(size: int) -> st.SearchStrategy[list[Removal]]:
    """Draw removals of a text that do not overlap."""
    edges = st.lists(st.integers(0, size), max_size=8).map(sorted)
    return st.builds(
        lambda places, texts: [
            Removal(0, a, b, texts[a % 4], "") for a, b in zip(places[::2], places[1::2], strict=False)
        ],
        edges,
        st.tuples(*[st.sampled_from(["", "x", "yz"])] * 4),
    )


@given(st.data(), st.text("abcdef", max_size=12))
def test_two_rounds_of_changes_are_one(data: st.DataObject, text: str) -> None:
    first = data.draw(spans(len(text)))
    (between,) = replay([text], first)
    second = data.draw(spans(len(between)))
    assert replay([text], compose(first, second)) == replay([between], second)


def test_removals_that_do_not_fit_their_text_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        replay(["abc"], [Removal(0, 0, 2, "", ""), Removal(0, 1, 3, "", "")])
