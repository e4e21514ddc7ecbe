"""Transfers and accounts: numbers that are kept in databases, and names that are read back."""

import re

import pytest

from bursar.ledger import chart
from bursar.ledger.chart import Code, Unit
from bursar.ledger.transfer import Kind, Reason, Status, Transfer


@pytest.mark.parametrize("kind", Kind)
def test_three_kinds_end_a_hold(kind: Kind) -> None:
    made = Transfer(b"t", 1, 2, 0, kind, Reason.call, 0)
    assert made.resolves == (kind in (Kind.post_hold, Kind.void_hold, Kind.expire_hold))


@pytest.mark.parametrize("status", Status)
def test_two_statuses_mean_that_a_transfer_stands(status: Status) -> None:
    assert status.ok == (status in (Status.created, Status.exists))


def test_numbers_that_databases_keep_do_not_change() -> None:
    assert {kind.name: int(kind) for kind in Kind} == {
        "post": 1,
        "hold": 2,
        "post_hold": 3,
        "void_hold": 4,
        "expire_hold": 5,
    }
    reasons = {
        "grant": 1,
        "lease": 2,
        "lease_return": 3,
        "call": 4,
        "overage": 5,
        "indeterminate": 6,
        "correction": 7,
        "withdrawal": 8,
        "exchange": 20,
        "rounding": 21,
    }
    assert reasons.items() <= {reason.name: int(reason) for reason in Reason}.items()
    codes = {
        "liquidity": 1200,
        "budget": 2100,
        "lease": 2200,
        "payable": 2300,
        "overage": 2400,
        "indeterminate": 2500,
        "withdrawn": 2600,
        "used": 2700,
        "grants": 3100,
        "rounding": 5900,
    }
    assert codes.items() <= {code.name: int(code) for code in Code}.items()
    assert {unit.name: int(unit) for unit in Unit} == {
        "usd": 1,
        "credit": 2,
        "request": 3,
        "token": 4,
        "call": 5,
        "token_per_minute": 6,
    }
    assert {status.name: int(status) for status in Status} == {
        "created": 0,
        "exists": 1,
        "id_already_failed": 2,
        "exists_with_different_content": 3,
        "linked_transfer_failed": 21,
        "amount_is_negative": 4,
        "amount_exceeds_int64": 5,
        "held_amount_out_of_range": 22,
        "event_time_out_of_range": 23,
        "hold_not_expected": 24,
        "accounts_are_the_same": 6,
        "debit_account_not_found": 7,
        "credit_account_not_found": 8,
        "units_differ": 9,
        "debit_account_closed": 10,
        "credit_account_closed": 11,
        "hold_not_found": 12,
        "hold_already_posted": 13,
        "hold_already_voided": 14,
        "hold_expired": 15,
        "hold_has_other_accounts": 16,
        "hold_has_other_amount": 17,
        "exceeds_hold": 18,
        "exceeds_credits": 19,
        "exceeds_debits": 25,
        "balance_exceeds_int64": 20,
    }


def test_the_drawing_of_the_chart_names_every_code() -> None:
    drawn = {int(code) for code in re.findall(r"\b[1-5]\d\d0\b", chart.__doc__ or "")}
    assert drawn == {int(code) for code in Code}


def test_accounts_of_different_things_have_different_names() -> None:
    names = [
        chart.grants_name(),
        chart.budget_name("b", "2026-11"),
        chart.lease_name(1, "budget:b:2026-11"),
        chart.payable_name("openai", 1),
        chart.overage_name("budget:b:2026-11"),
        chart.indeterminate_name("budget:b:2026-11"),
        chart.withdrawn_name("budget:b:2026-11"),
        chart.liquidity_name(Unit.token),
        chart.rounding_name(Unit.token),
    ]
    assert len(set(names)) == len(names)
    assert [name.partition(":")[0] for name in names] == [
        "grants",
        "budget",
        "lease",
        "payable",
        "overage",
        "indeterminate",
        "withdrawn",
        "liquidity",
        "rounding",
    ]
    assert chart.budget_name("b", "2026-11") in chart.lease_name(1, chart.budget_name("b", "2026-11"))
