"""What a group of a spool's entries posts, and what a lease needs so that all of them can be booked."""

import msgspec

from bursar.core.ids import IdSource
from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Protocol, Record, Segments
from bursar.core.times import SECOND_US
from bursar.ledger.chart import Unit
from bursar.ledger.following import UnderWay, calls_without_end, lease_needs
from bursar.ledger.journal import Debt, Intent, Settled, Share
from bursar.ledger.transfer import Kind

LEASE, BUDGET, OVERAGE, PAYABLE, USED, TEAM_LEASE = 1, 2, 3, 4, 5, 6
LATER_US = 5 * SECOND_US

_ids = IdSource(3)


def name(tenant: int, account: int, reason: int) -> bytes:
    return b"uses %2d %3d %2d  " % (tenant, account, reason)


def intent(held_nano: int) -> Intent:
    call = Call(_ids.next(1), 1, "key", Protocol.openai_chat, "m", False, 0, Segments())
    return Intent(call, "p", LEASE, BUDGET, PAYABLE, held_nano, LATER_US)


def settled(begun: Intent, cost_nano: int, *shares: Share) -> Settled:
    attempt = Attempt("p", "m", AttemptStatus.ok, 200, 0, 0, LATER_US, cost_nano=cost_nano)
    record = Record(begun.call, CallStatus.ok, (attempt,), begun.held_nano, cost_nano, 0, cost_nano, LATER_US)
    debts = (Debt(PAYABLE, cost_nano),) if cost_nano else ()
    return Settled(record, LEASE, BUDGET, OVERAGE, PAYABLE, debts, shares)


def kinds(under_way: UnderWay, *entries: Intent | Settled, more: bool) -> list[Kind]:
    postings = under_way.gather(entries, name, LATER_US, more=more)
    under_way.committed(postings, 1)
    return [transfer.kind for _, transfer in postings.transfers]


def test_a_hold_is_shown_only_once_no_entry_is_left_that_could_tell_of_its_end() -> None:
    under_way, call = UnderWay(), intent(10)
    assert kinds(under_way, call, more=True) == []
    assert kinds(under_way, settled(call, 4), more=False) == [Kind.post]

    under_way, call = UnderWay(), intent(10)
    assert kinds(under_way, call, more=False) == [Kind.hold]
    assert kinds(under_way, settled(call, 4), more=False) == [Kind.post_hold]


def test_what_a_call_held_in_the_books_pays_for_those_that_ended_after_it() -> None:
    first, second = intent(10), intent(10)
    shown = {first.call.call_id: 10}
    assert lease_needs([settled(first, 4), settled(second, 6)], shown) == {LEASE: 0}
    assert lease_needs([settled(second, 6), settled(first, 4)], shown) == {LEASE: 6}
    assert lease_needs([settled(first, 4), settled(second, 9)], {}) == {LEASE: 13}


def test_a_lease_needs_what_calls_counted_against_it_as_a_further_limit() -> None:
    share = Share(Unit.usd, TEAM_LEASE, USED, OVERAGE, 7)
    entries = [settled(intent(10), 7, share), settled(intent(10), 5, msgspec.structs.replace(share, amount_nano=5))]
    assert lease_needs(entries, {}) == {LEASE: 12, TEAM_LEASE: 12}


def test_a_call_has_no_end_unless_the_spool_or_the_books_know_it() -> None:
    booked, ended, recorded, fresh = intent(1), intent(2), intent(3), intent(4)
    entries = [(booked, True), (ended, True), (recorded, True), (fresh, False), (settled(ended, 1), False)]
    open_since = {booked.call.call_id: 1, ended.call.call_id: 1}
    assert calls_without_end(entries, open_since) == [booked, fresh]
