"""Describe what a provider says it bills: lines of an invoice or usage export, whatever file they came in."""

import re
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from bursar.core.errors import OperatorError
from bursar.core.money import MONEY_MAX, Money, div_half_even

_DIGITS_MAX: Final = 100
_CREDIT: Final = re.compile(r"\b(credits?|discounts?|refunds?|rebates?|promo\w*|adjustments?)\b", re.IGNORECASE)
_TAX: Final = re.compile(r"\b(tax|taxes|vat|gst)\b", re.IGNORECASE)


class InvoiceFormat(StrEnum):
    """Name the files that can be read."""

    openai_costs = "openai-costs"
    openai_usage = "openai-usage"
    openai_costs_csv = "openai-costs-csv"
    openai_usage_csv = "openai-usage-csv"
    anthropic_cost = "anthropic-cost"
    anthropic_usage = "anthropic-usage"
    anthropic_cost_csv = "anthropic-cost-csv"
    anthropic_usage_csv = "anthropic-usage-csv"
    csv = "csv"

    @property
    def priced(self) -> bool:
        """Tell whether files of this format say what is to be paid; the others only count."""
        return "usage" not in self.value


class LineKind(IntEnum):
    """Say what a line of an invoice is for."""

    usage = 1  # a model's tokens
    credit = 2  # a credit, a discount, money back
    tax = 3
    other = 4  # something that is no model's tokens: searches, storage, sessions


class Counts(msgspec.Struct, frozen=True):
    """Count what was used; None where the file does not say. Input includes cached and cache-written tokens."""

    requests: int | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None

    def plus(self, more: "Counts") -> "Counts":
        """Add counts; what neither says stays unknown."""
        pairs = zip(self.values(), more.values(), strict=True)
        return Counts(*(None if a is None and b is None else (a or 0) + (b or 0) for a, b in pairs))

    def values(self) -> tuple[int | None, ...]:
        """Return the counts in the order of the fields."""
        return (
            self.requests,
            self.input_tokens,
            self.cached_tokens,
            self.cache_write_tokens,
            self.output_tokens,
        )

    @property
    def tokens(self) -> int:
        """Count all tokens, as far as they are known."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)


NO_COUNTS: Final = Counts()


class InvoiceLine(msgspec.Struct, frozen=True):
    """Hold one line. `day` is None and `model` empty where the file does not tell them apart.

    `where` is the line's place in its file. `amount` is what the provider wrote, `cost_nano` the same rounded
    half-even once to nano-USD; both are absent from lines that only count. `billed_for` is what the amount is for,
    where the line says so, also when `counts` are taken from another file.
    """

    where: str
    day: date | None
    model: str
    kind: LineKind
    counts: Counts = NO_COUNTS
    cost_nano: Money | None = None
    amount: str = ""
    billed_for: Counts = NO_COUNTS


class Sheet(msgspec.Struct, frozen=True):
    """Hold what one page or file says: its lines, and the days it covers, also those on which nothing was used."""

    format: InvoiceFormat
    lines: tuple[InvoiceLine, ...]
    days: tuple[date, ...] = ()
    buckets: tuple[str, ...] = ()  # names of its stretches of time, of which none may come twice
    has_more: bool = False


class Invoice(msgspec.Struct, frozen=True):
    """Hold what a provider bills for the days from `since` to before `until`.

    `priced` tells whether it says what is to be paid. `decimals` is how many decimals of USD its amounts are given
    with, `digest` the SHA-256 of what it was read from.
    """

    provider: str
    since: date
    until: date
    lines: tuple[InvoiceLine, ...]
    priced: bool
    decimals: int
    digest: bytes

    @property
    def by_day(self) -> bool:
        """Tell whether every line of usage says its day: an invoice is as coarse as its coarsest line."""
        return all(line.day is not None for line in self.lines if line.kind is LineKind.usage)

    @property
    def by_model(self) -> bool:
        """Tell whether every line of usage names its model."""
        return all(line.model for line in self.lines if line.kind is LineKind.usage)

    @property
    def total_nano(self) -> Money:
        """Sum what is to be paid."""
        return sum(line.cost_nano or 0 for line in self.lines)


def amount_to_nano(amount: Decimal, where: str, unit_decimals: int = 0) -> Money:
    """Turn an exact amount into nano-USD, rounded half-even once.

    `unit_decimals` is 2 for an amount in cents. Raises `OperatorError` for what is no finite amount of money.
    """
    sign, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int) or len(digits) > _DIGITS_MAX:
        raise OperatorError(f"{where}: expected an amount of USD as a decimal, got {str(amount)[:40]}")
    if not amount or amount.adjusted() < -_DIGITS_MAX:
        return 0
    shift = exponent + 9 - unit_decimals
    if amount.adjusted() + 9 - unit_decimals > len(str(MONEY_MAX)):
        raise OperatorError(f"{where}: {amount} is more than the books can hold")
    whole = int("".join(map(str, digits)))
    nano = whole * 10**shift if shift >= 0 else div_half_even(whole, 10**-shift)
    if nano > MONEY_MAX:
        raise OperatorError(f"{where}: {amount} is more than the books can hold")
    return -nano if sign else nano


def decimals_of(amount: str) -> int:
    """Count the decimals an amount is written with; trailing zeros count, since they were printed."""
    _, _, exponent = Decimal(amount).as_tuple()
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def kind_of(text: str, cost_nano: Money | None, otherwise: LineKind = LineKind.usage) -> LineKind:
    """Tell what a line is for by what it calls itself, and by money that comes back."""
    if _TAX.search(text):
        return LineKind.tax
    if _CREDIT.search(text) or (cost_nano is not None and cost_nano < 0):
        return LineKind.credit
    return otherwise
