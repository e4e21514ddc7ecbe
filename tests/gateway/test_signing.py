"""Keys that do not last: kept, renewed beside the calls, and refused in time when nobody gives any."""

import asyncio
import threading

import pytest

from bursar.core.times import SECOND_US
from bursar.gateway.connection import Fault, UpstreamFault
from bursar.gateway.signing import AGAIN_US, EARLY_US, Grant, Signer

HEAD, BODY = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n", b"{}"
LIFE_US = 4 * EARLY_US


class Till:
    """Give numbered grants by a clock of its own; wait for nobody unless the gate is closed."""

    def __init__(self) -> None:
        self.now_us = 1_000 * SECOND_US
        self.given = 0
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()

    def clock(self) -> int:
        return self.now_us

    def fetch(self) -> Grant:
        assert self.gate.wait(5)
        if self.broken:
            raise PermissionError("the secret is hunter2")
        self.given += 1
        return Grant(self.given, self.now_us + LIFE_US)

    def lines(self, grant: Grant, head: bytes, body: bytes) -> bytes:
        return b"grant: %d of %d\r\n" % (grant.value, len(body))


async def signed(signer: Signer, within_s: float = 5.0) -> int:
    """Return the number of the grant a request is signed by."""
    head = await signer.sign(HEAD, BODY, within_s)
    assert head.startswith(HEAD[:-2])
    assert head.endswith(b" of 2\r\n\r\n")
    return int(head.partition(b"grant: ")[2].partition(b" ")[0])


async def settle() -> None:
    """Let what runs in threads come to its end."""
    for _ in range(50):
        await asyncio.sleep(0.002)


async def test_many_calls_at_once_ask_for_one_grant() -> None:
    till = Till()
    signer = Signer("p", till, till.clock)
    assert await asyncio.gather(*(signed(signer) for _ in range(20))) == [1] * 20
    assert till.given == 1


async def test_a_grant_is_renewed_before_it_ends_and_no_call_waits_for_it() -> None:
    till = Till()
    signer = Signer("p", till, till.clock)
    assert await signed(signer) == 1
    till.now_us += LIFE_US - EARLY_US - 1
    assert await signed(signer) == 1
    await settle()
    assert till.given == 1
    till.gate.clear()
    till.now_us += 1
    assert await signed(signer) == 1
    assert await signed(signer) == 1
    till.gate.set()
    await settle()
    assert await signed(signer) == 2
    assert till.given == 2


async def test_a_grant_that_cannot_be_renewed_serves_to_its_end_and_no_further() -> None:
    till = Till()
    signer = Signer("p", till, till.clock)
    assert await signed(signer) == 1
    till.broken = True
    till.now_us += LIFE_US - 1
    assert await signed(signer) == 1
    await settle()
    till.now_us += 1
    with pytest.raises(UpstreamFault, match=r"^no credentials: PermissionError$") as refused:
        await signed(signer)
    assert refused.value.fault is Fault.unreachable
    till.broken = False
    with pytest.raises(UpstreamFault):  # it was asked for just now
        await signed(signer)
    till.now_us += AGAIN_US
    assert await signed(signer) == 2


async def test_a_call_waits_no_longer_than_it_may_and_the_next_finds_the_grant() -> None:
    till = Till()
    signer = Signer("p", till, till.clock)
    till.gate.clear()
    with pytest.raises(UpstreamFault, match=r"^no credentials: no grant yet$"):
        await signed(signer, within_s=0.01)
    till.gate.set()
    await settle()
    assert await signed(signer) == 1
    assert till.given == 1
