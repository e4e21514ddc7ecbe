"""What wires share: bodies are edited without touching the rest, usage reports are merged and never summed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.usage import UsageContradiction
from bursar.wires.wire import count_of, edit_body, merge_reports, nested, unknown_counts, utf8_len

encode = msgspec.json.encode
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(texts, values, max_size=6)


@given(objects, objects)
def test_editing_a_body_sets_what_it_is_told_and_keeps_everything_else(body: Any, changes: Any) -> None:
    assert msgspec.json.decode(edit_body(encode(body), changes)) == body | changes


@pytest.mark.parametrize(
    "value", [b"0.10", b"1e5", b'"\\u00e9"', b"[1,  2]", b'{"b":1,"a":1,"b":2}', b"12345678901234567890123", b"-0.0"]
)
def test_the_bytes_of_other_fields_stay_as_they_came(value: bytes) -> None:
    assert edit_body(b'{"x": ' + value + b', "model": "a"}', {"model": "b"}) == b'{"x":' + value + b',"model":"b"}'


reports = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.none() | st.integers(0, 9) | st.dictionaries(st.sampled_from("xy"), st.none() | st.integers(0, 9)),
)


def counts(report: dict[str, Any]) -> dict[str, int]:
    """Write the counts of a report under dotted names; null is none."""
    flat: dict[str, int] = {}
    for name, value in report.items():
        inner = counts(value) if isinstance(value, dict) else {"": value} if value is not None else {}
        flat.update({f"{name}.{key}".rstrip("."): count for key, count in inner.items()})
    return flat


flat_reports = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "a": st.none() | st.integers(0, 9),
            "b": st.none() | st.integers(0, 9),
            "n": st.none() | st.dictionaries(st.sampled_from("xy"), st.none() | st.integers(0, 9)),
        },
    ),
    min_size=1,
)


@given(flat_reports)
def test_each_field_of_merged_reports_is_its_last_that_is_not_null(reports: list[dict[str, Any]]) -> None:
    merged: dict[str, Any] | None = None
    expected: dict[str, int] = {}
    for report in reports:
        merged = merge_reports(merged, report)
        expected |= counts(report)
    assert merged is not None
    assert counts(merged) == expected


@given(reports, reports)
def test_merging_a_report_again_changes_nothing_and_leaves_what_it_was_given(one: dict[str, Any], two: Any) -> None:
    before = encode(one), encode(two)
    merged = merge_reports(one, two)
    assert merge_reports(merged, two) == merged
    assert (encode(one), encode(two)) == before


@pytest.mark.parametrize("value", ["3", 3.0, True, [3], {"n": 3}, -1])
def test_a_count_is_a_whole_number_from_zero_on(value: object) -> None:
    with pytest.raises(UsageContradiction, match="usage field n is"):
        count_of({"n": value}, "n")
    assert [count_of(report, "n") for report in ({}, {"n": None}, {"n": 0}, {"n": 7})] == [0, 0, 0, 7]


@pytest.mark.parametrize("value", [3, "x", [1], True])
def test_a_nested_report_is_an_object(value: object) -> None:
    with pytest.raises(UsageContradiction, match="expected an object"):
        nested({"n": value}, "n")
    assert nested({}, "n") == nested({"n": None}, "n") == {}


def test_counts_nobody_knows_are_collected_under_dotted_names() -> None:
    report = {"a": 1, "b": {"x": 2, "y": 0, "deep": {"z": 3}}, "c": True, "d": "4", "e": 1.5, "f": None}
    assert unknown_counts(report, frozenset(("a", "b.x"))) == {"b.y": 0, "b.deep.z": 3}


@given(st.text())
def test_the_bytes_of_a_text_are_counted(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert utf8_len(text) == len(text.encode())
