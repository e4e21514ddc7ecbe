"""Lay out the chart of accounts.

Money flows one way. A grant credits a budget's window; a lease moves a slice of it to a gateway; a call moves its
cost from the lease to what is owed to the provider; the rest of a lease returns.

    3100 grants ──▶ 2100 budget ──▶ 2200 lease ──▶ 2300 payable
                                    2400 overage ─▶ 2300 payable      a bill beyond its hold and its lease
                         2200 lease ──▶ 2500 indeterminate            a lease whose spool may have lost its end
                 2500 indeterminate ──▶ 2550 written off              it was decided that this was spent
                  2100 budget ──▶ 2320 services                       work that is no model call
                  2100 budget ──▶ 2600 withdrawn                      a limit that was lowered
                         1200 liquidity ◀─▶ any                       one unit sold for another; the rest goes to
                                                                      5900 rounding
                         2200 lease ──▶ 2700 used                     a further limit a call counts against
                    2310 adjustment ◀─▶ 2300 payable                  an invoice that differs from what was booked

Names are paths, `budget:<budget>:<window>`, so that an account can be found again without a second key.
"""

from enum import IntEnum
from typing import Final


class Unit(IntEnum):
    """Name what an account counts. Accounts of different units never meet in one transfer."""

    usd = 1  # nano-USD
    credit = 2  # an organisation's own unit, in billionths
    request = 3  # calls begun
    token = 4  # input and output
    call = 5  # calls under way at once
    token_per_minute = 6  # capacity


class Code(IntEnum):
    """Name an account's place in the chart."""

    liquidity = 1200  # limited: what may be given out of a unit when another is sold for it
    budget = 2100  # limited: what may still be spent in one window of one budget
    lease = 2200  # limited: a gateway's slice of a budget
    payable = 2300  # what is owed to a provider, one account a gateway so that gateways do not queue for it
    adjustment = 2310  # what a provider billed beyond, or below, what its calls were booked with
    services = 2320  # what is owed for work that is no model call
    overage = 2400  # spent beyond what was held; its debit balance is the overage
    indeterminate = 2500  # limited: it is not known whether this was spent
    written_off = 2550  # decided to have been spent, nobody knows on what
    withdrawn = 2600  # limited: taken out of a budget when its limit was lowered
    used = 2700  # counted against the further limits of a call: money is owed once, by the lease that pays
    grants = 3100  # where budgets' money comes from
    rounding = 5900  # what exchanges left over, less what they were short of


WRITTEN_UNASKED: Final = frozenset({Code.lease, Code.payable, Code.overage, Code.used})
"""Accounts gateways write to from memory, where nobody could be refused any more: they are not closed."""


OVERDRAFT: Final = "~overdraft"
"""What the name of a budget's overdraft line ends with."""


def grants_name(unit: Unit = Unit.usd) -> str:
    """Name the account all grants of a unit come from."""
    return "grants" if unit is Unit.usd else f"grants:{unit.name}"


def budget_name(budget_id: str, window: str) -> str:
    """Name the account of one window of a budget."""
    return f"budget:{budget_id}:{window}"


def overdraft_id(budget_id: str) -> str:
    """Name the line a budget has for calls that cost more than was expected of them."""
    return budget_id + OVERDRAFT


def used_name(unit: Unit, gateway: int) -> str:
    """Name what was counted through one gateway against further limits."""
    return f"used:{unit.name}:{gateway}"


def lease_name(gateway: int, budget_account: str) -> str:
    """Name a gateway's lease on a budget account."""
    return f"lease:{gateway}:{budget_account}"


def payable_name(provider: str, gateway: int) -> str:
    """Name what is owed to a provider for calls through one gateway."""
    return f"payable:{provider}:{gateway}"


def correction_name(provider: str) -> str:
    """Name the account of what a provider's invoices differed from its calls by."""
    return f"correction:{provider}"


def services_name(supplier: str) -> str:
    """Name what is owed to a supplier of work that is no model call."""
    return f"services:{supplier}"


def overage_name(budget_account: str) -> str:
    """Name the overage of a budget account."""
    return f"overage:{budget_account}"


def indeterminate_name(budget_account: str) -> str:
    """Name the undecided money of a budget account."""
    return f"indeterminate:{budget_account}"


def written_off_name(budget_account: str) -> str:
    """Name what of a budget account was decided to have been spent."""
    return f"written off:{budget_account}"


def withdrawn_name(budget_account: str) -> str:
    """Name what was taken out of a budget account."""
    return f"withdrawn:{budget_account}"


def liquidity_name(unit: Unit) -> str:
    """Name the account that gives and takes a unit when it is exchanged."""
    return f"liquidity:{unit.name}"


def rounding_name(unit: Unit) -> str:
    """Name the account of what exchanges of a unit could not divide."""
    return f"rounding:{unit.name}"
