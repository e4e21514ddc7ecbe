"""Which target is asked first: by health, weight, load, and where a prompt's beginning is cached."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.harness import LocalBursar
from bursar.core.records import Call, Protocol, Segments
from bursar.core.times import SECOND_US
from bursar.gateway.attempt import Outcome
from bursar.gateway.balance import arrange, by_affinity, by_load, note_outcome
from bursar.gateway.connection import Fault, Response, UpstreamFault
from bursar.gateway.health import Health, State
from bursar.gateway.outbox import Outbox
from bursar.gateway.passage import Passage
from bursar.gateway.provider import Provider
from bursar.gateway.routes import Candidate, Upstream
from bursar.gateway.rules import Rules
from bursar.prices.file import read_model_price
from bursar.wires.openai_chat import OPENAI_CHAT
from tests.asking import ask


def make(*weights: int) -> list[Candidate]:
    """Return targets of these weights, one at each provider, with no calls under way."""
    loop = asyncio.new_event_loop()
    found: list[Candidate] = []
    for number, weight in enumerate(weights):
        provider = Provider(kind="openai", base_url="http://127.0.0.1:1/v1")
        upstream = Upstream(f"p{number}", provider, provider.base_url, Outbox(loop))
        candidate = Candidate(upstream, OPENAI_CHAT, "m", read_model_price("free", "p", "m", "models.m.price"))
        candidate.weight = weight
        found.append(candidate)
    loop.close()
    return found


def load(candidate: Candidate, calls: int) -> None:
    candidate.upstream.pool._opening = calls


def first_of(candidates: list[Candidate], count: int = 2_000) -> Counter[str]:
    return Counter(by_affinity(candidates, b"%d" % number)[0].upstream.name for number in range(count))


def test_the_same_beginning_goes_to_the_same_target_and_beginnings_spread_by_weight() -> None:
    shares = first_of(make(3, 1))
    assert first_of(make(3, 1)) == shares
    assert 0.7 < shares["p0"] / 2_000 < 0.8


def test_when_a_target_goes_only_its_own_beginnings_move() -> None:
    whole = make(1, 1, 1)
    for number in range(500):
        digest = b"%d" % number
        order = by_affinity(whole, digest)
        left = [candidate for candidate in whole if candidate is not order[0]]
        assert by_affinity(left, digest)[0] is order[1]


@pytest.mark.parametrize(("calls", "stays"), [(8, True), (9, False)])
def test_affinity_gives_way_to_a_clear_overload(calls: int, stays: bool) -> None:
    candidates = make(1, 1)
    first = by_affinity(candidates, b"digest")[0]
    load(first, calls)
    assert (by_affinity(candidates, b"digest")[0] is first) is stays


@pytest.mark.parametrize("trouble", ["overloaded", "open"])
def test_a_call_that_does_not_go_where_it_belongs_is_counted_there(trouble: str) -> None:
    candidates, body = make(1, 1, 1), b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    for candidate in candidates:
        candidate.rules = Rules(balance="affinity", several=True)
    call = Call(bytes(16), 1, "key", Protocol.openai_chat, "m", False, 1_000 * SECOND_US, Segments())
    passage = Passage(OPENAI_CHAT, call, OPENAI_CHAT.facts(body), body, b"")
    home = arrange(passage, candidates)[0]
    assert home.health.strayed == 0
    if trouble == "overloaded":
        load(home, 100)
    else:
        home.health.refused_key(call.opened_us, "401")
    assert arrange(passage, candidates)[0] is not home
    assert [candidate.health.strayed for candidate in candidates] == [int(each is home) for each in candidates]


@given(st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=3, max_size=3))
def test_of_two_taken_by_chance_the_less_loaded_comes_first(chances: list[float]) -> None:
    candidates = make(1, 1, 1)
    for candidate, calls in zip(candidates, (30, 20, 10), strict=True):
        load(candidate, calls)
    order = by_load(candidates, chances)
    assert sorted(each.upstream.name for each in order) == ["p0", "p1", "p2"]
    assert order[0].upstream.pool.busy < order[1].upstream.pool.busy


def test_a_weight_takes_that_much_more_load() -> None:
    candidates = make(4, 1)
    load(candidates[0], 7)
    load(candidates[1], 2)
    assert by_load(candidates, [0.5, 0.5])[0].upstream.name == "p0"


@pytest.mark.parametrize(
    ("outcome", "times", "state", "rests"),
    [
        (Outcome(Response(200, [], b"")), 9, State.closed, False),
        (Outcome(Response(400, [], b"")), 9, State.closed, False),
        (Outcome(Response(500, [], b"")), 5, State.open, True),
        (Outcome(Response(404, [], b"")), 5, State.open, True),
        (Outcome(Response(401, [], b"")), 1, State.open, True),
        (Outcome(Response(403, [], b"")), 1, State.open, True),
        (Outcome(Response(429, [(b"retry-after", b"7")], b"")), 1, State.closed, True),
        (Outcome(None, UpstreamFault(Fault.unreachable, "refused")), 5, State.open, True),
        (Outcome(None, UpstreamFault(Fault.lost, "no answer in time", timed_out=True)), 5, State.open, True),
    ],
)
def test_a_targets_health_follows_from_its_answers(outcome: Outcome, times: int, state: State, rests: bool) -> None:
    health, outcome.answered_us = Health(), 1_000 * SECOND_US
    for _ in range(times):
        note_outcome(health, outcome)
    now_us = outcome.answered_us + 4 * SECOND_US
    assert (health.state(now_us), health.ready(now_us)) == (state, not rests)


def test_turns_of_a_conversation_go_where_its_beginning_is_cached(house: LocalBursar, house_key: str) -> None:
    chosen: set[str] = set()
    for number in range(40):  # where each belongs is chance, as the key's name is
        if len(chosen) == 2:
            break
        turns = [{"role": "system", "content": f"clerk {number} " + "of the exchequer " * 400}]
        went: set[str] = set()
        for turn in range(4):
            turns.append({"role": "user", "content": f"[[output=5]] {turn}"})
            answer = ask(house, house_key, model="warm", messages=turns)
            assert answer.status == 200, answer.body
            body: Any = answer.json()
            turns.append(body["choices"][0]["message"])
            went.add(answer.headers["x-bursar-model"])
            if turn:
                assert body["usage"]["prompt_tokens_details"]["cached_tokens"] > 1_000
        assert len(went) == 1
        chosen |= went
    assert chosen == {"sandbox/gpt-4o-mini", "remote/gpt-4o-mini"}
