"""Differences between an invoice and the books sum exactly, and each has the first cause that applies."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoicing import DAY, NEXT, USD, anthropic_cost, anthropic_page, booked, openai_cost, openai_page, plain, read

from bursar.core.money import nano_to_usd
from bursar.ledger.causes import Cause
from bursar.ledger.invoice_files import Span
from bursar.ledger.invoices import Counts, Invoice, LineKind
from bursar.ledger.reconcile import Booked, Corrected, Report, family, reconcile, unbooked
from bursar.prices.price import Rate

CENT = USD // 100
BEFORE = DAY - timedelta(days=1)
M = "2026-11-20,m,1,100,0,10,1.000000000"


def one(report: Report) -> tuple[Cause, str, int]:
    """Return cause, evidence and amount of the one line that differs."""
    (found,) = report.differing
    return found.cause, found.evidence, found.amount_nano


def causes(report: Report) -> list[Cause]:
    return [each.cause for each in report.differences]


CASES: list[tuple[Cause, str, str, list[Booked]]] = [
    (Cause.credit, "no usage; the books", plain(M, "2026-11-20,Startup credit,,,,,-0.300000000"), [booked(USD)]),
    (Cause.tax, "no usage; the books", plain(M, "2026-11-20,VAT,,,,,0.190000000"), [booked(USD)]),
    (
        Cause.other_line,
        "no model's tokens",
        openai_page([openai_cost("m, output", "1.000000000"), openai_cost("web search tool calls", 1)]),
        [booked(USD)],
    ),
    (
        Cause.day_boundary,
        "calls that ended after midnight cost 0.40 USD",
        plain("2026-11-20,m,3,,,,1.400000000"),
        [booked(USD), booked(USD, day=BEFORE, late_nano=40 * CENT)],
    ),
    (
        Cause.day_boundary,
        "calls that ended after midnight cost 0.40 USD",
        plain("2026-11-20,m,1,,,,0.600000000"),
        [booked(USD, (2, 10, 0, 1), late_nano=40 * CENT)],
    ),
    (
        Cause.unknown_model,
        "none of our calls was served by n-large; near: n-lage",
        plain("2026-11-20,n-large,1,100,0,10,2.000000000"),
        [booked(2 * USD - 1, model="n-lage")],
    ),
    (
        Cause.missing_here,
        "requests that did not come through here: 2 of 3",
        plain("2026-11-20,m,3,300,0,30,3.000000000"),
        [booked(USD)],
    ),
    (
        Cause.missing_here,
        "no call came through here",
        plain(M, "2026-11-21,m,,,,,5.000000000"),
        [booked(USD)],
    ),
    (
        Cause.held,
        "calls charged their whole hold: 1, 0.50 USD",
        plain("2026-11-20,m,1,100,0,10,0.700000000"),
        [booked(USD, held=1, held_nano=50 * CENT)],
    ),
    (
        Cause.missing_there,
        "calls not billed: 1 of 3",
        plain("2026-11-20,m,2,200,0,20,2.000000000"),
        [booked(3 * USD, (3, 300, 0, 30))],
    ),
    (
        Cause.missing_there,
        "calls not billed: all 1",
        plain(M),
        [booked(USD), booked(USD, model="gone")],
    ),
    (
        Cause.cache_differs,
        "cached: 40 billed, 80 here",
        plain("2026-11-20,m,1,100,40,10,1.100000000"),
        [booked(USD, (1, 100, 80, 10))],
    ),
    (
        Cause.estimated,
        "calls counted here: 1, 1.00 USD; output: 12 billed, 10 here",
        plain("2026-11-20,m,1,100,0,12,1.100000000"),
        [booked(USD, estimated=1, estimated_nano=USD)],
    ),
    (
        Cause.estimated,
        "calls counted here: 1, 1.00 USD",
        plain("2026-11-20,m,,,,,1.100000000"),
        [booked(USD, estimated=1, estimated_nano=USD)],
    ),
    (
        Cause.tokens_differ,
        "input: 101 billed, 100 here; output: 12 billed, 10 here",
        plain("2026-11-20,m,1,101,0,12,1.100000000"),
        [booked(USD)],
    ),
    (
        Cause.price_differs,
        "the tokens agree; 10000.00 USD a million billed, 9090.90909 here, 1.10 times; by p#1, p#2",
        plain("2026-11-20,m,1,100,0,10,1.100000000"),
        [booked(USD, price_ids=("p#2", "p#1"))],
    ),
    (
        Cause.unexplained,
        "no counts to tell by",
        plain("2026-11-20,m,,,,,1.100000000"),
        [booked(USD)],
    ),
]


@pytest.mark.parametrize(("cause", "evidence", "invoice", "books"), CASES, ids=range(len(CASES)))
def test_each_cause_is_found_with_what_speaks_for_it(
    cause: Cause, evidence: str, invoice: str, books: list[Booked]
) -> None:
    report = reconcile(read(invoice), books)
    found = report.differing[0] if cause is not Cause.unknown_model else report.differing[-1]
    assert (found.cause, len(report.differing)) == (cause, 2 if cause is Cause.unknown_model else 1)
    assert found.evidence.startswith(evidence)


def test_every_cause_has_a_case() -> None:
    others = {Cause.none, Cause.rounding, Cause.superseded}  # tested below
    assert {case[0] for case in CASES} | others == set(Cause)


RATES = {
    "input_tokens": Rate(2 * USD, ((50, 4 * USD),)),
    "output_tokens": Rate(8 * USD),
    "cache_read_tokens": Rate(USD),
}


def test_another_price_is_shown_beside_the_card_where_lines_say_what_they_are_for() -> None:
    lines = [
        openai_cost("m, input", "0.000200000", quantity=100),  # at the card's rate, and 40 at its tier's
        openai_cost("m, input", "0.000160000", quantity=40),
        openai_cost("m, cached input", "0.000010000", quantity=10),
        openai_cost("m, output", "0.000090000", quantity=10),
    ]
    usage = [
        {"model": "m", "num_model_requests": 1, "input_tokens": 150, "input_cached_tokens": 10, "output_tokens": 10}
    ]
    books = [booked(450_000, (1, 150, 10, 10), price_ids=("p#1",))]
    invoice = read(openai_page([*lines[2:], openai_cost("m, input", "0.000280000", quantity=140)]), openai_page(usage))
    cause, evidence, amount = one(reconcile(invoice, books, cards={"p#1": RATES}))
    assert (cause, amount) == (Cause.price_differs, -70_000)
    assert evidence == "output_tokens 9.00 USD a million, 8.00 on the card; by p#1"
    mixed = reconcile(read(openai_page(lines), openai_page(usage)), books, cards={"p#1": RATES})
    assert "input_tokens 2.571428 USD a million, 2.00 on the card; output_tokens" in one(mixed)[1]
    assert one(reconcile(invoice, books))[1].startswith("the tokens agree; ")


def test_what_agrees_has_no_cause() -> None:
    report = reconcile(read(plain(M)), [booked(USD)])
    assert (causes(report), report.differing, unbooked(report)) == ([Cause.none], (), [])
    assert report.total() == (USD, 0, USD, 0)


def test_an_invoice_in_cents_may_hide_half_a_cent_a_line() -> None:
    rows = ("2026-11-20,m,1,100,0,10,0.50", "2026-11-20,m,1,100,0,10,0.50")
    books = [booked(USD - CENT, (2, 200, 0, 20))]
    report = reconcile(read(plain(*rows)), books)
    assert causes(report) == [Cause.rounding]
    assert [each.amount_nano for each in unbooked(report)] == [CENT]  # and yet it is owed
    assert causes(reconcile(read(plain(*rows)), [booked(USD - CENT - 1, (2, 200, 0, 20))])) == [Cause.price_differs]
    fine = plain("2026-11-20,m,1,100,0,10,0.5000", "2026-11-20,m,1,100,0,10,0.50")
    assert causes(reconcile(read(fine), books)) == [Cause.price_differs]


def test_the_tolerance_is_a_lines() -> None:
    assert causes(reconcile(read(plain(M)), [booked(USD - 7)], tolerance_nano=7)) == [Cause.rounding]
    assert causes(reconcile(read(plain(M)), [booked(USD - 8)], tolerance_nano=7)) == [Cause.price_differs]


def test_neighbouring_days_that_cancel_are_a_day_boundary() -> None:
    invoice = read(plain("2026-11-20,m,3,,,,3.000000000", "2026-11-21,m,1,,,,1.000000000"))
    report = reconcile(invoice, [booked(2 * USD, (2, 10, 0, 1)), booked(2 * USD, (2, 10, 0, 1), NEXT)])
    found = [(each.cause, each.evidence, each.amount_nano) for each in report.differing]
    assert found == [
        (Cause.day_boundary, "cancels with 2026-11-21", USD),
        (Cause.day_boundary, "cancels with 2026-11-20", -USD),
    ]


def test_an_earlier_correction_counts_as_booked() -> None:
    billed = read(plain("2026-11-20,m,1,100,0,10,1.100000000"))
    corrected = [Corrected(DAY, "m", LineKind.usage, 10 * CENT)]
    assert causes(reconcile(billed, [booked(USD)], corrected)) == [Cause.none]
    assert one(reconcile(read(plain(M)), [booked(USD)], corrected))[::2] == (Cause.price_differs, -10 * CENT)
    gone = [Corrected(DAY, "tax", LineKind.tax, 5), Corrected(DAY, "tax", LineKind.tax, 2)]
    assert one(reconcile(read(plain(M)), [booked(USD)], gone)) == (
        Cause.superseded,
        "corrected by 0.000000007 USD before, and no longer billed",
        -7,
    )


def test_a_correction_of_all_days_is_taken_back_by_an_invoice_that_tells_them_apart() -> None:
    corrected = [Corrected(None, "m", LineKind.usage, 5)]
    report = reconcile(read(plain("2026-11-20,m,1,100,0,10,1.000000005")), [booked(USD)], corrected)
    assert [(each.day, each.amount_nano) for each in report.differing] == [(None, -5), (DAY, 5)]
    assert report.differing[0].cause is Cause.superseded


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("GPT-4o-mini", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-1106", "gpt-4"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("claude-haiku-4-5", "claude-haiku-4-5"),
        ("o4-mini", "o4-mini"),
        ("text-embedding-3-large", "text-embedding-3-large"),
        ("model-2099", "model-2099"),
        ("model-20241399", "model-20241399"),
    ],
)
def test_names_of_a_family_are_one(name: str, expected: str) -> None:
    assert family(name) == expected


def test_names_are_told_apart_where_both_sides_use_the_same() -> None:
    dated, plainly = "gpt-4o-2024-05-13", "gpt-4o"
    both = [booked(USD, model=dated), booked(2 * USD, model=plainly)]
    lines = [f"2026-11-20,{dated},,,,,2.000000000", f"2026-11-20,{plainly},,,,,1.000000000"]
    assert [each.key.name for each in reconcile(read(plain(*lines)), both).differing] == [plainly, dated]
    joined = reconcile(read(plain(f"2026-11-20,{dated},,,,,3.000000000")), both)
    assert [(each.key.name, each.cause) for each in joined.differences] == [(plainly, Cause.none)]


def test_coarser_invoices_are_matched_as_coarsely() -> None:
    books = [booked(USD), booked(USD, day=NEXT), booked(USD, model="n")]
    assert causes(reconcile(read(plain("2026-11-20,,,,,,2.000000000", "2026-11-21,,,,,,1.000000000")), books)) == [
        Cause.none,
        Cause.none,
    ]
    span = Span(DAY, date(2026, 11, 30))
    monthly = reconcile(read("model,cost_usd\nm,2.000000000\nn,1.000000001\n", span=span), books)
    assert [(each.day, each.key.name, each.amount_nano) for each in monthly.differences] == [
        (None, "m", 0),
        (None, "n", 1),
    ]


def test_a_costs_report_names_models_as_people_do() -> None:
    invoice = read(anthropic_page([anthropic_cost("Claude Haiku 4.5", "100.00000")]))
    assert causes(reconcile(invoice, [booked(USD, model="claude-haiku-4-5-20251001")])) == [Cause.none]


def test_an_export_that_only_counts_is_matched_by_its_counts() -> None:
    usage = [
        {"model": "m", "num_model_requests": 1, "input_tokens": 100, "input_cached_tokens": 0, "output_tokens": 10}
    ]
    invoice = read(openai_page(usage))
    assert causes(reconcile(invoice, [booked(7)])) == [Cause.none]
    assert causes(reconcile(invoice, [booked(7, (1, 100, 0, 11))])) == [Cause.tokens_differ]
    assert causes(reconcile(invoice, [booked(7, (2, 200, 0, 20))])) == [Cause.missing_there]
    assert causes(reconcile(invoice, [booked(7, (0, 0, 0, 0))])) == [Cause.missing_here]
    assert causes(reconcile(invoice, [booked(7, (2, 100, 0, 10))])) == [Cause.missing_there]
    assert unbooked(reconcile(invoice, [booked(7, (2, 200, 0, 20))])) == []


def test_days_outside_the_invoice_are_not_matched() -> None:
    far = [booked(USD), booked(USD, day=NEXT), booked(USD, day=BEFORE)]
    assert causes(reconcile(read(plain(M)), far)) == [Cause.none]


models = st.sampled_from(["m", "n", "gpt-4o", "gpt-4o-2024-05-13", "Claude Haiku 4.5", "claude-haiku-4-5", ""])
days = st.integers(-2, 3).map(lambda number: DAY + timedelta(days=number))
money = st.integers(0, 10**12)
counts = st.tuples(*[st.integers(0, 1000)] * 4)
bookings = st.builds(
    booked, money, counts, days, models.filter(bool), held_nano=money, estimated=st.integers(0, 2), late_nano=money
)
rows = st.tuples(days.filter(lambda day: DAY <= day <= NEXT), models, st.integers(-(10**12), 10**12), st.booleans())
corrections = st.builds(Corrected, st.none() | days, models, st.sampled_from(LineKind), st.integers(-(10**12), 10**12))


def invoice_of(lines: list[tuple[date, str, int, bool]]) -> Invoice:
    texts = [f"{day if dated else ''},{model},,,,,{nano_to_usd(nano, 9)}" for day, model, nano, dated in lines]
    return read(plain(*texts), span=Span(DAY, NEXT + timedelta(days=1)))


@given(st.lists(rows, min_size=1), st.lists(bookings), st.lists(corrections), st.integers(0, 10**9))
def test_differences_sum_to_what_is_billed_less_what_is_booked(
    lines: list[Any], books: list[Booked], corrected: list[Corrected], tolerance: int
) -> None:
    invoice = invoice_of(lines)
    report = reconcile(invoice, books, corrected, tolerance)
    ours = sum(each.cost_nano for each in books if DAY <= each.day <= NEXT)
    earlier = sum(each.amount_nano for each in corrected)
    assert report.total() == (ours, earlier, invoice.total_nano, invoice.total_nano - ours - earlier)
    assert sum(each.amount_nano for each in unbooked(report)) == invoice.total_nano - ours - earlier
    assert reconcile(invoice, books[::-1], corrected[::-1], tolerance) == report


@given(st.lists(rows, min_size=1), st.lists(bookings), st.lists(corrections))
def test_once_every_difference_is_booked_nothing_differs(
    lines: list[Any], books: list[Booked], corrected: list[Corrected]
) -> None:
    invoice = invoice_of(lines)
    first = reconcile(invoice, books, corrected)
    more = [Corrected(each.day, each.key.name, each.key.kind, each.amount_nano) for each in unbooked(first)]
    assert unbooked(reconcile(invoice, books, corrected + more)) == []


def test_counts_are_added_and_the_unknown_stays_unknown() -> None:
    assert Counts(1, 2).plus(Counts(3, None, 4)) == Counts(4, 2, 4)
