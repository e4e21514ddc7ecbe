"""Traces are read line by line: three forms, two that ship, made-up ones, and an error that names line and field."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError, NotThere
from bursar.simulate.traces import SHIPPED, load, parse, poisson

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}

"""
OURS = """{"at_s": 0.5, "input_tokens": 10, "output_tokens": 0, "priority": 100}
{"at_s": 0.5, "input_tokens": 20, "output_tokens": 3, "prefix": [7]}
"""


def test_azures_columns_are_read() -> None:
    trace = parse(AZURE.splitlines(keepends=True), "azure.csv")
    assert (trace.arrival_s, trace.input_tokens, trace.output_tokens) == ([0.0, 4.314579], [374, 396], [44, 109])
    assert trace.priority == trace.prefix == ()


def test_time_zones_count_and_empty_lines_before_the_first_do_not() -> None:
    zoned = AZURE.replace("46.6805900", "46+00:00").replace("18:15:50.9951690", "20:15:50+02:00")
    assert parse(f"\n\n{zoned}".splitlines(keepends=True), "t").arrival_s == [0.0, 4.0]
    assert parse(f"\n\n{OURS}".splitlines(keepends=True), "t").input_tokens == [10, 20]
    with pytest.raises(ConfigError, match="t, line 5: ContextTokens"):
        parse(f"\n\n{AZURE.replace('396', '0')}".splitlines(keepends=True), "t")


def test_mooncakes_lines_are_read_with_their_pieces() -> None:
    trace = parse(MOONCAKE.splitlines(), "mooncake.jsonl")
    assert (trace.arrival_s, trace.input_tokens, trace.output_tokens) == ([0.0, 3.0], [6758, 7322], [500, 490])
    assert (trace.prefix, trace.prefix_tokens) == ([(0, 1, 2), (0, 14)], 512)


def test_our_own_lines_are_read_with_their_priority() -> None:
    trace = parse(OURS.splitlines(), "ours.jsonl")
    assert (trace.arrival_s, trace.priority, trace.prefix) == ([0.5, 0.5], [100, 0], [(), (7,)])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "t, line 1: expected the columns TIMESTAMP, ContextTokens, GeneratedTokens or a JSON object with at_s"),
        ("a,b\n", "t, line 1: expected the columns"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "t has no requests; give at least one line"),
        (AZURE.replace("396", "many"), "t, line 3: ContextTokens is 'many'; give a whole number of tokens of at"),
        (AZURE.replace("396", "0"), "t, line 3: ContextTokens is '0'; give a whole number of tokens of at least 1"),
        (AZURE.replace(",109", ",-1"), "t, line 3: GeneratedTokens is '-1'; give a whole number of tokens of at"),
        (AZURE.replace(",109", ""), "t, line 3: GeneratedTokens is ''"),
        (AZURE.replace("18:15:50", "18:15:40"), "t, line 3: TIMESTAMP is before that of the line above"),
        (AZURE.replace("50.9951690", "50").replace(",109", ",x"), "t, line 3: GeneratedTokens is 'x'"),
        (AZURE.replace("2023-11-16 18:15:50.9951690", "soon"), "t, line 3: TIMESTAMP is 'soon'; give a moment such as"),
        ('{"at_s": 1, "input_tokens": 0, "output_tokens": 1}', "t, line 1: Expected `int` >= 1 - at `$.input_tokens`"),
        ('{"at_s": 1, "input_tokens": 5}', "t, line 1: Object missing required field `output_tokens`"),
        ('{"at_s": 1, "input_tokens": 5, "output_tokens": 1, "lane": 2}', "t, line 1: Object contains unknown field"),
        ('{"timestamp": "x", "input_length": 5, "output_length": 1}', "t, line 1: Expected `float`, got `str`"),
        (MOONCAKE.replace("3000", "3000.5").replace('": 0,', '": 4000,'), "t, line 2: timestamp is before that of the"),
        (MOONCAKE.replace("[0, 14]", "[-3]"), "t, line 2: Expected `int` >= 0"),
        (AZURE.replace("396", '"396'), "t, line 3: not a line of CSV (unexpected end of data); quote a cell on both"),
        (AZURE.replace(",109", ",109,7"), "t, line 3: 4 cells for 3 columns; give as many as the first line names"),
        (AZURE.replace("50.9951690", "50+02:00"), "TIMESTAMP is '2023-11-16 18:15:50+02:00'; give all moments with"),
        (
            AZURE.replace("46.6805900", "46+00:00").replace("50.9951690", "50+02:00"),
            "t, line 3: TIMESTAMP is before that of the line above",
        ),
        (
            '{"timestamp": 0, "input_length": 10, "output_length": 1, "hash_ids": [1, 2]}',
            "t, line 1: hash_ids has 2 pieces for 10 tokens in; a piece is 512 tokens, so give at most 1",
        ),
        (OURS.replace("[7]", "[7, 8]"), "t, line 2: prefix has 2 pieces for 20 tokens in"),
        ('{"at_s": -1, "input_tokens": 5, "output_tokens": 1}', 'give a line such as {"at_s": 0.4, "input_tokens": 2'),
        (OURS.replace("20,", "20"), "t, line 2: JSON is malformed"),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_by_file_line_and_field(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text.splitlines(keepends=True), "t")
    assert complaint in str(refused.value)


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_any_text_is_a_trace_or_a_clear_refusal(text: str) -> None:
    with suppress(ConfigError):
        assert len(parse(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{text}".splitlines(keepends=True), "t"))


def test_two_hours_of_azure_ship() -> None:
    found = {
        name: (len(trace), round(trace.span_s), sum(trace.input_tokens), sum(trace.output_tokens))
        for name, trace in ((name, load(name)) for name in SHIPPED)
    }
    assert found == snapshot(
        {"azure-code": (8819, 3436, 18059974, 245896), "azure-conv": (19366, 3502, 22361870, 4088665)}
    )
    with pytest.raises(NotThere, match="no trace 'azure' ships; there are azure-code, azure-conv, or name a file"):
        load("azure")


def test_random_arrivals_are_the_same_by_seed_and_as_many_as_asked() -> None:
    trace = poisson("20,1000,200,500", 1)
    assert trace.arrival_s == poisson("20,1000,200,500", 1).arrival_s != poisson("20,1000,200,500", 2).arrival_s
    assert abs(len(trace) - 10_000) < 400
    assert set(trace.input_tokens) == {1000}
    assert 0 < trace.arrival_s[0] < trace.arrival_s[-1] < 500


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1,2,3", "poisson:1,2,3 has 3 values; give poisson:RATE,IN,OUT,SECONDS"),
        ("x,2,3,4", "poisson:x,2,3,4: RATE is 'x'; give a number above 0"),
        ("nan,2,3,4", "RATE is 'nan'"),
        ("1,2.5,3,4", "IN is '2.5'; give a whole number above 0"),
        ("1,2,-3,4", "OUT is '-3'"),
        ("1e5,2,3,1e5", "makes 1e+10 requests; give a RATE and SECONDS that make 1 to 10 million"),
    ],
)
def test_random_arrivals_that_cannot_be_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        poisson(text, 1)
    assert complaint in str(refused.value)
