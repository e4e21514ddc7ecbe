"""Invoices are read exactly, whatever file they come in; what cannot be read is refused in one line that says where."""

import contextlib
import json
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoicing import (
    DAY,
    HEADER,
    NEXT,
    START_S,
    USD,
    anthropic_cost,
    anthropic_page,
    openai_cost,
    openai_page,
    openai_usage,
    plain,
    read,
)

from bursar.core.errors import OperatorError
from bursar.core.money import nano_to_usd
from bursar.ledger.invoice_files import Span
from bursar.ledger.invoices import Counts, InvoiceFormat, InvoiceLine, LineKind, amount_to_nano

CACHE = {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1000}
ANTHROPIC_USAGE = {
    "uncached_input_tokens": 1500,
    "cache_read_input_tokens": 200,
    "cache_creation": CACHE,
    "output_tokens": 500,
    "model": "claude-sonnet-4-20250514",
    "server_tool_use": {"web_search_requests": 10},
}
COSTS_CSV = """start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id
1795132800,1795219200,2026-11-20T00:00:00+00:00,2026-11-21T00:00:00+00:00,0.8958740000000000,usd,,
1795219200,1795305600,2026-11-21T00:00:00+00:00,2026-11-22T00:00:00+00:00,,,,
"""
USAGE_TSV = (
    "start_time\tend_time\tnum_model_requests\tmodel\tbatch\tinput_tokens\toutput_tokens\tinput_cached_tokens\n"
    "1795132800\t1795219200\t10.0\tgpt-4o-2024-08-06\tFALSE\t59200.0\t10646.0\t5760.0\n"
    "1795219200\t1795305600\t\t\t\t\t\t\n"
)
CONSOLE_COSTS = """usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,cost_type
2026-11-20,Claude Haiku 4.5,Default,key,message,≤ 200k,input_no_cache,0.05,token
2026-11-20,,Default,key,message,,web_search,0.30,web_search
"""
CONSOLE_USAGE = (
    "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n"
    "2026-11-20 13:00,claude-haiku-4-5-20251001,1500,500,1000,200,500\n"
)

READ = [
    (
        InvoiceFormat.openai_costs,
        openai_page(
            [
                openai_cost("gpt-4o-mini-2024-07-18, input", "0.00000450000", quantity=30.0),
                openai_cost("gpt-4o-mini-2024-07-18, cached input", "0E-6176", quantity=0.0),
                openai_cost("priority | gpt-5.6, output, long context", 0.06, quantity=2000),
                openai_cost("web search tool calls", 0.25, quantity=10),
            ],
            [],
        ),
        [
            ("gpt-4o-mini-2024-07-18", LineKind.usage, Counts(input_tokens=30), 4_500),
            ("gpt-4o-mini-2024-07-18", LineKind.usage, Counts(input_tokens=0, cached_tokens=0), 0),
            ("gpt-5.6", LineKind.usage, Counts(output_tokens=2000), 60_000_000),
            ("web search tool calls", LineKind.other, Counts(), 250_000_000),
        ],
    ),
    (
        InvoiceFormat.openai_usage,
        openai_page([openai_usage("gpt-4o-mini", 5, (1000, 800, 500))]),
        [("gpt-4o-mini", LineKind.usage, Counts(5, 1000, 800, None, 500), None)],
    ),
    (InvoiceFormat.openai_costs_csv, COSTS_CSV, [("", LineKind.usage, Counts(), 895_874_000)]),
    (
        InvoiceFormat.openai_usage_csv,
        USAGE_TSV,
        [("gpt-4o-2024-08-06", LineKind.usage, Counts(10, 59_200, 5_760, None, 10_646), None)],
    ),
    (
        InvoiceFormat.anthropic_cost,
        anthropic_page(
            [
                anthropic_cost("claude-sonnet-4-20250514", "123.45"),
                anthropic_cost(None, "-0.5", description="Promotional credit"),
                anthropic_cost(None, "30", cost_type="web_search", description="Web Search Usage"),
            ]
        ),
        [
            ("claude-sonnet-4-20250514", LineKind.usage, Counts(), 1_234_500_000),
            ("Promotional credit", LineKind.credit, Counts(), -5_000_000),
            ("Web Search Usage", LineKind.other, Counts(), 300_000_000),
        ],
    ),
    (
        InvoiceFormat.anthropic_usage,
        anthropic_page([ANTHROPIC_USAGE]),
        [("claude-sonnet-4-20250514", LineKind.usage, Counts(None, 3_200, 200, 1_500, 500), None)],
    ),
    (
        InvoiceFormat.anthropic_cost_csv,
        CONSOLE_COSTS,
        [
            ("Claude Haiku 4.5", LineKind.usage, Counts(), 50_000_000),
            ("web_search", LineKind.other, Counts(), 300_000_000),
        ],
    ),
    (
        InvoiceFormat.anthropic_usage_csv,
        CONSOLE_USAGE,
        [("claude-haiku-4-5-20251001", LineKind.usage, Counts(None, 3_200, 200, 1_500, 500), None)],
    ),
    (
        InvoiceFormat.csv,
        plain("2026-11-20,gpt-4o-mini,5,1000,800,500,0.25", "2026-11-20,VAT 19%,,,,,0.0475", "2026-11-20,x,,,,,-1"),
        [
            ("gpt-4o-mini", LineKind.usage, Counts(5, 1000, 800, None, 500), 250_000_000),
            ("VAT 19%", LineKind.tax, Counts(), 47_500_000),
            ("x", LineKind.credit, Counts(), -USD),
        ],
    ),
]


@pytest.mark.parametrize(("format_", "text", "lines"), READ, ids=[str(row[0]) for row in READ])
def test_each_format_is_told_by_its_content_and_read(format_: InvoiceFormat, text: str, lines: list[Any]) -> None:
    invoice = read(text)
    assert [(line.model, line.kind, line.counts, line.cost_nano) for line in invoice.lines] == lines
    assert {line.day for line in invoice.lines} == {DAY}
    assert invoice.priced is format_.priced
    assert read(text, format_=format_) == invoice
    assert read("\ufeff" + text.replace("\n", "\r\n")).lines == invoice.lines


def test_days_without_use_belong_to_the_invoice() -> None:
    costs = [openai_cost("m", 1)]
    assert (read(openai_page(costs, [], [])).since, read(openai_page(costs, [], [])).until) == (DAY, date(2026, 11, 23))
    assert (read(COSTS_CSV).since, read(COSTS_CSV).until) == (DAY, date(2026, 11, 22))


def test_the_options_days_leave_other_lines_out_and_make_another_invoice() -> None:
    page = openai_page([openai_cost("m", 1)], [openai_cost("m", 2)])
    one = read(page, span=Span(NEXT, date(2026, 11, 30)))
    assert ([line.cost_nano for line in one.lines], one.since, one.until) == ([2 * USD], NEXT, date(2026, 11, 30))
    assert one.digest != read(page).digest


def test_usage_beside_costs_gives_the_counts() -> None:
    costs = openai_page([openai_cost("m, input", 1, quantity=7)])
    usage = openai_page([openai_usage("m", 5, (10, 0, 2))])
    invoice = read(costs, usage)
    assert [(line.counts, line.cost_nano) for line in invoice.lines] == [
        (Counts(), USD),
        (Counts(5, 10, 0, None, 2), None),
    ]
    assert invoice.priced
    assert invoice.digest == read(usage, costs).digest


def test_pages_come_in_several_files_or_as_an_array() -> None:
    first = openai_page([openai_cost("m", 1)], has_more=True)
    later = openai_page([openai_cost("m", 2)]).replace(str(START_S + 86_400), str(START_S + 172_800))
    later = later.replace(f'"start_time": {START_S}', f'"start_time": {START_S + 86_400}')
    for invoice in (read(first, later), read(f"[{first}, {later}]")):
        assert [line.day for line in invoice.lines] == [DAY, NEXT]


@pytest.mark.parametrize(
    ("line", "coarse"),
    [("2026-11-20,m,,,,,1", (True, True)), ("2026-11-20,,,,,,1", (True, False)), (",m,,,,,1", (False, True))],
)
def test_an_invoice_is_as_coarse_as_its_coarsest_line(line: str, coarse: tuple[bool, bool]) -> None:
    invoice = read(plain("2026-11-20,other,,,,,1", line), span=Span(DAY, NEXT))
    assert (invoice.by_day, invoice.by_model) == coarse


PAGE = openai_page([openai_cost("m", 1)])
REFUSED = [
    ("", "file0: expected an invoice, got an empty file"),
    (b"\xff\xfe", "file0: expected UTF-8 text; byte 0 is none"),
    ("{", "file0: Input data was truncated"),
    ("[" * 100_000, "file0: "),
    ('{"data": 1}', "file0: Expected `array`, got `int` - at `$.data`"),
    ('{"data": []}', "file0: nothing was used on any day of it: say which report it is by --format"),
    (
        '{"data": [{"start_time": 0, "results": [{"a": 1}]}]}',
        "file0: expected results with num_model_requests or amount; got a",
    ),
    (
        '{"data": [{"results": [{"a": 1}]}]}',
        "file0: expected results with buckets with start_time or starting_at; got a",
    ),
    (PAGE.replace("1795219200", "1795219201"), "file0: data[0]: expected a UTC day or a part of one, got 2026-11-20"),
    (PAGE.replace("1795132800", "1795132799"), "file0: data[0]: expected a UTC day or a part of one, got 2026-11-19"),
    (PAGE.replace("1795219200", str(10**17)), "file0: data[0]: expected a moment from 1970 to 9998"),
    (PAGE.replace("usd", "eur"), "file0: data[0].results[0].amount.currency: expected usd, got 'eur'"),
    (PAGE.replace('"value": 1', '"value": "x"'), "file0: Invalid decimal string - at `$.data[0].results[0].amount"),
    (PAGE.replace('"value": 1', '"value": "NaN"'), "file0: data[0].results[0].amount.value: expected an amount of USD"),
    (PAGE.replace('"value": 1', '"value": 1e999999'), "file0: Number out of range - at `$.data[0]"),
    (PAGE.replace('"value": 1', '"value": 9999999999'), "9999999999 is more than the books can hold"),
    (openai_page([openai_cost("m", 1)], has_more=True), "openai-costs: the last page says has_more"),
    (openai_page([openai_usage("m", -1, (1, 0, 0))]), "file0: Expected `int` >= 0 - at `$.data[0].results[0].num_mod"),
    (f"{HEADER}\n", "the invoice does not say its days: expected --since and --until"),
    ("a,b\n1,2\n", "file0: line 1: expected a column cost_usd, got a, b"),
    ("date,cost_usd2\n1,2\n", "file0: line 1: expected a column cost_usd, got date, cost_usd2; near: cost_usd2"),
    ("dat,cost_usd\n1,2\n", "file0: line 1: unknown column 'dat'; near: date"),
    ("date,cost_usd,zzz\n1,2,3\n", "file0: line 1: unknown column 'zzz'; known: date, model, requests"),
    ("date,date,cost_usd\n1,1,2\n", "file0: line 1: a column comes twice: date, date, cost_usd"),
    ("cost_usd\n2\n", "file0: line 1: expected a column date or model beside cost_usd"),
    ("date,cost_usd\n2026-11-20\n", "file0: line 2: expected 2 cells as in the header, got 1"),
    ("date,cost_usd\n\n2026-11-32,1\n", "file0: line 3: date: expected a date such as 2026-11-21, got '2026-11-32'"),
    ("date,cost_usd\n9999-12-31,1\n", "expected days from 1970 to 9998, got 9999-12-31"),
    ("date,cost_usd\n2026-11-20,1 USD\n", "file0: line 2: cost_usd: expected USD as a decimal such as 0.25, got '1 "),
    ("date,cost_usd\n2026-11-20,\n", "file0: line 2: cost_usd: expected USD as a decimal such as 0.25, got ''"),
    ('date,cost_usd\n2026-11-20,"1\n', "file0: line 2: unexpected end of data"),
    (plain("2026-11-20,m,1.5,,,,1"), "file0: line 2: requests: expected a count such as 1200, got '1.5'"),
    (plain("2026-11-20,m,1,10,11,,1"), "file0: line 2: cached_input_tokens: expected a part of input_tokens, got 11"),
    (plain("2026-11-20,Total,,,,,1"), "file0: line 2: model: expected a model, got 'Total': a line of sums would"),
    ("start_time,amount_value\n99999999999999999,1\n", "file0: line 2: start_time: expected Unix seconds"),
    ("start_time,amount_value,amount_currency\n1,1,eur\n", "file0: line 2: amount_currency: expected usd, got 'eur'"),
]


@pytest.mark.parametrize(("text", "complaint"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_read_is_refused_in_one_line_that_says_where(text: str | bytes, complaint: str) -> None:
    with pytest.raises(OperatorError) as refused:
        read(text)
    message = str(refused.value)
    assert complaint in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_format_that_was_said_must_be_the_files() -> None:
    with pytest.raises(OperatorError, match=r"^file0: expected csv, got JSON$"):
        read(PAGE, format_=InvoiceFormat.csv)
    with pytest.raises(OperatorError, match=r"^file0: expected openai-costs, got a table$"):
        read(plain("2026-11-20,m,,,,,1"), format_=InvoiceFormat.openai_costs)
    with pytest.raises(OperatorError, match=r"^file0: line 1: expected a column usage_date_utc, got date, model"):
        read(plain("2026-11-20,m,,,,,1"), format_=InvoiceFormat.anthropic_cost_csv)


def test_a_page_given_twice_is_not_counted_twice() -> None:
    with pytest.raises(OperatorError, match=r"openai-costs from 2026-11-20T00:00:00\+00:00 comes twice"):
        read(PAGE, PAGE)


def test_what_has_no_day_needs_the_options() -> None:
    with pytest.raises(OperatorError, match="does not say its days"):
        read("model,cost_usd\nm,1\n")
    invoice = read("model,cost_usd\nm,1\n", span=Span(DAY, NEXT))
    assert (invoice.since, invoice.until, invoice.by_day) == (DAY, NEXT, False)
    with pytest.raises(OperatorError, match=r"expected --since before the end of the invoice, 2026-11-20; got 2026-12"):
        read(plain("2026-11-20,m,,,,,1"), span=Span(date(2026, 12, 1), NEXT))


amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=12, allow_nan=False)


@given(amounts)
def test_an_amount_is_rounded_half_even_once(amount: Decimal) -> None:
    expected = int((amount * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))
    assert amount_to_nano(amount, "x") == expected
    assert amount_to_nano(amount * 100, "x", unit_decimals=2) == expected


lines = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(["gpt-4o-mini", "o4-mini", "claude"]),
        st.integers(0, 10**9),
        st.integers(0, 10**12),
    ),
    min_size=1,
)


@given(lines)
def test_what_is_written_as_a_plain_table_is_read_back(rows: list[tuple[int, str, int, int]]) -> None:
    days = [DAY + timedelta(days=row[0]) for row in rows]
    written = [
        f"{day},{model},{n},{n},0,{n},{nano_to_usd(cost)}" for day, (_, model, n, cost) in zip(days, rows, strict=True)
    ]
    invoice = read(plain(*written))
    assert [(line.day, line.model, line.counts, line.cost_nano) for line in invoice.lines] == [
        (day, model, Counts(n, n, 0, None, n), cost) for day, (_, model, n, cost) in zip(days, rows, strict=True)
    ]
    assert invoice.total_nano == sum(row[3] for row in rows)


@given(lines)
def test_what_is_written_as_a_page_is_read_back(rows: list[tuple[int, str, int, int]]) -> None:
    costs = [openai_cost(f"{model}, output", nano_to_usd(cost), quantity=float(n)) for _, model, n, cost in rows]
    read_back = read(openai_page(costs)).lines
    assert [(line.model, line.counts.output_tokens, line.cost_nano) for line in read_back] == [
        (model, n, cost) for _, model, n, cost in rows
    ]


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for each in (text, f"date,cost_usd\n{text}", json.dumps({"data": [text]}), PAGE[: len(text)]):
        with contextlib.suppress(OperatorError):
            read(each)


def test_a_line_says_where_it_stood() -> None:
    line: InvoiceLine = read(plain("2026-11-20,m,,,,,1"), PAGE).lines[0]
    assert (line.where, line.amount) == ("file0: line 2", "1")
