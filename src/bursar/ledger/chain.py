"""Chain transfers by hash, so that a change to any of them shows.

Each writer keeps a chain of its own: transfers numbered without a gap, each hash covering the one before. The text
that is hashed is plain, so that an auditor can compute it with any tool, also in SQL:

    sha256(previous hash || "seq|transfer id|debit|credit|amount|kind|reason|event_us|hold id|held|unit")
"""

from hashlib import sha256
from typing import Final

from bursar.ledger.transfer import Transfer

GENESIS: Final = bytes(32)


def link(previous: bytes, seq: int, transfer: Transfer) -> bytes:
    """Return the hash of the transfer numbered `seq`, which follows the one hashed `previous`."""
    t = transfer
    text = (
        f"{seq}|{t.transfer_id.hex()}|{t.debit_account}|{t.credit_account}|{t.amount_nano}|{t.kind:d}|{t.reason:d}"
        f"|{t.event_us}|{t.hold_id.hex()}|{t.held_nano}|{t.unit:d}"
    )
    return sha256(previous + text.encode()).digest()
