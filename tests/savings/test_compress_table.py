"""A table says what its JSON says: key by key in order, digit by digit, nothing missing that was there."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from inline_snapshot import snapshot

from bursar.savings.compress.document import shortest, tabled, unfold
from bursar.savings.compress.json_text import read_whole, write
from bursar.savings.compress.table_text import read_table
from tests.savings.shapes import VALUES


def size(text: str) -> int:
    return len(text.encode())


def written(value: Any) -> str:
    return shortest(read_whole(json.dumps(value)), size)


def always(text: str) -> int:
    """Count so that a table always pays."""
    return 0 if " rows]" in text or " keys]" in text else len(text)


@given(VALUES)
@example([{"a": []}, {"a": [{"b": 1}]}, {"a": [{"b": 1}, {"c": 2}]}])
@example([{"a": [{"b": None}]}, {"a": [{}]}])
@example([{"a": {}}, {"a": {"b": 1}}, {}])
@example([{"a": {"b": 1}}, {"a": None}, {}])
@example([{"a": 1, "b": 2}, {"b": 2, "a": 1}])
@example({"x": {"a": 1}, "y": {"a": 2}, "key": {"a": 3}})
def test_what_is_written_comes_back(value: Any) -> None:
    plain = read_whole(json.dumps(value))
    compact = write(plain)
    for count in (size, always):
        assert unfold(shortest(plain, count)) == compact
    whole = tabled(plain, size)
    assert whole is None or unfold(whole) == compact
    assert size(shortest(plain, size)) <= size(compact)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"id": 1, "on": True}, {"id": 22, "on": False}], "[2 rows] id,on\n1,true\n22,false"),
        ([{"id": "1"}, {"id": "2"}], "[2 rows] id:text\n1\n2"),
        ([{"id": "1"}, {"id": 2}], '[2 rows] id\n"1"\n2'),
        ([{"a": 1, "b": ""}, {"a": 2, "b": None}, {"a": 3}], '[3 rows] a,b\n1,""\n2,null\n3,'),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "x"}], "[2 rows] a,b=x\n1\n2"),
        ([{"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 4}}], "[2 rows] a{b,c}\n1,2\n3,4"),
        ([{"a": {"b": 1}}, {"a": None}, {"a": {"b": 2}}], "[3 rows] a(b)\n(1)\nnull\n(2)"),
        ([{"a": ["x", "y"]}, {"a": []}], "[2 rows] a[]\n[x,y]\n[]"),
        ([{"a": [{"b": 1, "c": 2}, {"b": 3, "c": 4}]}, {"a": []}], "[2 rows] a[b,c]\n[1,2;3,4]\n[]"),
        ([{"u": "/a/b/1.json"}, {"u": "/a/b/2.json"}, {"u": "/a/b/3.json"}], "[3 rows] u=/a/b/*.json\n1\n2\n3"),
        ([{"t": "one, two"}, {"t": "three"}], "[2 rows]\tt\none, two\nthree"),
        ({"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 4}}, "[2 keys] key,a,b\nx,1,2\ny,3,4"),
    ],
)
def test_a_table_reads_as_it_says(value: Any, expected: str) -> None:
    found = tabled(read_whole(json.dumps(value)), size)
    assert found == expected
    assert json.loads(unfold(expected)) == value


def test_tables_stand_below_the_document_they_are_from() -> None:
    rows = [{"name": f"n{number}", "size": number} for number in range(3)]
    assert written({"next": None, "data": rows, "more": {"data": rows}}) == snapshot("""\
{"next":null,"data":[table 1],"more":{"data":[table 2]}}
[table 1: 3 rows] name,size
n0,0
n1,1
n2,2
[table 2: 3 rows] name,size
n0,0
n1,1
n2,2\
""")


def test_a_value_that_holds_for_many_rows_is_said_before_the_first() -> None:
    rows = [{"day": f"day {number // 10}", "n": number % 10} for number in range(20)]
    text = written(rows)
    assert text.startswith("[20 rows] day@,n\n@day=day 0\n0\n1\n")
    assert text.count("@day=") == 2
    assert json.loads(unfold(text)) == rows


def test_rows_whose_keys_are_in_another_order_stay_json() -> None:
    rows = [{"first": 1, "second": 2}, {"second": 2, "first": 1}] * 5
    assert written(rows) == json.dumps(rows, separators=(",", ":"))


def test_what_is_deep_and_of_many_shapes_stays_json() -> None:
    config = {"server": {"port": 80, "tls": {"on": True}}, "paths": ["a", "b"], "level": 3}
    assert written(config) == json.dumps(config, separators=(",", ":"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows", r"expected \[N rows\], \[N lines\] or \[N keys\] at character 0"),
        ("[2 rows] a\n1", r"expected '\\n' at character 12"),
        ("[1 rows] a,b\n1", "expected 2 cells at character 13"),
        ("[1 rows] a,\n1", "expected a name at character 11"),
        ("[1 rows] a:number\n1", "expected :text at character 10"),
        ('[1 rows] a\n"1', "expected JSON at character 11"),
        ("[1 rows] a[b]\n[1", "expected ';' at character 16"),
        ("[1 rows] a,b\n@a=1\n2", "expected a column marked with @ at character 15"),
        ("[1 rows] a@,b\n2", "expected a line that begins with @ at character 14"),
        ("[2 rows] a\n1\n2\n3", "expected the end at character 14"),
        ('{"a":[table 2]}\n[table 1: 1 rows] a\n1', r"expected \[table 2\] below at character 5"),
        ("[1 keys] a\n1", "expected a column key at character 12"),
    ],
)
def test_what_is_no_table_is_refused_with_the_place(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        unfold(text) if "table" in text or text[-1] == "3" else read_table(text).value()
