"""Follow what a gateway wrote down: which calls are under way, and what a group of entries posts to the books."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

import msgspec

from bursar.core.money import Money
from bursar.core.times import SECOND_US
from bursar.ledger.journal import Entry, Intent, Settled, Uses, hold_transfer, settlement_transfers
from bursar.ledger.transfer import Transfer

HOLD_SHOWN_AFTER_US: Final = SECOND_US
"""A call under way for longer shows its hold in the books."""


class Postings(msgspec.Struct):
    """Hold what one commit posts, by tenant, and what it changes in memory once it has.

    Calls that begin and end within it change nothing there.
    """

    transfers: list[tuple[int, Transfer]] = []
    opened: dict[bytes, Intent] = {}
    ended: set[bytes] = set()
    holds_written: dict[bytes, Money] = {}


class UnderWay:
    """Hold the calls whose beginning is in the books' part of a spool and whose end is not."""

    __slots__ = ("holds_written", "open_since", "unshown")

    def __init__(self, holds_written: Mapping[bytes, Money] | None = None) -> None:
        self.unshown: dict[bytes, Intent] = {}  # their hold is not in the books; oldest first
        self.holds_written = dict(holds_written or {})  # by call
        self.open_since: dict[bytes, int] = {}  # the segment of each

    def follow(self, entry: Entry, segment: int) -> None:
        """Take in an entry that is in the books."""
        if isinstance(entry, Intent):
            self.open_since[entry.call.call_id] = segment
            if entry.call.call_id not in self.holds_written:
                self.unshown[entry.call.call_id] = entry
        elif isinstance(entry, Settled):
            self.forget(entry.record.call.call_id)

    def forget(self, call_id: bytes) -> None:
        """Forget a call that has ended."""
        self.open_since.pop(call_id, None)
        self.unshown.pop(call_id, None)
        self.holds_written.pop(call_id, None)

    def hold_is_due(self, now_us: int) -> bool:
        """Tell whether some call has been under way for so long that its hold is to be shown."""
        oldest = next(iter(self.unshown.values()), None)
        return oldest is not None and oldest.call.opened_us + HOLD_SHOWN_AFTER_US <= now_us

    def gather(
        self, entries: Sequence[Entry], name: Callable[[int, int, int], bytes], now_us: int, *, more: bool
    ) -> Postings:
        """Return what the next entries post; `name` makes the id of what calls used of further limits.

        While there are `more` entries no hold is shown: they may tell of its call's end, and the money be elsewhere.
        """
        postings, uses = Postings(), Uses()
        for entry in entries:
            if isinstance(entry, Settled):
                call = entry.record.call
                for transfer in settlement_transfers(entry, self.holds_written.get(call.call_id)):
                    postings.transfers.append((call.tenant, transfer))
                if entry.shares:
                    uses.add(entry)
                if postings.opened.pop(call.call_id, None) is None or call.call_id in self.open_since:
                    postings.ended.add(call.call_id)
            elif isinstance(entry, Intent):
                postings.opened[entry.call.call_id] = entry
        postings.transfers.extend(uses.transfers(name))
        if more:
            return postings
        for call_id, intent in chain(self.unshown.items(), postings.opened.items()):
            if intent.call.opened_us + HOLD_SHOWN_AFTER_US > now_us:
                break
            if call_id not in postings.ended and call_id not in self.holds_written:
                postings.transfers.append((intent.call.tenant, hold_transfer(intent)))
                postings.holds_written[call_id] = intent.held_nano
        return postings

    def committed(self, postings: Postings, segment: int) -> None:
        """Take in what a commit has written, of entries up to a segment."""
        for intent in postings.opened.values():
            self.follow(intent, segment)
        for call_id in postings.ended:
            self.forget(call_id)
        for call_id, amount in postings.holds_written.items():
            self.holds_written[call_id] = amount
            self.unshown.pop(call_id, None)


def calls_without_end(entries: Iterable[tuple[Entry, bool]], open_since: Mapping[bytes, int]) -> list[Intent]:
    """Return the calls of which neither a spool nor the books know the end; beside each entry, if it is in the books.

    `open_since` has the calls that began in the books' part and have no end there.
    """
    intents: dict[bytes, Intent] = {}
    for entry, in_books in entries:
        if isinstance(entry, Intent):
            if not in_books or entry.call.call_id in open_since:
                intents[entry.call.call_id] = entry
        elif isinstance(entry, Settled):
            intents.pop(entry.record.call.call_id, None)
    return list(intents.values())


def lease_needs(entries: Iterable[Entry], holds_written: Mapping[bytes, Money]) -> dict[int, Money]:
    """Return the most that each lease lacks at any point while the next entries are booked, were it empty before.

    An ended call takes what it cost and releases its hold in the books, which pays for calls that ended after it.
    """
    taken: dict[int, Money] = {}
    needs: dict[int, Money] = {}
    for entry in entries:
        if isinstance(entry, Settled):
            held = holds_written.get(entry.record.call.call_id, 0)
            parts = [(entry.lease_account, sum(debt.amount_nano for debt in entry.debts) - held)]
            parts += [(share.lease_account, share.amount_nano) for share in entry.shares]
            for account, amount in parts:
                taken[account] = total = taken.get(account, 0) + amount
                needs[account] = max(needs.get(account, 0), total)
    return needs
