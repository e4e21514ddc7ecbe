"""Transfers and accounts: numbers that are kept in databases, and names that are read back."""

import re

import pytest

from bursar.ledger import chart
from bursar.ledger.chart import Code
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
    assert {reason.name: int(reason) for reason in Reason} == {
        "grant": 1,
        "lease": 2,
        "lease_return": 3,
        "call": 4,
        "overage": 5,
        "indeterminate": 6,
        "correction": 7,
        "withdrawal": 8,
    }
    assert {code.name: int(code) for code in Code} == {
        "budget": 2100,
        "lease": 2200,
        "payable": 2300,
        "overage": 2400,
        "indeterminate": 2500,
        "withdrawn": 2600,
        "grants": 3100,
    }


def test_the_drawing_of_the_chart_names_every_code() -> None:
    drawn = {int(code) for code in re.findall(r"\b[23]\d00\b", chart.__doc__ or "")}
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
    ]
    assert chart.budget_name("b", "2026-11") in chart.lease_name(1, chart.budget_name("b", "2026-11"))
