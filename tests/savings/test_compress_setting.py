"""How far to compress is said in one word, and what cannot be meant is refused with what can."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.savings.compress.setting import OFF, RATIO_MAX, Mode, Setting, read_setting, read_word

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


@given(st.text())
def test_any_word_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 1.0 <= read_word(text).ratio <= RATIO_MAX
