"""Represent money as an integer of nano-USD.

One token of a cheap model costs tens of nano-dollars, and int64 holds 9.2 billion dollars, so an
`int` is exact for every list price. Decimal text appears only at the edges: files, headers, screens.
"""

import re
from typing import Final, TypeAlias

Money: TypeAlias = int
"""Nano-USD. Names that hold money end in `_nano`."""

NANO_PER_USD: Final = 1_000_000_000
MONEY_MAX: Final = 2**63 - 1

_DECIMAL: Final = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,9}))?")


def usd_to_nano(text: str) -> Money:
    """Read a decimal amount of USD exactly, such as `5`, `0.15` or `-2.000000001`.

    Raises `ValueError` for anything else: exponents, separators, currency signs, more than nine decimals.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"expected USD as a decimal with at most nine decimals, such as 5.00; got {text!r}")
    sign, whole, fraction = match.groups()
    nano = int(whole) * NANO_PER_USD + int((fraction or "").ljust(9, "0"))
    if nano > MONEY_MAX:
        raise ValueError(f"{text} USD is more than the books can hold (9,223,372,036 USD)")
    return -nano if sign else nano


def nano_to_usd(nano: Money, decimals_min: int = 2) -> str:
    """Write nano-USD as an exact decimal of USD, with at least `decimals_min` decimals."""
    if not nano:
        return "0." + "0" * decimals_min if decimals_min else "0"
    whole, fraction = divmod(abs(nano), NANO_PER_USD)
    sign = "-" if nano < 0 else ""
    digits = f"{fraction:09d}".rstrip("0").ljust(decimals_min, "0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def div_half_even(numerator: int, denominator: int) -> int:
    """Divide non-negative integers, rounding halves to the even neighbour."""
    quotient, remainder = divmod(numerator, denominator)
    if not remainder:
        return quotient
    doubled = remainder * 2
    if doubled > denominator or (doubled == denominator and quotient & 1):
        return quotient + 1
    return quotient


def div_ceil(numerator: int, denominator: int) -> int:
    """Divide non-negative integers, rounding up: for holds, which must never be too small."""
    return -(-numerator // denominator)
