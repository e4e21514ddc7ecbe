"""What was said long ago is condensed seldom, and then stays as it is; what asks for something is never cut."""

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from inline_snapshot import snapshot

from bursar.core.records import Protocol
from bursar.savings.compress.compress import compress, estimate
from bursar.savings.compress.conversation import Stages, Weigh, compress_body
from bursar.savings.compress.edits import replay
from bursar.savings.compress.epochs import RECENT_TURNS, epochs, pieces_of
from bursar.savings.compress.lossless import ALL, lossless
from bursar.savings.compress.prefix import CacheRates, Change, Verdict, worth_changing
from bursar.savings.compress.restoring import Means
from bursar.savings.compress.setting import Mode, Setting
from bursar.wires.parts import Kind
from bursar.wires.prompt import read_parts

CHAT, MESSAGES = Protocol.openai_chat, Protocol.anthropic_messages
REFERS = frozenset((Means.repeat,))
STAGES = Stages(
    lambda parts: lossless(parts, estimate, ALL - REFERS - {Means.blob}),
    lambda parts: lossless(parts, estimate, REFERS),
    compress,
)
CONDENSED = Setting(Mode.contextual, history=4.0, history_tokens=1_000)
CACHED = CacheRates(new_nano=3_750_000_000, read_nano=300_000_000)  # written at 1.25 times 3 USD a million


def answer(turn: int) -> str:
    rng = random.Random(turn)
    return " ".join(
        f"The harbour of Port{turn}x{n} was built in {rng.randrange(1500, 1999)} by Builder{rng.randrange(999)}."
        for n in range(27)
    )


def talk(turns: int) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"role": "system", "content": "Be brief.  \n\n\n\nAlways."}]
    for turn in range(turns):
        said += [
            {"role": "user", "content": f"Who built the harbour of Port{turn}x7?"},
            {"role": "assistant", "content": answer(turn)},
        ]
    return [*said, {"role": "user", "content": f"Now tell me of Port{max(turns - 6, 0)}x3."}]


def body_of(messages: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps({"model": "m", "messages": messages}).encode()


def sent(messages: Sequence[dict[str, Any]], setting: Setting = CONDENSED, weigh: Weigh | None = None) -> list[Any]:
    return json.loads(compress_body(CHAT, body_of(messages), setting, STAGES, weigh).body)["messages"]


def test_epochs_end_at_so_many_tokens_and_leave_the_last_answers_alone() -> None:
    parts = read_parts(CHAT, body_of(talk(14)))
    assert [tuple(each) for each in epochs(parts, 1_000, estimate)] == snapshot([(0, 2, 7), (3, 5, 10), (6, 8, 13)])
    assert list(epochs(parts, 100_000, estimate)) == []
    assert list(epochs((), 1_000, estimate)) == []


def test_a_longer_conversation_has_the_epochs_of_the_shorter_one() -> None:
    found = [list(epochs(read_parts(CHAT, body_of(talk(turns))), 1_000, estimate)) for turns in range(20)]
    for turns, (shorter, longer) in enumerate(pairwise(found), 1):
        assert longer[: len(shorter)] == shorter
        assert all(epoch.seen == turns for epoch in longer[len(shorter) :])
    assert len(found[-1]) == 5


def test_the_beginning_changes_once_an_epoch_and_not_between() -> None:
    whole = talk(20)
    before: list[Any] = []
    changed: list[int] = []
    for turn in range(20):
        now = sent([*whole[: 2 * turn + 1], whole[2 * turn + 1]])
        if now[: len(before)] != before:
            changed.append(turn)
        before = now
    parts = read_parts(CHAT, body_of(whole))
    assert changed == [epoch.seen for epoch in epochs(parts, 1_000, estimate) if epoch.seen < 20]
    assert len(changed) == 5
    assert len(str(before)) < len(str(whole)) * 0.6


def test_what_the_present_question_asks_for_is_left_and_recent_answers_are_whole() -> None:
    whole = talk(8)
    whole[-3] = {"role": "user", "content": "Who built the harbour of Port1x3?"}  # of the turn the epoch is seen at
    now = sent(whole)
    assert "Port1x3 " in now[4]["content"]
    assert len(now[2]["content"]) < len(answer(0)) / 10
    assert [each["content"] for each in now[-2 * RECENT_TURNS :]] == [
        each["content"] for each in whole[-2 * RECENT_TURNS :]
    ]
    assert [each["role"] for each in now] == [each["role"] for each in whole]


def test_of_what_a_user_pasted_long_ago_wishes_and_edges_stay() -> None:
    pasted = [
        "Here is the log of the night.",
        *(answer(100 + n) for n in range(4)),
        "You must keep the 7 o'clock rule.",
    ]
    pasted.insert(3, f"Answer in French from now on. {answer(99)}")
    whole = talk(9)
    whole[3]["content"] = "\n\n".join(pasted)
    now = sent(whole)[3]["content"]
    assert now.startswith("Here is the log of the night.\n\n")
    assert now.endswith("\n\nYou must keep the 7 o'clock rule.")
    assert pasted[3] in now
    assert len(now) < len(whole[3]["content"]) * 0.7
    first = [{**whole[0]}, {"role": "user", "content": "\n\n".join(pasted)}, *whole[2:]]
    assert sent(first)[1] == first[1]


def test_what_is_in_no_english_stays() -> None:
    whole = talk(9)
    whole[3]["content"] = "\n\n".join("港口建于一八九四年。" * 40 for _ in range(6))
    assert sent(whole)[3] == whole[3]


def test_the_task_of_an_agent_stays_and_calls_keep_their_results() -> None:
    said: list[dict[str, Any]] = [{"role": "user", "content": "\n\n".join(answer(turn) for turn in range(5))}]
    for turn in range(12):
        call = {"id": f"c{turn}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        said += [
            {"role": "assistant", "content": answer(turn), "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{turn}", "content": "done"},
        ]
    now = sent(said)
    assert now[0] == said[0]
    assert sent([*said, {"role": "assistant", "content": "Done."}, {"role": "user", "content": "Good."}])[:8] == now[:8]
    assert [each.get("tool_calls") for each in now] == [each.get("tool_calls") for each in said]
    assert len(str(now)) < len(str(said)) * 0.8


def test_code_and_tool_results_of_an_epoch_are_not_cut() -> None:
    whole = talk(9)
    code = "harbour = build(1894)\n" * 60
    whole[4]["content"] = f"```python\n{code}```\n\n{answer(3)}"
    now = sent(whole)[4]["content"]
    assert now.count("harbour = build(1894)") == 60
    assert len(now) < len(whole[4]["content"]) - 400


def test_every_change_is_listed_and_gives_what_is_sent() -> None:
    setting = Setting(Mode.contextual, 4.0, history=4.0, history_tokens=1_000)
    messages = talk(9)
    messages.insert(2, {"role": "tool", "tool_call_id": "c", "content": "\n\n".join(answer(n) for n in range(9))})
    body = body_of(messages)
    found = compress_body(CHAT, body, setting, STAGES)
    texts = [part.text for part in read_parts(CHAT, body)]
    assert list(replay(texts, found.removals)) == [part.text for part in read_parts(CHAT, found.body)]
    assert found.told == ("what was said in turns 1 to 3 is condensed",)
    assert {each.why for each in found.removals} >= {"the question does not need it", "white space that says nothing"}


def weighing(rates: CacheRates, seen: list[Change]) -> Weigh:
    def weigh(change: Change, calls: int) -> Verdict:
        seen.append(change)
        return worth_changing(change, rates, calls)

    return weigh


def test_a_cache_that_would_be_missed_for_too_little_is_kept() -> None:
    seen: list[Change] = []
    body = body_of(talk(9))
    found = compress_body(CHAT, body, CONDENSED, STAGES, weighing(CACHED, seen))
    assert json.loads(found.body)["messages"][1:] == talk(9)[1:]
    assert found.told == snapshot(
        ("what was said in turns 1 to 3 stays: a missed cache makes that -0.00409725 USD in 8 more calls",)
    )
    assert seen == snapshot([Change(tokens=3130, held=2740, begins=14, removed=863)])


@pytest.mark.parametrize(
    ("new_nano", "read_nano", "condensed"),
    [(1_000, 1_000, True), (1_000, 500, True), (1_250, 100, False), (1_000, 0, False), (0, 0, True)],
    ids=["no cache", "read at half", "written dearer, read at a tenth", "read for nothing", "free"],
)
def test_the_rates_decide(new_nano: int, read_nano: int, condensed: bool) -> None:
    rates = CacheRates(new_nano * 10**6, read_nano * 10**6)
    found = sent(talk(9), weigh=weighing(rates, []))
    assert (len(found[4]["content"]) < len(answer(1))) is condensed


def test_a_decision_once_made_stays_as_the_conversation_goes_on() -> None:
    for rates in (CACHED, CacheRates(1_000_000_000, 500_000_000)):
        decided: dict[int, Change] = {}
        for turns in range(9, 20):
            seen: list[Change] = []
            sent(talk(turns)[:-1], weigh=weighing(rates, seen))
            for number, change in enumerate(seen):
                assert decided.setdefault(number, change) == change
        assert len(decided) >= 4


def test_findings_beyond_what_is_ranked_of_a_call_are_whole_and_those_before_stay_short() -> None:
    said: list[dict[str, Any]] = []
    many = "\n\n".join(answer(n) for n in range(240))
    for turn in range(3):
        call = {"id": f"c{turn}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        said += [
            {"role": "user", "content": f"Who built the harbour of Port{turn}x7?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{turn}", "content": many + f" It was {turn}."},
            {"role": "assistant", "content": "Found."},
        ]
    by_twenty = Setting(Mode.contextual, 20.0)
    shorter, longer = (compress_body(CHAT, body_of(said[:length]), by_twenty, STAGES) for length in (7, 11))
    first, second = (json.loads(each.body)["messages"] for each in (shorter, longer))
    assert second[:7] == first
    assert len(second[10]["content"]) > len(many) * 0.9
    assert (shorter.told, longer.told) == snapshot(
        ((), ("what was retrieved from turn 6 on is whole: 1,000,000 characters are ranked of a call",))
    )


def test_segments_may_be_left_alone_or_held_to_so_many_tokens() -> None:
    messages = [
        {"role": "system", "content": "Be  brief.\n\n\n\nAlways."},
        {"role": "user", "content": "Who built the harbour of Port7x7?"},
        {"role": "tool", "tool_call_id": "c", "content": "\n\n".join(answer(n) for n in range(20))},
    ]
    whole, tokens = (
        sent(messages, setting)
        for setting in (
            Setting(Mode.contextual, 4.0, kept=(Kind.system,)),
            Setting(Mode.contextual, retrieved_tokens=500),
        )
    )
    assert whole[0] == messages[0]
    assert tokens[0] != messages[0]
    assert 350 <= estimate(tokens[2]["content"]) <= 510
    assert "Port7x7" in tokens[2]["content"]


def test_messages_are_condensed_before_a_mark_too() -> None:
    whole = talk(9)[1:]
    whole[-1] = {"role": "user", "content": [{"type": "text", "text": "Now?", "cache_control": {"type": "ephemeral"}}]}
    found = compress_body(MESSAGES, body_of(whole), CONDENSED, STAGES)
    assert len(found.body) < len(body_of(whole)) * 0.9
    parts = read_parts(MESSAGES, body_of(whole))
    (epoch,) = epochs(parts, 1_000, estimate)
    assert all(parts[piece.place].cached for piece in pieces_of(parts, epoch))
