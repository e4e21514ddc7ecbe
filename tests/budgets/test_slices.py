"""What a budget leases: never beyond its limit, nothing lost, a fair part for each gateway."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bursar.budgets.slices import Accounts, Moment, Move, id_of, lease_transfers, plan_lease, return_transfer
from bursar.ledger.books import Account, Books
from bursar.ledger.chart import Unit
from bursar.ledger.transfer import Kind, Reason, Status

amounts = st.integers(0, 1_000)
wishes = st.tuples(amounts, amounts).map(sorted)  # what is needed, and what is wanted beyond it


@st.composite
def moments(draw: st.DrawFn, *, limited: bool = True) -> Moment:
    """Draw a window in any state its past can have left it in."""
    granted = draw(amounts)
    out = draw(st.integers(0, granted if limited else 2 * granted + 1))  # leased, spent or repaid
    return Moment(
        granted - out,
        draw(st.sampled_from([0, 0, 1, 50, 2_000])),
        granted,
        draw(amounts) if limited else None,
        draw(st.sampled_from([0, 0, 3, 400, 2_000])),
        draw(st.integers(1, 9)),
    )


def after(moment: Moment, move: Move) -> Moment:
    """Return the window as a move leaves it."""
    into = move.granted_nano - move.withdrawn_nano
    available = moment.available_nano + into - move.repaid_nano - move.leased_nano
    return Moment(
        available,
        moment.owed_nano - move.repaid_nano,
        moment.granted_nano + into,
        moment.most_nano,
        moment.earlier_nano,
        moment.gateways,
    )


@pytest.mark.parametrize(
    ("moment", "need", "want", "move"),
    [
        # A fresh window is granted its limit; a wish that fits is leased.
        (Moment(0, 0, 0, 100), 1, 64, Move(100, 0, 0, 64, 36)),
        (Moment(0, 0, 0, 100), 1, 640, Move(100, 0, 0, 100, 0)),
        (Moment(0, 0, 0, 0), 1, 64, Move(0, 0, 0, 0, 0)),
        (Moment(36, 0, 100, 100), 1, 64, Move(0, 0, 0, 36, 0)),
        # Raised and lowered limits.
        (Moment(36, 0, 100, 150), 1, 64, Move(50, 0, 0, 64, 22)),
        (Moment(36, 0, 100, 80), 1, 64, Move(0, 20, 0, 16, 0)),
        (Moment(36, 0, 100, 64), 1, 64, Move(0, 36, 0, 0, 0)),
        (Moment(36, 0, 100, 10), 1, 64, Move(0, 36, 0, 0, 0)),  # what is out comes back later
        # No limit: leased without a grant; limited again, what is out counts at once.
        (Moment(-50, 0, 0, None), 1, 64, Move(0, 0, 0, 64, 0)),
        (Moment(-50, 0, 0, 100), 1, 640, Move(100, 0, 0, 50, 0)),
        (Moment(-50, 0, 0, 20), 1, 64, Move(50, 0, 0, 0, 0)),
        (Moment(40, 0, 50, 20), 1, 64, Move(0, 30, 0, 10, 0)),
        # What was overspent is repaid before anything is leased.
        (Moment(0, 30, 0, 100), 1, 640, Move(100, 0, 30, 70, 0)),
        (Moment(0, 300, 0, 100), 1, 640, Move(100, 0, 100, 0, 0)),
        (Moment(0, 30, 0, None), 1, 64, Move(0, 0, 30, 64, 0)),
        # Earlier pieces of a rolling window leave only their rest.
        (Moment(0, 0, 0, 100, 70), 1, 64, Move(30, 0, 0, 30, 0)),
        (Moment(0, 0, 0, 100, 100), 1, 64, Move(0, 0, 0, 0, 0)),
        (Moment(5, 0, 30, 100, 75), 1, 64, Move(0, 5, 0, 0, 0)),
        # Gateways share what is left, but for what the call at hand needs.
        (Moment(0, 0, 0, 100, 0, 4), 1, 64, Move(100, 0, 0, 25, 75)),
        (Moment(0, 0, 0, 100, 0, 4), 40, 640, Move(100, 0, 0, 40, 60)),
        (Moment(0, 0, 0, 3, 0, 4), 1, 64, Move(3, 0, 0, 1, 2)),
        (Moment(0, 0, 0, 3, 0, 4), 0, 64, Move(3, 0, 0, 0, 3)),
    ],
)
def test_a_budget_gives_what_it_has(moment: Moment, need: int, want: int, move: Move) -> None:
    assert plan_lease(moment, need, want) == move


@given(moments(), wishes)
def test_nothing_is_lost_and_nothing_is_negative(moment: Moment, wish: list[int]) -> None:
    move = plan_lease(moment, *wish)
    assert min(move.granted_nano, move.withdrawn_nano, move.repaid_nano, move.leased_nano, move.left_nano) >= 0
    into = moment.available_nano + move.granted_nano - move.withdrawn_nano
    assert into == move.repaid_nano + move.leased_nano + move.left_nano
    assert move.leased_nano <= wish[1]
    assert move.repaid_nano <= moment.owed_nano


@given(moments(), wishes)
def test_what_is_out_is_never_beyond_the_limit_by_a_new_lease(moment: Moment, wish: list[int]) -> None:
    move = plan_lease(moment, *wish)
    then = after(moment, move)
    assert then.available_nano == move.left_nano
    assert moment.most_nano is not None
    out = then.granted_nano - then.available_nano
    if move.leased_nano or move.repaid_nano:
        assert out + moment.earlier_nano <= moment.most_nano
    # All that is not out is within the limit too, so that nobody need look at the limit again.
    assert move.left_nano == 0 or then.granted_nano + moment.earlier_nano <= moment.most_nano


@given(moments(), wishes)
def test_what_fits_is_leased(moment: Moment, wish: list[int]) -> None:
    need, want = wish
    assert moment.most_nano is not None
    out = moment.granted_nano - moment.available_nano
    room = max(0, moment.most_nano - moment.earlier_nano - out - moment.owed_nano)
    move = plan_lease(moment, need, want)
    assert move.leased_nano >= min(need, room)
    assert move.leased_nano + move.left_nano == room


@given(moments(), wishes)
def test_no_gateway_takes_more_than_its_part_but_for_the_call_at_hand(moment: Moment, wish: list[int]) -> None:
    need, want = wish
    move = plan_lease(moment, need, want)
    assert move.leased_nano <= max(need, (move.leased_nano + move.left_nano) // moment.gateways)


@given(moments(), st.lists(wishes, max_size=6))
def test_a_window_at_its_limit_stays_there(moment: Moment, more: list[list[int]]) -> None:
    then = after(moment, plan_lease(moment, 0, 0))
    for wish in more:
        move = plan_lease(then, *wish)
        assert (move.granted_nano, move.withdrawn_nano, move.repaid_nano) == (0, 0, 0)
        then = after(then, move)


@given(moments(limited=False), wishes)
def test_without_a_limit_every_wish_is_granted(moment: Moment, wish: list[int]) -> None:
    assert plan_lease(moment, *wish) == Move(0, 0, moment.owed_nano, wish[1], 0)


acts = st.lists(
    st.one_of(
        st.tuples(st.just("lease"), amounts),
        st.tuples(st.just("spend"), amounts),
        st.tuples(st.just("return"), amounts),
        st.tuples(st.just("limit"), st.one_of(st.none(), st.integers(0, 300))),
        st.tuples(st.just("earlier"), st.integers(0, 100)),
    ),
    max_size=20,
)


@given(st.one_of(st.none(), st.integers(0, 300)), acts)
def test_whatever_the_limit_was_a_budget_at_rest_has_its_limit_less_what_was_used(
    most: int | None, steps: list[tuple[str, int | None]]
) -> None:
    available, granted, leased, spent, earlier = 0, 0, 0, 0, 0
    for what, amount in [*steps, ("return", 10**9), ("limit", 200), ("lease", 0)]:
        if what == "limit":
            most = amount
            continue
        assert amount is not None
        if what == "earlier":
            earlier = amount
        elif what == "spend":
            spent += min(amount, leased)
            leased -= min(amount, leased)
        elif what == "return":
            available += min(amount, leased)
            leased -= min(amount, leased)
        else:
            before = leased + spent
            move = plan_lease(Moment(available, 0, granted, most, earlier), amount, amount)
            granted += move.granted_nano - move.withdrawn_nano
            available += move.granted_nano - move.withdrawn_nano - move.leased_nano
            leased += move.leased_nano
            assert most is None or leased + spent + earlier <= max(most, before + earlier)
    assert (available, leased) == (max(0, 200 - earlier - spent), 0)


@given(moments(), wishes)
def test_the_books_take_every_plan(moment: Moment, wish: list[int]) -> None:
    """Book a plan against accounts that may not owe."""
    assume(moment.available_nano >= 0)
    grants, budget, overage, lease, withdrawn = (
        Account(1),
        Account(2, limited=True),
        Account(3),
        Account(4, limited=True),
        Account(5, limited=True),
    )
    budget.credits_posted, budget.debits_posted = moment.granted_nano, moment.granted_nano - moment.available_nano
    overage.debits_posted = moment.owed_nano
    books = Books([grants, budget, overage, lease, withdrawn])
    move = plan_lease(moment, *wish)
    transfers = lease_transfers(Accounts(Unit.usd, 1, 2, 3, 4), 5, move, id_of("t"), 7)
    assert [books.apply(transfer) for transfer in transfers] == [Status.created] * len(transfers)
    assert len({transfer.transfer_id for transfer in transfers}) == len(transfers)
    assert (budget.available, lease.available, withdrawn.available) == (
        move.left_nano,
        move.leased_nano,
        move.withdrawn_nano,
    )
    assert overage.debits_posted - overage.credits_posted == moment.owed_nano - move.repaid_nano


def test_a_lease_of_nothing_takes_its_id_and_a_limit_that_is_set_books_only_what_moves() -> None:
    nothing = Move(0, 0, 0, 0, 0)
    (lease,) = lease_transfers(Accounts(Unit.token, 1, 2, 3, 4), 0, nothing, id_of("t"), 7)
    assert (lease.transfer_id, lease.amount_nano, lease.unit, lease.reason) == (id_of("t"), 0, Unit.token, Reason.lease)
    assert lease_transfers(Accounts(Unit.token, 1, 2, 3, 0), 0, nothing, id_of("t"), 7) == []


def test_a_return_goes_the_way_back() -> None:
    back = return_transfer(Unit.request, (4, 2, 9), id_of("back"), 7)
    assert (back.debit_account, back.credit_account, back.amount_nano) == (4, 2, 9)
    assert (back.kind, back.reason, back.unit) == (Kind.post, Reason.lease_return, Unit.request)


def test_the_same_words_make_the_same_id_and_words_are_told_apart() -> None:
    assert id_of("a", 1) == id_of("a", "1")
    assert len(id_of()) == 16
    assert len({id_of("ab", "c"), id_of("a", "bc"), id_of("abc"), id_of("abc", "")}) == 4
