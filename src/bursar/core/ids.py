"""Make ids that sort by time and name a call and each of its transfers.

A call's id is 16 bytes in the layout of UUID version 7 (RFC 9562): 48 bits of Unix milliseconds, then a
counter and the node that made it. The lowest five bits are zero: they number the transfers of the call, so
that a transfer's id follows from its call's id and the same call can never be booked twice.
"""

from typing import Final

CALL_PREFIX: Final = "call_"

# The number of a transfer within its call.
HOLD: Final = 1
OVERAGE: Final = 2
EXTRA: Final = 3  # beyond the hold, but within the lease
VOID: Final = 4
POST: Final = 8  # and following, one a provider that is owed
POSTS_MAX: Final = 24

_TRANSFER_BITS: Final = 5
_TRANSFER_MASK: Final = (1 << _TRANSFER_BITS) - 1
_COUNTER_BITS: Final = 22
_COUNTER_MASK: Final = (1 << _COUNTER_BITS) - 1
_NODE_BITS: Final = 52 - _TRANSFER_BITS
_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62


class IdSource:
    """Give out call ids of one node. `node` is 47 random bits; time is a parameter."""

    __slots__ = ("_counter", "_node")

    def __init__(self, node: int, counter: int = 0) -> None:
        self._node = node & ((1 << _NODE_BITS) - 1)
        self._counter = counter

    def next(self, now_ms: int) -> bytes:
        """Return a new 16-byte id. Ids of one node differ as long as it makes under 4 million in a millisecond."""
        self._counter = counter = (self._counter + 1) & _COUNTER_MASK
        high, low = counter >> 10, counter & 0x3FF
        value = (now_ms << 80) | _VERSION | (high << 64) | _VARIANT | (low << 52) | (self._node << _TRANSFER_BITS)
        return value.to_bytes(16, "big")


def transfer_id(call_id: bytes, number: int) -> bytes:
    """Name the transfer `number` (1 to 31) of a call."""
    return call_id[:15] + bytes((call_id[15] | number,))


def call_of_transfer(transfer_id_: bytes) -> bytes:
    """Name the call a transfer id was made from."""
    return transfer_id_[:15] + bytes((transfer_id_[15] & ~_TRANSFER_MASK,))


def call_name(call_id: bytes) -> str:
    """Write a call id as text: `call_` and 32 hexadecimal digits."""
    return CALL_PREFIX + call_id.hex()


def call_id_from_name(name: str) -> bytes:
    """Read a call id from its text. Raises `ValueError` when it is not one."""
    digits = name.removeprefix(CALL_PREFIX)
    if len(digits) != 32:
        raise ValueError(f"expected a call id such as call_0192…, 32 hexadecimal digits; got {name!r}")
    return bytes.fromhex(digits)


def first_id_at(time_ms: int) -> bytes:
    """Return the lowest id of a millisecond: ids of calls since then compare greater or equal."""
    return (time_ms << 80).to_bytes(16, "big")


def id_time_ms(call_id: bytes) -> int:
    """Return the Unix milliseconds at which an id was made."""
    return int.from_bytes(call_id[:6], "big")
