"""What waits for one reader goes out whatever became of another."""

import asyncio
import socket

import uvloop

from bursar.gateway.outbox import Outbox


async def _write_to_a_closed_and_an_open_one() -> bytes:
    loop = asyncio.get_running_loop()
    (gone, gone_end), (there, there_end) = socket.socketpair(), socket.socketpair()
    gone_transport, _ = await loop.create_connection(asyncio.Protocol, sock=gone)
    there_transport, _ = await loop.create_connection(asyncio.Protocol, sock=there)
    outbox = Outbox(loop)
    gone_transport.abort()
    await asyncio.sleep(0.01)
    outbox.write(gone_transport, b"too late")
    outbox.write(there_transport, b"answer")
    there_end.setblocking(False)
    async with asyncio.timeout(5):
        received = await loop.sock_recv(there_end, 100)
    there_transport.close()
    gone_end.close()
    there_end.close()
    return received


def test_a_reader_who_left_takes_nobodys_answer_along() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_write_to_a_closed_and_an_open_one()) == b"answer"


async def _write_numbers(turns: list[int]) -> bytes:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    outbox, number, received = Outbox(loop), 0, b""
    for writes in turns:
        for _ in range(writes):
            outbox.write(transport, b"%d," % number)
            number += 1
        await asyncio.sleep(0)
    outbox.write(transport, b"")
    theirs.setblocking(False)
    async with asyncio.timeout(5):
        while piece := await loop.sock_recv(theirs, 65_536):
            received += piece
    theirs.close()
    return received


def test_writes_arrive_in_order_whether_turns_have_one_or_many() -> None:
    turns = [1, 1, 5, 1, 40, 1, 1, 1, 2, 33, 1, *([1] * 40), 7]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_write_numbers(turns)) == b"".join(b"%d," % number for number in range(sum(turns)))
