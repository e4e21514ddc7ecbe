"""JSON is read and written without loss, and what could not come back as it was is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.savings.compress.json_text import NoJson, NotPlain, Number, read, read_whole, write
from tests.savings.shapes import VALUES


@given(VALUES, st.sampled_from([None, 0, 2]))
def test_what_is_written_parses_to_the_same_value(value: object, indent: int | None) -> None:
    text = write(read_whole(json.dumps(value, indent=indent)))
    assert json.loads(text) == value
    assert len(text) <= len(json.dumps(value))


@pytest.mark.parametrize("number", ["1.0", "1.50", "-0", "1e5", "1E+05", "0.1", "12345678901234567890123", "1e400"])
def test_a_number_keeps_its_spelling(number: str) -> None:
    assert read_whole(number) == Number(number)
    assert write(read_whole(f" [ {number} ] ")) == f"[{number}]"


def test_keys_keep_their_order() -> None:
    assert write(read_whole('{"b": 1, "a": {"d": 2, "c": 3}}')) == '{"b":1,"a":{"d":2,"c":3}}'


def test_escapes_become_the_characters_they_stand_for() -> None:
    assert write(read_whole(r'["\u00e9", "\ud83d\ude00", "\/", "\n"]')) == '["é","😀","/","\\n"]'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "a": 2}', "a key twice"),
        ("[NaN]", "NaN is no JSON"),
        (r'["\ud83d"]', "half a surrogate pair"),
        (r'{"\udc00": 1}', "half a surrogate pair"),
        ("[" * 150 + "]" * 150, "nested too deep"),
        ("[" * 50_000 + "]" * 50_000, "nested too deep"),
        ("[1] 2", "more than one value: the first ends at character 3"),
    ],
)
def test_what_could_not_come_back_is_refused(text: str, why: str) -> None:
    with pytest.raises(NotPlain, match=why):
        read_whole(text)


@pytest.mark.parametrize("text", ["", "[1,", "{'a': 1}", "nul", "[01]", '["a\nb"]'])
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(NoJson, match=r"no JSON: .* at character"):
        read_whole(text)


def test_a_value_is_read_from_the_middle_of_a_text() -> None:
    assert read('see {"a": 1}, then', 4) == ({"a": Number("1")}, 12)
