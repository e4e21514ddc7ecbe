"""How far to compress is said in one word, and what cannot be meant is refused with what can."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.savings.compress.setting import OFF, RATIO_MAX, Mode, Setting, read_setting, read_word
from bursar.wires.parts import Kind

LOSSLESS = Setting(Mode.lossless)


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        ("off", OFF),
        ("lossless", LOSSLESS),
        ("4", Setting(Mode.contextual, 4.0)),
        (4, Setting(Mode.contextual, 4.0)),
        (2.5, Setting(Mode.contextual, 2.5)),
        (1, LOSSLESS),
        ("1.0", LOSSLESS),
        (100, Setting(Mode.contextual, RATIO_MAX)),
        ({"ratio": 4}, Setting(Mode.contextual, 4.0)),
        ({"ratio": 4, "read_more": True}, Setting(Mode.contextual, 4.0, read_more=True)),
        ("4, history=2", Setting(Mode.contextual, 4.0, history=2.0)),
        ("history=2.5,history_tokens=8000", Setting(Mode.contextual, history=2.5, history_tokens=8_000)),
        ("retrieved_tokens=2000", Setting(Mode.contextual, retrieved_tokens=2_000)),
        ("4, system=off, tools=off", Setting(Mode.contextual, 4.0, kept=(Kind.system, Kind.tools))),
        ("system=lossless", LOSSLESS),
        ({"system": "off"}, Setting(Mode.lossless, kept=(Kind.system,))),
        ({"retrieved_tokens": 100, "read_more": True}, Setting(Mode.contextual, 1.0, True, 100)),
        ({"ratio": 4, "history": 2}, Setting(Mode.contextual, 4.0, history=2.0)),
    ],
)
def test_a_setting_is_a_word_a_ratio_or_a_table(value: Any, setting: Setting) -> None:
    assert read_setting(value) == setting


@pytest.mark.parametrize("value", ["", "Off", "none", "0.99", "101", "1e9", "nan", "inf", "-inf", "4:1", 0, -4, 100.1])
def test_what_is_none_is_told_what_would_be(value: Any) -> None:
    with pytest.raises(ValueError, match='expected "off", "lossless", or a ratio from 1 to 100 such as 4'):
        read_setting(value)


@pytest.mark.parametrize("value", [True, None, [4]])
def test_other_kinds_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_setting(value)


@pytest.mark.parametrize("value", [{}, {"ratio": "4"}, {"ratio": 4, "read_mor": True}, {"ratio": 4, "read_more": 1}])
def test_a_table_of_another_shape_is_shown_one(value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected \{ ratio = 4, read_more = true \}: "):
        read_setting(value)


def mistake(value: Any) -> str:
    with pytest.raises(ValueError, match=r"expected|leave it out") as caught:
        read_setting(value)
    return str(caught.value)


def test_each_mistake_of_a_segment_names_it() -> None:
    values: list[Any] = ["history=0.5", "4, system=4", "history_tokens=9000", "tokens=9"]
    assert [mistake(value) for value in [*values, {"history": 2, "history_tokens": 10}]] == snapshot(
        [
            "expected history to be a ratio from 1 to 100 such as 4, got 0.5",
            'system: expected "lossless" or "off": its words are instructions, and none is cut',
            "history_tokens: nothing is condensed at ratio 1; leave it out, or give a larger history",
            "expected { ratio = 4, read_more = true }: Object contains unknown field `tokens`",
            "expected { ratio = 4, read_more = true }: Expected `int` >= 1000 - at `$.history_tokens`",
        ]
    )


@pytest.mark.parametrize("value", ["4, 8", "4, read_more=true", "4,history=2,history=3", "lossless,history=2", "4,"])
def test_a_line_that_is_no_ratio_with_segments_is_shown_one(value: str) -> None:
    with pytest.raises(ValueError, match=r"such as 4(, and segments such as history=4 behind it)?, got '"):
        read_setting(value)


@given(st.text())
def test_any_word_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 1.0 <= read_word(text).ratio <= RATIO_MAX
