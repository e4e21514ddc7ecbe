"""Which budgets a call counts against: its key's line, and the parts it belongs to."""

from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.budgets.budget import Budget, Terms, base_id
from bursar.budgets.tree import RUN, Claim, Exhausted, Holder, Holds, Path, Tree
from bursar.ledger.chart import OVERDRAFT

TENANT = 1


def holder(name: str, parent: str | None = None, **fields: Any) -> Holder:
    budgets = tuple(Budget(f"{name}{suffix}", TENANT, Terms(10), name) for suffix in fields.pop("budgets", [""]))
    return Holder(name, TENANT, name, "team", budgets, parent, **fields)


def tree(*holders: Holder) -> Tree:
    return Tree(holders)


def ids(claim: Claim) -> list[str]:
    return [budget.budget_id for budget in claim.budgets]


def names(holders: list[Holder] | tuple[Holder, ...]) -> list[str]:
    return [each.name for each in holders]


ORG = tree(
    holder("org"),
    holder("team", "org", budgets=["", "-requests"]),
    holder("other", "org"),
    holder("key", "team"),
    holder("stranger", "other"),
    holder("search", "team", match={"feature": "search"}),
    holder("search-runs", "search", each=RUN),
    holder("dear", "search", match={"model": "gpt-4o"}),
    holder("users", "org", each="user"),
    holder("user-runs", "users", each=RUN),
    holder("of-key", "key", match={"model": "o1"}),
    holder("everywhere", None, match={"model": "gpt-4o"}),
    holder("others-part", "other", match={"feature": "search"}),
)


@pytest.mark.parametrize(
    ("run", "model", "tags", "found"),
    [
        ("", "m", {}, []),
        ("r1", "m", {}, []),
        ("", "m", {"feature": "search"}, ["search"]),
        ("r1", "m", {"feature": "search"}, ["search", "search-runs/r1"]),
        ("", "gpt-4o", {"feature": "search"}, ["search", "everywhere", "dear"]),
        ("", "gpt-4o", {}, ["everywhere"]),  # a part of a part that the call is not of
        ("", "gpt-4o", {"feature": "chat"}, ["everywhere"]),
        ("", "m", {"user": "ana"}, ["users/ana"]),
        ("r1", "m", {"user": "ana"}, ["users/ana", "user-runs/ana/r1"]),
        ("", "m", {"user": ""}, []),  # no value is none to have a budget of
        ("", "o1", {}, ["of-key"]),
        ("r/1", "m", {"user": "a/b"}, ["users/a%2Fb", "user-runs/a%2Fb/r%2F1"]),
        ("", "m", {"user": "ana~overdraft"}, ["users/ana%7Eoverdraft"]),  # not the line behind ana's
        ("", "m", {"user": "a:é %"}, ["users/a%3A%C3%A9%20%25"]),
    ],
)
def test_a_call_counts_against_its_line_and_the_parts_it_is_of(
    run: str, model: str, tags: dict[str, str], found: list[str]
) -> None:
    claim = ORG.path("key").find(run, model, tags)
    line = ["key", "team", "team-requests", "org"]
    assert ids(claim)[: len(line)] == line
    assert sorted(ids(claim)[len(line) :]) == sorted(found)
    assert [budget.holder for budget in claim.budgets[:4]] == ["key", "team", "team", "org"]


def test_the_keys_own_budget_pays_and_comes_first() -> None:
    assert ids(ORG.path("key").claim)[0] == "key"
    assert ids(ORG.path("stranger").find("r", "gpt-4o", {"feature": "search"})) == [
        *("stranger", "other", "org"),
        *("everywhere", "others-part"),
    ]


def test_a_budget_of_a_run_says_whose_it_is() -> None:
    claim = ORG.path("key").find("r 1", "m", {"feature": "search"})
    (budget,) = [budget for budget in claim.budgets if base_id(budget.budget_id) == "search-runs"]
    assert (budget.budget_id, budget.holder, budget.terms) == ("search-runs/r%201", "search-runs/r%201", Terms(10))


def test_tags_do_not_pass_for_a_run_or_a_model() -> None:
    claim = ORG.path("key").find("", "m", {RUN: "r9", "model": "gpt-4o", "feature": "search"})
    assert set(ids(claim)) == {"key", "team", "team-requests", "org", "search"}


def test_a_path_tells_whether_runs_matter_to_it() -> None:
    assert ORG.path("key").per_run
    assert not tree(holder("key"), holder("users", None, each="user")).path("key").per_run


def test_the_same_call_finds_the_same_claim_without_making_it_again() -> None:
    path = ORG.path("key")
    assert path.find("r", "m", {"feature": "search"}) is path.find("r", "m", {"feature": "search"})
    assert path.find("", "m", {"colour": "red"}) is path.claim


def test_as_many_runs_as_there_may_be_are_told_apart() -> None:
    path = tree(holder("key"), holder("runs", "key", each=RUN)).path("key")
    for number in range(10_000):
        assert ids(path.find(f"r{number}", "m", {})) == ["key", f"runs/r{number}"]
    assert len(path._kept) <= 4_096


def test_paths_are_equal_when_their_holders_are() -> None:
    def make(limit: int) -> Path:
        key = msgspec.structs.replace(holder("key"), budgets=(Budget("key", TENANT, Terms(limit)),))
        return tree(key, holder("part", "key", each=RUN)).path("key")

    assert make(1) == make(1)
    assert make(1) != make(2)
    assert make(1) != "key"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, (Exhausted.refuse, Holds.strict)),
        ({"org": (Exhausted.smaller, Holds.soft)}, (Exhausted.smaller, Holds.soft)),
        (
            {"org": (Exhausted.smaller, Holds.soft), "team": (Exhausted.refuse, None)},
            (Exhausted.refuse, Holds.soft),
        ),
        (
            {"team": (Exhausted.refuse, Holds.soft), "key": (Exhausted.smaller, Holds.expected)},
            (Exhausted.smaller, Holds.expected),
        ),
        # Parts are nearer than the key; and of parts, the innermost.
        ({"key": (Exhausted.refuse, Holds.strict), "part": (None, Holds.soft)}, (Exhausted.refuse, Holds.soft)),
        (
            {"part": (Exhausted.smaller, Holds.soft), "runs": (None, Holds.expected)},
            (Exhausted.smaller, Holds.expected),
        ),
        ({"other": (Exhausted.smaller, Holds.soft)}, (Exhausted.refuse, Holds.strict)),
    ],
)
def test_the_nearest_policy_wins(said: dict[str, tuple[Any, Any]], expected: tuple[Exhausted, Holds]) -> None:
    def made(name: str, parent: str | None, **fields: Any) -> Holder:
        exhausted, holds = said.get(name, (None, None))
        return holder(name, parent, exhausted=exhausted, holds=holds, **fields)

    grown = tree(
        made("runs", "part", each=RUN),  # in no order
        made("key", "team"),
        made("part", "team", match={"feature": "search"}),
        made("team", "org"),
        made("other", "org"),
        made("org", None),
    )
    claim = grown.path("key").find("r", "m", {"feature": "search"})
    assert (claim.exhausted, claim.holds) == expected


def test_the_strictest_of_the_runs_limits_holds() -> None:
    grown = tree(
        holder("org", depth_max=5),
        holder("key", "org", depth_max=9, repeats_max=3),
        holder("runs", "key", each=RUN, repeats_max=7),
    )
    claim = grown.path("key").find("r", "m", {})
    assert (claim.depth_max, claim.repeats_max) == (5, 3)


@pytest.mark.parametrize("frozen", ["org", "team", "key", "search"])
def test_who_is_frozen_is_named(frozen: str) -> None:
    line = [holder("org"), holder("team", "org"), holder("key", "team"), holder("search", "team", match={"f": "s"})]
    grown = Tree(msgspec.structs.replace(each, frozen=each.name == frozen) for each in line)
    path = grown.path("key")
    assert path.find("", "m", {"f": "s"}).frozen == frozen
    assert path.find("", "m", {}).frozen == ("" if frozen == "search" else frozen)


def test_nobody_is_above_himself() -> None:
    circle = tree(holder("a", "b"), holder("b", "a"))
    with pytest.raises(AssertionError, match="above itself"):
        circle.line("a")


def test_whoever_stands_below_a_part_counts_against_it_once() -> None:
    claim = tree(holder("search", match={"f": "s"}), holder("key", "search")).path("key").find("", "m", {"f": "s"})
    assert ids(claim) == ["key", "search"]


def test_a_parent_that_is_not_there_ends_the_line() -> None:
    assert names(tree(holder("key", "gone")).line("key")) == ["key"]


def test_the_tree_is_told_from_any_holder_down_and_in_order() -> None:
    assert names(ORG.below("team")) == ["team", "key", "search", "of-key", "search-runs", "dear"]
    assert names(ORG.below("dear")) == ["dear"]
    assert names(ORG.in_order()) == [
        *("org", "team", "key", "of-key", "search", "search-runs", "dear"),
        *("other", "stranger", "others-part", "users", "user-runs", "everywhere"),
    ]


@st.composite
def forests(draw: st.DrawFn) -> Tree:
    """Grow any forest, its holders in any order: each has a parent that came before it, or none."""
    count = draw(st.integers(1, 12))
    holders = [holder("h0")]
    for number in range(1, count):
        match = draw(st.sampled_from([{}, {}, {"f": "s"}, {"f": "t"}, {"model": "m"}]))
        each = draw(st.sampled_from(["", "", RUN, "user"]))
        parents = [above.holder_id for above in holders if match or each or not above.is_part]
        parent = draw(st.sampled_from([None, *parents]))
        holders.append(holder(f"h{number}", parent, match=match, each=each))
    return Tree(draw(st.permutations(holders)))


values = st.text(max_size=6)
tagged = st.fixed_dictionaries({}, optional={"f": st.sampled_from(["s", "t", "u"]), "user": values})


@given(forests())
def test_every_holder_comes_once_after_its_parent(grown: Tree) -> None:
    order = grown.in_order()
    assert sorted(names(order)) == sorted(grown.holders)
    places = {each.holder_id: place for place, each in enumerate(order)}
    for each in order:
        below = names(grown.below(each.holder_id))
        assert sorted(below) == sorted(names(order[places[each.holder_id] :][: len(below)]))  # next to its own
        assert each.parent_id is None or places[each.parent_id] < places[each.holder_id]
        assert names(grown.line(each.holder_id))[0] == each.holder_id


def callers(grown: Tree) -> list[str]:
    return [each.holder_id for each in grown.holders.values() if not each.is_part]


def counts(grown: Tree, key: str, each: Holder, facts: dict[str, str]) -> bool:
    """Say again, in other words, whether a call of a key counts against a holder."""
    within = names(grown.line(key))
    if each.holder_id in within:
        return True
    if not each.is_part:
        return False
    matches = all(facts.get(name, "") == value for name, value in each.match.items())
    parent = grown.holders.get(each.parent_id or "")
    valued = not each.each or bool(facts.get(each.each))
    return matches and valued and (parent is None or counts(grown, key, parent, facts))


@given(forests(), values, st.sampled_from(["m", "n"]), tagged)
def test_a_call_counts_against_each_holder_that_says_so_and_no_other(
    grown: Tree, run: str, model: str, tags: dict[str, str]
) -> None:
    facts = {**tags, RUN: run, "model": model}
    for key in callers(grown):
        claim = grown.path(key).find(run, model, tags)
        found = ids(claim)
        assert len(set(found)) == len(found)
        expected = {each.holder_id for each in grown.holders.values() if counts(grown, key, each, facts)}
        assert {base_id(each) for each in found} == expected
        assert found[: len(grown.line(key))] == names(grown.line(key))


@given(forests(), values, values, values, values)
def test_two_calls_share_a_budget_only_where_they_are_alike(
    grown: Tree, run: str, other_run: str, user: str, other_user: str
) -> None:
    """The value a budget is of can be read from its name, whatever it is made of."""
    for key in callers(grown):
        path = grown.path(key)
        one, other = (set(ids(path.find(r, "m", {"user": u}))) for r, u in ((run, user), (other_run, other_user)))
        line = set(names(grown.line(key)))
        for shared in one & other - line:
            assert not shared.endswith(OVERDRAFT)
            assert ":" not in shared
            base, *parts = shared.split("/")
            each = [holder.each for holder in reversed(grown.line(base)) if holder.each and holder.name not in line]
            assert len(parts) == len(each)
            for name, part in zip(each, parts, strict=True):
                assert unquote(part) == (run if name == RUN else user) == (other_run if name == RUN else other_user)
