"""Chain transfers by hash, so that a change to any of them shows.

Each writer keeps a chain of its own: transfers numbered without a gap, each hash covering the one before. The text
that is hashed is plain, so that an auditor can compute it with any tool, also in SQL:

    sha256(previous hash || "seq|transfer id|debit|credit|amount|kind|reason|event_us|hold id|held|unit")
"""

from binascii import hexlify
from hashlib import sha256
from typing import Final

from bursar.ledger.transfer import Transfer

GENESIS: Final = bytes(32)


def link(previous: bytes, seq: int, transfer: Transfer) -> bytes:
    """Return the hash of the transfer numbered `seq`, which follows the one hashed `previous`."""
    t = transfer
    names = (hexlify(t.transfer_id), hexlify(t.hold_id))
    text = b"%b%d|%b|%d|%d|%d|%d|%d|%d|%b|%d|%d" % (
        *(previous, seq, names[0], t.debit_account, t.credit_account, t.amount_nano, t.kind, t.reason),
        *(t.event_us, names[1], t.held_nano, t.unit),
    )
    return sha256(text).digest()
