"""Names survive the way into other programs and back; what is written is what they read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.ledger.chart import Code, Unit
from bursar.ledger.export import (
    Beancount,
    ExportAccount,
    Format,
    Hledger,
    account_name,
    account_name_read,
    account_names,
    amount_text,
    commodity,
)
from bursar.ledger.transfer import Kind, Reason, Transfer

DAY = 86_400_000_000
COMPONENT = re.compile(r"[A-Z0-9][A-Za-z0-9-]*")


def account(number: int, name: str, code: Code, balance: int = 0, closed_us: int | None = None) -> ExportAccount:
    return ExportAccount(number, name, code, Unit.usd, number * DAY, closed_us, 5 * DAY, balance)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("grants", snapshot("Equity:Grants")),
        ("budget:app:2026-11", snapshot("Equity:Budget:App:2026--11")),
        ("lease:1:budget:app_1~overdraft:total", snapshot("Equity:Lease:1:Budget:App-5f-1-7e-overdraft:Total")),
        ("GPT:_x::é:-", snapshot("Equity:0-ZGPT:0-Z-5f-x:0-Z:0-Z-e9-:0-Z--")),
        ("Zoe:0-Zoe", snapshot("Equity:0-ZZoe:0--Zoe")),
        ("two words", snapshot("Equity:Two-20-words")),
    ],
)
def test_names_are_legal_and_readable(name: str, written: str) -> None:
    assert account_name(name, Code.grants) == written


@given(st.text(max_size=12) | st.text("aA0-:Z_Yé", max_size=12))
def test_every_name_can_be_read_back(name: str) -> None:
    written = account_name(name, Code.budget)
    assert all(COMPONENT.fullmatch(part) for part in written.split(":"))
    assert account_name_read(written) == name
    assert account_name_read(f"{written}:0-Y") == name


@given(st.lists(st.text("aA:", max_size=6), unique=True, max_size=8))
def test_no_account_lies_above_another(names: list[str]) -> None:
    found = account_names([account(number, name, Code.budget) for number, name in enumerate(names)])
    written = list(found.values())
    assert len(set(written)) == len(names)
    assert not any(one != other and other.startswith(f"{one}:") for one in written for other in written)
    assert [account_name_read(each) for each in written] == names


def test_every_code_has_a_root_and_every_unit_a_commodity() -> None:
    roots = {account_name("x", code).partition(":")[0] for code in Code}
    assert roots <= {"Assets", "Liabilities", "Equity", "Income", "Expenses"}
    names = [commodity(unit) for unit in Unit]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9'._-]{0,22}[A-Z0-9]", name) for name in names)


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [(1, Unit.usd, "0.000000001"), (-5_000_000_000, Unit.usd, "-5.000000000"), (-7, Unit.token, "-7")],
)
def test_amounts_are_exact(amount: int, unit: Unit, text: str) -> None:
    assert amount_text(amount, unit) == text


ACCOUNTS = [
    account(1, "grants", Code.grants, 3),
    account(2, 'budget:say "hi"\\', Code.budget, -3),
    account(3, "old", Code.budget, 0, 4 * DAY),
]
MOVED = Transfer(b"\x0a" * 16, 1, 2, 3, Kind.post, Reason.grant, 5 * DAY + 1)


def written(form: Format) -> str:
    return "".join([*form.head(), form.transaction(MOVED, 0, 1), *form.tail()])


def test_beancount_is_written_like_this() -> None:
    assert written(Beancount(ACCOUNTS, 5 * DAY)) == snapshot("""\
option "title" "Bursar"
option "operating_currency" "USD"

1970-01-02 open Equity:Grants USD
  name: "grants"
  account: 1
1970-01-03 open Liabilities:Budget:Say-20--22-hi-22--5c- USD
  name: "budget:say \\"hi\\"\\\\"
  account: 2
1970-01-04 open Liabilities:Old USD
  name: "old"
  account: 3

1970-01-06 * "grant"
  id: "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
  reason: "grant"
  chain: 0
  seq: 1
  at: "1970-01-06T00:00:00.000001Z"
  Equity:Grants  0.000000003 USD
  Liabilities:Budget:Say-20--22-hi-22--5c-  -0.000000003 USD

1970-01-07 balance Equity:Grants 0.000000003 ~ 0 USD

1970-01-07 balance Liabilities:Budget:Say-20--22-hi-22--5c- -0.000000003 ~ 0 USD

1970-01-07 balance Liabilities:Old 0.000000000 ~ 0 USD
1970-01-07 close Liabilities:Old
""")


def test_hledger_is_written_like_this() -> None:
    assert written(Hledger(ACCOUNTS, 5 * DAY)) == snapshot("""\
; Bursar
commodity 1.000000000 USD
commodity 1.000000000 CREDIT
commodity 1. REQUEST
commodity 1. TOKEN
commodity 1. CALL
commodity 1. TPM
account Equity:Grants  ; account:1, opened:1970-01-02
account Liabilities:Budget:Say-20--22-hi-22--5c-  ; account:2, opened:1970-01-03
account Liabilities:Old  ; account:3, opened:1970-01-04, closed:1970-01-05

1970-01-06 * grant  ; id:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a, reason:grant, chain:0, seq:1, at:1970-01-06T00:00:00.000001Z
    Equity:Grants  0.000000003 USD
    Liabilities:Budget:Say-20--22-hi-22--5c-  -0.000000003 USD

1970-01-07 * balances
    Equity:Grants  0.000000000 USD = 0.000000003 USD
    Liabilities:Budget:Say-20--22-hi-22--5c-  0.000000000 USD = -0.000000003 USD
    Liabilities:Old  0.000000000 USD = 0.000000000 USD
""")
