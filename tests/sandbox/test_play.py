"""What the simulated provider decides: from the request alone, the same every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.usage import Usage
from bursar.sandbox.play import Direction, PromptCache, play_for, read_direction, tokens_of

LONG = b"".join(b"rule %06d; " % number for number in range(1_000))


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("hello", Direction()),
        ("say [[output=5]] this", Direction(output=5)),
        (
            "[[output=5 reasoning=2 ttft_ms=1.5 tpot_ms=20 fault=cut after=12 tool=f]]",
            Direction(5, 2, 1.5, 20.0, "cut", 12, "f"),
        ),
        ("[[output=many]]", Direction()),
        ("[[nonsense]]", Direction()),
        ("[[unknown=5 output=3]]", Direction(output=3)),
        ("[[output=1]] [[output=2]]", Direction(output=1)),
    ],
)
def test_a_stage_direction_is_read_and_one_that_cannot_be_read_is_none(text: str, direction: Direction) -> None:
    assert read_direction(text) == direction


def test_the_same_prompt_has_the_same_answer_and_another_another() -> None:
    one, same = (play_for(b"prompt", "prompt", None, "gpt-4o") for _ in range(2))
    assert one == same
    assert (one.text()[:32], one.text_tokens) == snapshot(("set had due had set of- tax pen ", 70))
    assert play_for(b"another", "another", None, "gpt-4o").text() != one.text()


@given(st.binary(max_size=50), st.integers(1, 300), st.sampled_from(["gpt-4o", "o4-mini", "gpt-5-mini"]))
def test_an_answer_never_exceeds_its_cap_and_each_token_is_four_bytes(prompt: bytes, cap: int, model: str) -> None:
    play = play_for(prompt, "", cap, model)
    assert play.text_tokens + play.reasoning_tokens <= cap
    assert len(play.text()) == 4 * play.text_tokens
    assert tokens_of(len(play.text().encode())) == play.text_tokens


@pytest.mark.parametrize(
    ("text", "cap", "text_tokens", "reasoning", "stopped"),
    [
        ("[[output=50]]", None, 50, 0, False),
        ("[[output=50]]", 50, 50, 0, False),
        ("[[output=50]]", 49, 49, 0, True),
        ("[[output=50 reasoning=20]]", 30, 10, 20, True),
        ("[[output=50 reasoning=40]]", 30, 0, 30, True),
        ("[[output=50 fault=overrun]]", 10, 50, 0, False),
    ],
)
def test_a_cap_covers_reasoning_first(
    text: str, cap: int | None, text_tokens: int, reasoning: int, stopped: bool
) -> None:
    play = play_for(b"p", text, cap, "gpt-4o")
    assert (play.text_tokens, play.reasoning_tokens, play.stopped_by_cap) == (text_tokens, reasoning, stopped)


@pytest.mark.parametrize(("model", "reasons"), [("o4-mini", True), ("gpt-5-mini", True), ("gpt-4o", False)])
def test_models_that_reason_do_so_unasked(model: str, reasons: bool) -> None:
    assert (play_for(b"some prompt", "", None, model).reasoning_tokens > 0) is reasons


def test_an_automatic_cache_reads_whole_blocks_from_1024_tokens_on() -> None:
    cache = PromptCache()
    assert cache.automatic("m", LONG, 0.0) == 0
    assert cache.automatic("m", LONG, 1.0) == len(LONG) // 4 // 128 * 128
    assert cache.automatic("m", LONG[: 4 * 1_100], 2.0) == 1_024
    assert cache.automatic("m", LONG[: 4 * 1_023], 3.0) == 0
    assert cache.automatic("m", LONG[: 4 * 2_000] + b"x" * 8_000, 4.0) == 1_920
    assert cache.automatic("other", LONG, 5.0) == 0


def test_an_automatic_cache_forgets_what_was_not_used_for_five_minutes() -> None:
    cache = PromptCache()
    cache.automatic("m", LONG, 0.0)
    assert cache.automatic("m", LONG, 299.0) > 0
    assert cache.automatic("m", LONG, 299.0 + 301.0) == 0


def test_a_marked_cache_reads_to_the_last_cached_mark_and_writes_the_rest() -> None:
    cache = PromptCache()
    system, tools = LONG[:8_000], LONG[8_000:]
    once = [(system, "1h"), (b"question", "")]
    total = tokens_of(8_008)
    assert cache.marked("m", once, 0.0) == Usage(total - 2_000, 0, 0, 2_000)
    assert cache.marked("m", once, 3_599.0) == Usage(total - 2_000, 2_000)
    more = [(system, "1h"), (tools, "5m"), (b"question", "")]
    reached = tokens_of(len(LONG))
    assert cache.marked("m", more, 3_600.0) == Usage(tokens_of(len(LONG) + 8) - reached, 2_000, reached - 2_000)
    assert cache.marked("m", more, 3_601.0) == Usage(tokens_of(len(LONG) + 8) - reached, reached)
    assert cache.marked("m", more, 3_950.0).cache_read_tokens == 2_000


def test_a_mark_before_1024_tokens_is_not_cached() -> None:
    cache = PromptCache()
    for now in (0.0, 1.0):
        assert cache.marked("m", [(b"x" * 4_000, "5m")], now) == Usage(1_000)


@given(st.lists(st.tuples(st.binary(max_size=6_000), st.sampled_from(["", "5m", "1h"])), max_size=5))
def test_a_prompts_tokens_are_divided_never_lost_nor_doubled(parts: list[tuple[bytes, str]]) -> None:
    cache = PromptCache()
    total = tokens_of(sum(len(piece) for piece, _ in parts))
    for now in (0.0, 1.0, 301.0):
        usage = cache.marked("m", parts, now)
        assert usage.check().input_total == total
