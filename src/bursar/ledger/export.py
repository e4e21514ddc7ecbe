"""Write the books as text for other bookkeeping programs: beancount and hledger.

Both get the same: every account opened for its one commodity, each posted transfer as a transaction of two postings,
and at the end each account's balance, for the program to prove. What is only held has not moved and is left out.
A debit is positive, as both have it. Names are kept reversibly: `budget:app_1:total` becomes
`Liabilities:Budget:App-5f-1:Total`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec

from bursar.core.money import Money, nano_to_usd
from bursar.core.times import DAY_US, day_text, to_datetime
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import Transfer

_ROOTS: Final = {1: "Assets", 2: "Liabilities", 3: "Equity", 4: "Income", 5: "Expenses"}
_COMMODITIES: Final = {
    Unit.usd: "USD",
    Unit.credit: "CREDIT",
    Unit.request: "REQUEST",
    Unit.token: "TOKEN",
    Unit.call: "CALL",
    Unit.token_per_minute: "TPM",
}
_IN_BILLIONTHS: Final = (Unit.usd, Unit.credit)
_EMPTY_OR_ODD: Final = "0-Z"  # begins a component that has no small letter or digit to begin with
_ITSELF: Final = "0-Y"  # ends the name of an account that has others below it
_ODD: Final = re.compile(r"[^A-Za-z0-9]")
_LAST_US: Final = 253_370_678_400_000_000  # 9998-12-31: what comes later is written as of that day
_ESCAPED: Final = re.compile(r"-(-|[0-9a-f]+-)")


class ExportAccount(msgspec.Struct, frozen=True):
    """Describe an account to be exported. `balance_nano` is its posted debits less its posted credits."""

    account_id: int
    name: str
    code: int
    unit: Unit
    opened_us: int
    closed_us: int | None
    last_us: int
    balance_nano: Money


class Format(Protocol):
    """Write one format: the head, each transaction, the end."""

    def head(self) -> Iterator[str]:
        """Write what comes before the transactions: commodities and accounts."""
        ...

    def transaction(self, transfer: Transfer, chain: int, seq: int) -> str:
        """Write one posted transfer."""
        ...

    def tail(self) -> Iterator[str]:
        """Write the balances, for the program to compare with its own."""
        ...


def commodity(unit: Unit) -> str:
    """Name a unit as both programs allow it."""
    return _COMMODITIES[unit]


def amount_text(amount: int, unit: Unit) -> str:
    """Write an amount exactly: nine decimals for what is kept in billionths, none for what is counted."""
    return nano_to_usd(amount, 9) if unit in _IN_BILLIONTHS else str(amount)


def component(text: str) -> str:
    """Write a part of an account's name so that both programs allow it."""
    written = _ODD.sub(lambda match: "--" if match[0] == "-" else f"-{ord(match[0]):x}-", text)
    if re.match(r"[a-z0-9]", written) and re.match(r"[a-z0-9]", text):
        return written[0].upper() + written[1:]
    return _EMPTY_OR_ODD + written


def component_read(written: str) -> str:
    """Return what `component` was given."""
    text = written.removeprefix(_EMPTY_OR_ODD)
    if text == written:
        text = written[0].lower() + written[1:]
    return _ESCAPED.sub(lambda match: "-" if match[1] == "-" else chr(int(match[1][:-1], 16)), text)


def account_name(name: str, code: int) -> str:
    """Write an account's name below its root, which its place in the chart gives."""
    return ":".join([_ROOTS[code // 1000], *map(component, name.split(":"))])


def account_name_read(written: str) -> str:
    """Return the name of the account that was written like this."""
    parts = written.split(":")[1:]
    return ":".join(map(component_read, parts[:-1] if parts[-1] == _ITSELF else parts))


def account_names(accounts: Iterable[ExportAccount]) -> dict[int, str]:
    """Name all accounts. One that has others below it gets a leaf: programs may sum what is below into a balance."""
    names = {account.account_id: account_name(account.name, account.code) for account in accounts}
    above = {name[:place] for name in names.values() for place in range(len(name)) if name[place] == ":"}
    return {number: f"{name}:{_ITSELF}" if name in above else name for number, name in names.items()}


class Beancount:
    """Write beancount's language."""

    def __init__(self, accounts: list[ExportAccount], end_us: int) -> None:
        self._accounts = accounts
        self._names = account_names(accounts)
        self._end_us = end_us

    def head(self) -> Iterator[str]:
        """Open the accounts, each for its own commodity."""
        yield 'option "title" "Bursar"\noption "operating_currency" "USD"\n\n'
        for account in self._accounts:
            name, unit = self._names[account.account_id], commodity(account.unit)
            yield f"{_day(account.opened_us)} open {name} {unit}\n  name: {_quoted(account.name)}\n"
            yield f"  account: {account.account_id}\n"

    def transaction(self, transfer: Transfer, chain: int, seq: int) -> str:
        """Write a posted transfer."""
        debit, credit, unit = _postings(transfer, self._names)
        return (
            f'\n{_day(transfer.event_us)} * "{transfer.reason.name}"\n  id: "{transfer.transfer_id.hex()}"\n'
            f'  reason: "{transfer.reason.name}"\n  chain: {chain}\n  seq: {seq}\n'
            f'  at: "{_moment(transfer.event_us)}"\n'
            f"  {debit} {unit}\n  {credit} {unit}\n"
        )

    def tail(self) -> Iterator[str]:
        """Assert every balance, exactly, and close what is closed; both hold from the beginning of the day after."""
        for account in self._accounts:
            name, unit = self._names[account.account_id], commodity(account.unit)
            closed_us = account.closed_us
            end = _day_after(self._end_us if closed_us is None else max(closed_us, account.last_us))
            yield f"\n{end} balance {name} {amount_text(account.balance_nano, account.unit)} ~ 0 {unit}\n"
            if closed_us is not None:
                yield f"{end} close {name}\n"


class Hledger:
    """Write hledger's journal."""

    def __init__(self, accounts: list[ExportAccount], end_us: int) -> None:
        self._accounts = accounts
        self._names = account_names(accounts)
        self._end_us = end_us

    def head(self) -> Iterator[str]:
        """Declare commodities and accounts."""
        yield "; Bursar\n"
        for unit in Unit:
            yield f"commodity 1.{'0' * 9 if unit in _IN_BILLIONTHS else ''} {commodity(unit)}\n"
        for account in self._accounts:
            closed = "" if account.closed_us is None else f", closed:{_day(account.closed_us)}"
            name = self._names[account.account_id]
            yield f"account {name}  ; account:{account.account_id}, opened:{_day(account.opened_us)}{closed}\n"

    def transaction(self, transfer: Transfer, chain: int, seq: int) -> str:
        """Write a posted transfer."""
        debit, credit, unit = _postings(transfer, self._names)
        return (
            f"\n{_day(transfer.event_us)} * {transfer.reason.name}  ; id:{transfer.transfer_id.hex()}, "
            f"reason:{transfer.reason.name}, chain:{chain}, seq:{seq}, at:{_moment(transfer.event_us)}\n"
            f"    {debit} {unit}\n    {credit} {unit}\n"
        )

    def tail(self) -> Iterator[str]:
        """Assert every balance, exactly, on the day after."""
        if self._accounts:
            yield f"\n{_day_after(self._end_us)} * balances\n"
        for account in self._accounts:
            unit = commodity(account.unit)
            balance = amount_text(account.balance_nano, account.unit)
            yield f"    {self._names[account.account_id]}  {amount_text(0, account.unit)} {unit} = {balance} {unit}\n"


def _postings(transfer: Transfer, names: dict[int, str]) -> tuple[str, str, str]:
    amount, unit = transfer.amount_nano, transfer.unit
    debit = f"{names[transfer.debit_account]}  {amount_text(amount, unit)}"
    return debit, f"{names[transfer.credit_account]}  {amount_text(-amount, unit)}", commodity(unit)


def _day(at_us: int) -> str:
    return day_text(min(at_us, _LAST_US))


def _day_after(at_us: int) -> str:
    return _day(at_us + DAY_US)


def _moment(at_us: int) -> str:
    return to_datetime(min(at_us, _LAST_US)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
