"""An exchange moves whole units, and what the rate does not divide is booked."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from bursar.ledger.books import Account, Books
from bursar.ledger.chart import Unit
from bursar.ledger.exchange import Deal, Rate, Rounding, Side, convert, exchange, quote
from bursar.ledger.transfer import Status

PURSE, USD_POOL, USD_ROUNDING, TOKENS, TOKEN_POOL, MINT = 1, 2, 3, 4, 5, 6
IDS = (b"sell", b"buy", b"round")
SOLD, BOUGHT = Side(Unit.usd, PURSE, USD_POOL), Side(Unit.token, TOKENS, TOKEN_POOL)


def open_books(purse: int, pool: int) -> Books:
    books = Books(
        [
            Account(PURSE, limited=True),
            Account(USD_POOL, limited=True),
            Account(USD_ROUNDING),
            Account(TOKENS, limited=True, unit=Unit.token),
            Account(TOKEN_POOL, limited=True, unit=Unit.token),
        ]
    )
    books.accounts[PURSE].credits_posted, books.accounts[TOKEN_POOL].credits_posted = purse, pool
    return books


@pytest.mark.parametrize(
    ("amount", "rate", "rounding", "deal"),
    [
        (90, Rate(30, 1), Rounding.down, snapshot(Deal(sold_nano=90, bought_nano=3, rounding_nano=0))),
        (100, Rate(30, 1), Rounding.down, snapshot(Deal(sold_nano=100, bought_nano=3, rounding_nano=10))),
        (100, Rate(30, 1), Rounding.up, snapshot(Deal(sold_nano=100, bought_nano=4, rounding_nano=-20))),
        (105, Rate(30, 1), Rounding.half_even, snapshot(Deal(sold_nano=105, bought_nano=4, rounding_nano=-15))),
        (75, Rate(30, 1), Rounding.half_even, snapshot(Deal(sold_nano=75, bought_nano=2, rounding_nano=15))),
        (29, Rate(30, 1), Rounding.down, snapshot(Deal(sold_nano=29, bought_nano=0, rounding_nano=29))),
        (10, Rate(3, 7), Rounding.down, snapshot(Deal(sold_nano=10, bought_nano=23, rounding_nano=0))),
    ],
)
def test_a_deal_says_what_is_bought_and_what_is_left(amount: int, rate: Rate, rounding: Rounding, deal: Deal) -> None:
    assert quote(amount, rate, rounding) == deal


@given(st.integers(0, 10**12), st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from(Rounding))
def test_nothing_vanishes_in_an_exchange(amount: int, sold: int, bought: int, rounding: Rounding) -> None:
    rate = Rate(sold, bought)
    deal = quote(amount, rate, rounding)
    exact = Fraction(amount * bought, sold)
    assert abs(deal.bought_nano - exact) < 1
    assert rounding is not Rounding.half_even or deal.bought_nano == round(exact)
    worth = deal.sold_nano - deal.rounding_nano
    assert 0 <= worth - Fraction(deal.bought_nano * sold, bought) < 1  # liquidity never gives more than it takes
    books = open_books(amount, deal.bought_nano)
    books.accounts[PURSE].credits_posted = amount
    assert set(books.apply_linked(exchange(IDS, deal, SOLD, BOUGHT, USD_ROUNDING, 0))) == {Status.created}
    usd = [books.accounts[name] for name in (PURSE, USD_POOL, USD_ROUNDING)]
    assert sum(account.credits_posted - account.debits_posted for account in usd) == amount
    assert books.accounts[PURSE].available == 0
    assert books.accounts[USD_POOL].available == worth
    assert books.accounts[TOKENS].available == deal.bought_nano == convert(amount, rate, rounding)


def test_when_liquidity_is_short_nothing_moves() -> None:
    books = open_books(100, 2)
    chain = exchange(IDS, quote(100, Rate(30, 1), Rounding.down), SOLD, BOUGHT, USD_ROUNDING, 0)
    failed = Status.linked_transfer_failed
    assert books.apply_linked(chain) == [failed, Status.exceeds_credits, failed]
    assert books.accounts[PURSE].available == 100
    assert books.apply_linked(chain) == [Status.id_already_failed] * 3


def test_what_is_not_there_cannot_be_sold() -> None:
    books = open_books(99, 9)
    chain = exchange(IDS, quote(100, Rate(30, 1), Rounding.down), SOLD, BOUGHT, USD_ROUNDING, 0)
    assert books.apply_linked(chain)[2] is Status.exceeds_credits
    assert books.accounts[TOKENS].sums() == (0, 0, 0, 0)


@pytest.mark.parametrize("rate", [(0, 1), (1, 0), (-1, 1)])
def test_a_rate_is_of_whole_numbers_above_zero(rate: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="whole numbers above zero"):
        Rate(*rate)
