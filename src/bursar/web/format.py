"""Write figures for people: as short as they can be read, exact where they are pointed at."""

from decimal import Decimal
from typing import Final

from markupsafe import Markup, escape

_THOUSANDS: Final = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k"))


def usd(text: str) -> str:
    """Write an amount with the decimals its size deserves: $1,234.50, $12.3456, -$0.001234."""
    amount = Decimal(text)
    size, sign = abs(amount), "-" if amount < 0 else ""
    decimals = 2 if size >= 100 or not size else 4 if size >= 1 else 6
    rounded = f"{size:,.{decimals}f}"
    if size and Decimal(rounded.replace(",", "")) == 0:
        return f"{sign}${size:.9f}"
    return f"{sign}${rounded}"


def count(number: int) -> str:
    """Write a count: 9,876, 12.3k, 4.56M."""
    if number < 10_000:
        return f"{number:,}"
    for size, letter in _THOUSANDS:
        if number >= size:
            scaled = number / size
            return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f}{letter}"
    return f"{number:,}"


def share(part: str, whole: str) -> float:
    """Return a part in percent of the whole, for the width of a bar."""
    total = Decimal(whole)
    return float(round(100 * Decimal(part) / total, 2)) if total else 0.0


def each(text: str, units: int) -> str:
    """Write what one unit costs on average; empty where there is none."""
    return usd(str(Decimal(text) / units)) if units else ""


def place(share_less: float) -> float:
    """Return where a saving stands between double the cost, 0, and nothing spent, 100, for the edges of a bar."""
    return round(50 * (1 + min(max(share_less, -1.0), 1.0)), 2)


def milliseconds(duration: float | None) -> str:
    """Write a duration: 12 ms, 1.4 s."""
    if duration is None:
        return ""
    return f"{duration:.0f} ms" if duration < 1_000 else f"{duration / 1_000:.1f} s"


def breakable(name: str) -> Markup:
    """Write a name so that a narrow page may break it after a slash, and nothing in it is markup."""
    return escape(name).replace("/", Markup("/<wbr>"))
