"""The gateway's connections to a provider, against real sockets: reuse, limits, deadlines, TLS."""

import asyncio
import contextlib
import gc
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bursar.gateway.connection import BODY_BYTES_MAX, Connection, Fault, Response, Timeouts, UpstreamFault
from bursar.gateway.outbox import Outbox
from bursar.gateway.pool import IDLE_S, Pool

# Made for this test: it names localhost, and nobody trusts it.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUIxr+6wziSILaW7bzBwcJ1zDfZIUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjAyMjgwNloYDzIxMjYxMDI5
MDIyODA2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARvr8dAQbmGArdyO/gvHsLdeOwsRT4QZa3zed/9pQiiXsEA9DBNiUGE
+KO9S49DQ5d7zvOWfuoYAYJpLHQNVFaDo2kwZzAdBgNVHQ4EFgQUgfTD16SLCe9w
54wQOHoEOCZTQAgwHwYDVR0jBBgwFoAUgfTD16SLCe9w54wQOHoEOCZTQAgwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
RwAwRAIgGiTW/xwwwBU0ij2zTOwd9Pg0KdzQxEsWS1MClG7MeWACIC3Oqmi8SpMC
mt+IlXF/uBZlVwYiQB7Jahx2d36AYpLW
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBTPD6Nby1dTwoQ1H
cC6amE1xUqRVYFV6QvcDDD1kWhqhRANCAARvr8dAQbmGArdyO/gvHsLdeOwsRT4Q
Za3zed/9pQiiXsEA9DBNiUGE+KO9S49DQ5d7zvOWfuoYAYJpLHQNVFaD
-----END PRIVATE KEY-----
"""
REQUEST = (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n", b"hi")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BEGUN = STREAM + b"9\r\ndata: 1\n\n\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[..., Awaitable[int]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve each request of a connection by a handler; returns the port."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()
    transports: set[asyncio.WriteTransport] = set()

    async def work(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readexactly(len(b"".join(REQUEST)))
                await handler(reader, writer)
        writer.close()

    async def serve(handler: Handler, context: ssl.SSLContext | None = None) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            transports.add(writer.transport)
            await work(handler, reader, writer)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    yield serve
    for server in servers:
        server.close()
    for transport in transports:
        transport.abort()
    await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def pool_to(address: str, **options: object) -> AsyncIterator[Pool]:
    pool = Pool(address, Outbox(asyncio.get_running_loop()), **options)  # pyright: ignore[reportArgumentType]
    yield pool
    pool.close()
    await asyncio.sleep(0.01)


async def says_ok(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


async def exchange(pool: Pool) -> Response:
    connection = pool.take_idle() or await pool.open()
    return await connection.exchange(REQUEST, pool.timeouts)


async def exchange_stream(pool: Pool) -> Connection:
    """Make an exchange whose answer streams; return the stream."""
    response = await exchange(pool)
    assert response.stream is not None
    return response.stream


async def test_a_connection_is_used_again(serve: Serve) -> None:
    async with pool_to(f"http://127.0.0.1:{await serve(says_ok)}") as pool:
        for _ in range(3):
            assert (await exchange(pool)).body == b"ok"
        assert len(pool._all) == 1


async def test_a_connection_is_used_again_after_a_stream_too(serve: Serve) -> None:
    async def streams(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + chunk(b"data: 1\n\n") + b"0\r\n\r\n")

    async with pool_to(f"http://127.0.0.1:{await serve(streams)}") as pool:
        for _ in range(3):
            response = await exchange(pool)
            assert response.stream is not None
            assert [await response.stream.chunk() for _ in range(2)] == [b"data: 1\n\n", b""]
        assert len(pool._all) == 1


async def test_a_connection_the_provider_wants_closed_is_not_used_again(serve: Serve) -> None:
    async def closes(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"content-length", b"connection: close\r\ncontent-length"))

    async with pool_to(f"http://127.0.0.1:{await serve(closes)}") as pool:
        assert (await exchange(pool)).body == b"ok"
        assert pool.take_idle() is None


@pytest.mark.parametrize("after", [OK, b"\r\n\r\nnothing like HTTP", b"x"])
async def test_a_connection_that_says_more_than_it_was_asked_is_not_used_again(serve: Serve, after: bytes) -> None:
    async def says_more(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + after)

    async with pool_to(f"http://127.0.0.1:{await serve(says_more)}") as pool:
        response = await exchange(pool)
        assert (response.status, response.body) == (200, b"ok")
        assert pool.take_idle() is None


async def test_an_answer_is_the_same_however_it_is_cut(serve: Serve) -> None:
    cuts_at = iter(range(len(OK) + 1))

    async def cuts(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = next(cuts_at)
        writer.write(OK[:cut])
        await writer.drain()
        await asyncio.sleep(0.001)
        writer.write(OK[cut:])

    async with pool_to(f"http://127.0.0.1:{await serve(cuts)}") as pool:
        answers: set[tuple[int, tuple[tuple[bytes, bytes], ...], bytes]] = set()
        for _ in range(len(OK) + 1):
            response = await exchange(pool)
            answers.add((response.status, tuple(response.headers), response.body))
        assert len(answers) == 1
        assert len(pool._all) == 1


async def test_nobody_listening_is_unreachable() -> None:
    async with pool_to("http://127.0.0.1:1") as pool:
        with pytest.raises(UpstreamFault) as caught:
            await pool.open()
    assert caught.value.fault is Fault.unreachable
    assert not caught.value.timed_out


async def test_beyond_the_most_connections_a_call_waits_for_one_and_then_gives_up(serve: Serve) -> None:
    go = asyncio.Event()

    async def waits(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(OK)

    port = await serve(waits)
    async with pool_to(f"http://127.0.0.1:{port}", connections_max=2, timeouts=Timeouts(connect_s=0.5)) as pool:
        under_way = [asyncio.create_task(exchange(pool)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(UpstreamFault, match="all 2 connections are busy") as caught:
            await exchange(pool)
        assert (caught.value.fault, caught.value.timed_out) == (Fault.unreachable, True)
        third = asyncio.create_task(exchange(pool))
        await asyncio.sleep(0)
        go.set()
        assert [(await task).body for task in (*under_way, third)] == [b"ok"] * 3
        assert len(pool._all) == 2


async def test_an_unused_connection_is_closed_after_a_while(serve: Serve) -> None:
    async with pool_to(f"http://127.0.0.1:{await serve(says_ok)}") as pool:
        await exchange(pool)
        now = asyncio.get_running_loop().time()
        pool.sweep(now + IDLE_S - 1)
        assert len(pool._idle) == 1
        pool.sweep(now + IDLE_S + 1)
        assert pool.take_idle() is None


@pytest.mark.parametrize(
    ("sent", "fault", "detail"),
    [
        (b"", Fault.lost, "no answer in time"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf", Fault.lost, "no answer in time"),
    ],
)
async def test_an_answer_that_does_not_come_in_time_is_lost(
    serve: Serve, sent: bytes, fault: Fault, detail: str
) -> None:
    async def begins(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    async with pool_to(f"http://127.0.0.1:{await serve(begins)}") as pool:
        work = asyncio.create_task(exchange(pool))
        await asyncio.sleep(0.02)
        pool.sweep(asyncio.get_running_loop().time() + pool.timeouts.first_byte_s + 1)
        with pytest.raises(UpstreamFault, match=detail) as caught:
            await work
    assert (caught.value.fault, caught.value.timed_out) == (fault, True)


async def test_a_stream_is_given_time_between_its_chunks_and_cut_when_it_stalls(serve: Serve) -> None:
    async def begins(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + chunk(b"data: 1\n\n"))

    async with pool_to(f"http://127.0.0.1:{await serve(begins)}") as pool:
        stream = await exchange_stream(pool)
        assert await stream.chunk() == b"data: 1\n\n"
        now = asyncio.get_running_loop().time()
        pool.sweep(now + pool.timeouts.idle_s - 1)
        assert not stream.closed
        pool.sweep(now + pool.timeouts.idle_s + 1)
        with pytest.raises(UpstreamFault, match="the answer stalled") as caught:
            await stream.chunk()
    assert caught.value.fault is Fault.cut


async def test_a_stream_that_never_ends_is_ended(serve: Serve) -> None:
    async def begins(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + chunk(b"data: 1\n\n"))

    timeouts = Timeouts(idle_s=10_000, whole_s=2_000)
    async with pool_to(f"http://127.0.0.1:{await serve(begins)}", timeouts=timeouts) as pool:
        stream = await exchange_stream(pool)
        assert await stream.chunk() == b"data: 1\n\n"
        now = asyncio.get_running_loop().time()
        pool.sweep(now + timeouts.whole_s - 60)
        assert not stream.closed
        pool.sweep(now + timeouts.whole_s + 1)
        with pytest.raises(UpstreamFault, match="the answer took too long"):
            await stream.chunk()


async def test_a_provider_is_held_back_while_nobody_takes_its_stream(serve: Serve) -> None:
    sent = 0

    async def floods(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(STREAM)
        for _ in range(400):
            writer.write(chunk(b"x" * 65_536))
            await writer.drain()
            sent += 1
        writer.write(b"0\r\n\r\n")

    async with pool_to(f"http://127.0.0.1:{await serve(floods)}") as pool:
        stream = await exchange_stream(pool)
        await asyncio.sleep(0.2)
        assert 0 < sent < 400
        pool.sweep(asyncio.get_running_loop().time() + 1_000)  # the client is slow, not the provider
        total = 0
        while piece := await stream.chunk():
            total += len(piece)
        assert total == 400 * 65_536
        assert pool.take_idle() is stream


async def test_a_stream_that_is_poured_comes_whole_and_in_order_whenever_its_taker_pauses(serve: Serve) -> None:
    said = [b"%d " % number for number in range(300)]

    async def counts(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        for number, piece in enumerate(said):
            writer.write(chunk(piece))
            if number % 7 == 0:
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    async with pool_to(f"http://127.0.0.1:{await serve(counts)}") as pool:
        stream = await exchange_stream(pool)
        taken: list[bytes] = []
        pauses = 0

        def take(piece: bytes) -> bool:
            taken.append(piece)
            return len(taken) % 3 != 0

        while not await stream.pour(take):
            pauses += 1
            await asyncio.sleep(0)
        assert b"".join(taken) == b"".join(said)
        assert pauses == len(taken) // 3
        assert pool.take_idle() is stream


async def test_a_taker_that_fails_ends_the_pouring_with_its_error_and_no_piece_comes_twice(serve: Serve) -> None:
    go = asyncio.Event()

    async def counts(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + chunk(b"one"))
        await go.wait()
        writer.write(chunk(b"two") + b"0\r\n\r\n")

    async with pool_to(f"http://127.0.0.1:{await serve(counts)}") as pool:
        stream = await exchange_stream(pool)
        taken: list[bytes] = []

        def take(piece: bytes) -> bool:
            taken.append(piece)
            if piece == b"one":
                go.set()
            elif len(taken) == 2:
                raise ValueError("no room")
            return True

        with pytest.raises(ValueError, match="no room"):
            await stream.pour(take)
        assert await stream.pour(take)
        assert taken == [b"one", b"two"]


async def test_a_stream_that_is_cut_while_it_is_poured_gives_what_came_and_the_fault(serve: Serve) -> None:
    async def cuts(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + chunk(b"data: 1\n\n"))
        await writer.drain()
        writer.close()

    async with pool_to(f"http://127.0.0.1:{await serve(cuts)}") as pool:
        stream = await exchange_stream(pool)
        taken: list[bytes] = []

        def take(piece: bytes) -> bool:
            taken.append(piece)
            return True

        with pytest.raises(UpstreamFault) as caught:
            await stream.pour(take)
    assert (caught.value.fault, taken) == (Fault.cut, [b"data: 1\n\n"])


async def test_an_answer_beyond_its_limit_is_malformed(serve: Serve) -> None:
    async def floods(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (BODY_BYTES_MAX * 2))
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 1_000_000)
                await writer.drain()

    async with pool_to(f"http://127.0.0.1:{await serve(floods)}") as pool:
        with pytest.raises(UpstreamFault, match="the answer exceeds") as caught:
            await exchange(pool)
    assert caught.value.fault is Fault.malformed


async def test_a_kept_connection_that_ends_before_an_answer_is_stale_and_a_fresh_one_lost(serve: Serve) -> None:
    seen = 0

    async def leaves(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        if seen in (2, 3):
            writer.transport.abort()
            return
        writer.write(OK)

    async with pool_to(f"http://127.0.0.1:{await serve(leaves)}") as pool:
        await exchange(pool)
        for fault in (Fault.stale, Fault.lost):
            with pytest.raises(UpstreamFault) as caught:
                await exchange(pool)
            assert caught.value.fault is fault
        assert (await exchange(pool)).status == 200


async def test_a_kept_connection_that_ends_late_may_have_been_at_work_and_is_lost(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bursar.gateway.connection.STALE_S", 0.05)
    seen = 0

    async def leaves(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            await asyncio.sleep(0.2)
            writer.transport.abort()
            return
        writer.write(OK)

    async with pool_to(f"http://127.0.0.1:{await serve(leaves)}") as pool:
        await exchange(pool)
        with pytest.raises(UpstreamFault) as caught:
            await exchange(pool)
        assert caught.value.fault is Fault.lost


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    (tmp_path / "key.pem").write_text(KEY)
    (tmp_path / "certificate.pem").write_text(CERTIFICATE)
    return tmp_path / "certificate.pem"


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


async def test_a_certificate_nobody_vouches_for_is_refused(serve: Serve, certificate: Path) -> None:
    port = await serve(says_ok, server_context(certificate))
    async with pool_to(f"https://localhost:{port}") as pool:
        with pytest.raises(UpstreamFault, match="self-signed certificate") as caught:
            await pool.open()
    assert caught.value.fault is Fault.unreachable


async def test_a_trusted_certificate_is_good_for_its_own_name_only(
    serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    port = await serve(says_ok, server_context(certificate))
    async with pool_to(f"https://localhost:{port}") as pool:
        assert (await exchange(pool)).body == b"ok"
    async with pool_to(f"https://127.0.0.1:{port}") as pool:
        with pytest.raises(UpstreamFault, match=r"IP address mismatch|not valid for '127\.0\.0\.1'"):
            await pool.open()


async def test_a_server_that_speaks_no_tls_is_unreachable_over_https(serve: Serve) -> None:
    async with pool_to(f"https://localhost:{await serve(says_ok)}", timeouts=Timeouts(connect_s=0.3)) as pool:
        with pytest.raises(UpstreamFault) as caught:
            await pool.open()
    assert caught.value.fault is Fault.unreachable


@pytest.mark.parametrize(
    "said", [OK, STREAM + chunk(b"data: 1\n\n") + b"0\r\n\r\n", STREAM + chunk(b"data: 1\n\n"), b""]
)
async def test_a_connection_that_has_ended_is_gone_without_a_collection_of_garbage(serve: Serve, said: bytes) -> None:
    async def says(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.transport.close()

    async def call(pool: Pool) -> weakref.ref[Connection]:
        connection = await pool.open()
        with contextlib.suppress(UpstreamFault):
            response = await connection.exchange(REQUEST, pool.timeouts)
            while response.stream is not None and await response.stream.chunk():
                pass
        return weakref.ref(connection)

    gc.disable()
    try:
        async with pool_to(f"http://127.0.0.1:{await serve(says)}") as pool:
            held = await call(pool)
            pool.close()
            async with asyncio.timeout(10):
                while pool.size:  # noqa: ASYNC110 - a connection that ends tells nobody
                    await asyncio.sleep(0.001)
            pool.sweep(asyncio.get_running_loop().time())
            await asyncio.sleep(0)
        assert held() is None
    finally:
        gc.enable()
