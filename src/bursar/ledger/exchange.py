"""Exchange one unit for another: two transfers bound to one fate, through a liquidity account of each unit.

What a rate does not divide does not vanish. The liquidity accounts give and take whole units for at least their worth,
and the difference to what was sold goes to the rounding account of the unit sold, or comes from it.
"""

from enum import Enum

import msgspec

from bursar.core.money import Money
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import Kind, Linked, Reason, Transfer


class Rounding(Enum):
    """Say which whole number of the unit bought is given for a fraction."""

    down = "down"
    half_even = "half_even"
    up = "up"


class Rate(msgspec.Struct, frozen=True):
    """Give the price of a unit: for each `sold` of one, `bought` of the other. Both are whole and above zero."""

    sold: int
    bought: int

    def __post_init__(self) -> None:
        if self.sold <= 0 or self.bought <= 0:
            raise ValueError(f"expected a rate of whole numbers above zero; got {self.bought} for {self.sold}")


class Deal(msgspec.Struct, frozen=True):
    """Say what an exchange moves. `rounding_nano` is what was sold beyond the worth of what was bought.

    Negative, it is what the rounding account pays in: liquidity takes `sold_nano - rounding_nano` in any case.
    """

    sold_nano: Money
    bought_nano: Money
    rounding_nano: Money


class Side(msgspec.Struct, frozen=True):
    """Name the accounts of one unit in an exchange: whose it is, and what gives and takes it."""

    unit: Unit
    account: int
    liquidity: int


def convert(amount: int, rate: Rate, rounding: Rounding) -> int:
    """Return what an amount buys, in whole units."""
    whole, rest = divmod(amount * rate.bought, rate.sold)
    if rounding is Rounding.up:
        return whole + (rest > 0)
    if rounding is Rounding.half_even:
        return whole + (2 * rest > rate.sold or (2 * rest == rate.sold and whole % 2))
    return whole


def quote(amount_nano: Money, rate: Rate, rounding: Rounding) -> Deal:
    """Say what selling an amount of at least zero comes to."""
    bought = convert(amount_nano, rate, rounding)
    worth = -(-bought * rate.sold // rate.bought)  # the least that must be sold for it
    return Deal(amount_nano, bought, amount_nano - worth)


def exchange(
    ids: tuple[bytes, bytes, bytes], deal: Deal, sold: Side, bought: Side, rounding_account: int, event_us: int
) -> Linked:
    """Return the transfers of an exchange. `ids` are those of selling, of buying and of the rounding.

    When liquidity is short, buying is refused with `exceeds_credits` and everything else with it.
    """
    rounded, reason = deal.rounding_nano, Reason.exchange
    paid = deal.sold_nano - max(0, rounded)
    transfers = [
        Transfer(ids[0], sold.account, sold.liquidity, paid, Kind.post, reason, event_us, unit=sold.unit),
        Transfer(
            ids[1], bought.liquidity, bought.account, deal.bought_nano, Kind.post, reason, event_us, unit=bought.unit
        ),
    ]
    if rounded:
        giver, taker = (sold.account, rounding_account) if rounded > 0 else (rounding_account, sold.liquidity)
        transfers.append(
            Transfer(ids[2], giver, taker, abs(rounded), Kind.post, Reason.rounding, event_us, unit=sold.unit)
        )
    return Linked(tuple(transfers))
