"""Read the terms of budgets as people write them, on a command line or in a request."""

from collections.abc import Sequence

import msgspec

from bursar.budgets.budget import UNLIMITED, Enforcement, Terms, read_limit
from bursar.core.errors import OperatorError
from bursar.core.money import usd_to_nano
from bursar.ledger.chart import Unit


def read_terms(
    limits: Sequence[str],
    zone: str,
    *,
    soft: bool = False,
    grace: str | None = None,
    overdraft: str | None = None,
    mark: str = "--",
) -> list[Terms]:
    """Read limits as people write them; `mark` stands before the names of options. Raises `OperatorError`."""
    if soft and grace is not None:
        raise OperatorError(f"{mark}soft refuses nothing, so there is no grace: choose one")
    enforcement = Enforcement.soft if soft else Enforcement.grace if grace is not None else Enforcement.hard
    terms: list[Terms] = []
    for text in limits:
        try:
            each = UNLIMITED if text == "unlimited" else read_limit(text)
        except ValueError as error:
            raise OperatorError(str(error)) from None
        money = each.unit is Unit.usd and each.limit_nano is not None
        terms.append(
            msgspec.structs.replace(
                each,
                zone=zone,
                enforcement=enforcement if money or soft else Enforcement.hard,
                grace_nano=read_usd(grace, f"{mark}grace") if grace is not None and money else 0,
                overdraft_nano=read_usd(overdraft, f"{mark}overdraft") if overdraft is not None and money else 0,
            )
        )
    return sorted(terms, key=lambda each: each.unit)


def read_usd(text: str, what: str) -> int:
    """Read an amount of USD that is not negative. Raises `OperatorError` naming what it is."""
    try:
        amount = usd_to_nano(text)
    except ValueError as error:
        raise OperatorError(f"{what}: {error}") from None
    if amount < 0:
        raise OperatorError(f"{what}: expected an amount that is not negative, got {text}")
    return amount
