"""The server's side of a connection, on a real socket, with time as a parameter."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bursar.gateway.asgi import CLIENT, Client, send_whole
from bursar.gateway.door import Door
from bursar.gateway.outbox import Outbox
from bursar.gateway.protocol import KEEP_ALIVE_S, REQUEST_S, STRANGER_BYTES_MAX, UNREAD_S, ClientProtocol, bound_to

App = Callable[[Any, Any, Any], Awaitable[None]]
CONNECTIONS_MAX = 5
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Server:
    """Serve an ASGI application by the gateway's protocol; hand out its connections."""

    def __init__(self) -> None:
        self.app: App = hello
        self.without_task: Callable[[Any], None] | None = None
        self.state = SimpleNamespace(connections=set(), tasks=set())
        self.port = 0

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None] | None:
        return self.app(scope, receive, send) if self.without_task is None else self.without_task(scope)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def connection(self) -> ClientProtocol:
        """Return the server's side of the only connection."""
        await until(lambda: self.state.connections)
        (connection,) = self.state.connections
        return connection

    async def later(self, seconds: float) -> None:
        """Let the connection see a later time."""
        (await self.connection()).sweep(asyncio.get_running_loop().time() + seconds)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send_whole(send, 200, [], b"%b %d" % (scope["path"].encode(), len(message["body"])))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async for server in serve(1_000):
        yield server


@pytest.fixture
async def roomy_server() -> AsyncIterator[Server]:
    """Serve bodies larger than those of strangers may be."""
    async for server in serve(STRANGER_BYTES_MAX * 4):
        yield server


async def serve(body_bytes_max: int) -> AsyncIterator[Server]:
    loop = asyncio.get_running_loop()
    server = Server()
    door = Door(CONNECTIONS_MAX, 1_000, lambda secret: secret == "bk_known")
    bound = bound_to(Outbox(loop), door, body_bytes_max)
    config = SimpleNamespace(loaded_app=server)
    listening = await loop.create_server(lambda: bound(config, server.state, {}, loop), "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()
    for connection in list(server.state.connections):
        connection.shutdown()
    for task in list(server.state.tasks):
        task.cancel()
    await asyncio.sleep(0)


async def read(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.read()


async def until(condition: Callable[[], Any]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it asks of has no event to wait for
            await asyncio.sleep(0.001)


async def received(server: Server, what: Callable[[ClientProtocol], bool]) -> None:
    """Wait until the server's side has come so far."""
    connection = await server.connection()
    await until(lambda: what(connection))


@pytest.mark.parametrize(
    "begun", [b"G", b"POST / HTTP/1.1\r\nhost: x\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nhel"]
)
async def test_a_request_that_does_not_arrive_in_time_is_a_408(server: Server, begun: bytes) -> None:
    reader, writer = await server.connect()
    writer.write(begun)
    await received(server, lambda connection: connection._arriving_since > 0)
    await server.later(REQUEST_S - 1)
    writer.write(b"")
    await server.later(REQUEST_S + 1)
    answer = await read(reader)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"http_408" in answer
    writer.close()


async def test_drops_that_keep_coming_do_not_extend_the_time(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n")
    await received(server, lambda connection: connection._arriving_since > 0)
    began = (await server.connection())._arriving_since
    writer.write(b"drop")
    await received(server, lambda connection: connection._body_bytes == 4)
    assert (await server.connection())._arriving_since == began
    await server.later(REQUEST_S + 1)
    assert b" 408 " in await read(reader)
    writer.close()


async def test_an_idle_connection_is_kept_for_a_while_and_then_closed(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(GET)
    assert b"200 OK" in await reader.readuntil(b"/ 0")
    await server.later(KEEP_ALIVE_S - 1)
    writer.write(GET)
    assert b"200 OK" in await reader.readuntil(b"/ 0")
    await server.later(KEEP_ALIVE_S + 1)
    assert await read(reader) == b""
    writer.close()


@pytest.mark.parametrize("before", [b"", GET])
async def test_line_breaks_alone_do_not_keep_a_connection(server: Server, before: bytes) -> None:
    reader, writer = await server.connect()
    if before:
        writer.write(before)
        assert b"200 OK" in await reader.readuntil(b"/ 0")
    writer.write(b"\r\n")
    await asyncio.sleep(0.05)
    await server.later(KEEP_ALIVE_S + 1)
    assert await read(reader) == b""
    writer.close()


async def test_a_call_under_way_is_not_ended_by_time(server: Server) -> None:
    go = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await hello(scope, receive, send)

    server.app = slow
    reader, writer = await server.connect()
    writer.write(GET)
    await received(server, lambda connection: connection._current is not None)
    await server.later(10_000)
    go.set()
    assert b"200 OK" in await reader.readuntil(b"/ 0")
    writer.close()


async def test_a_client_that_does_not_read_its_answer_counts_as_gone(server: Server) -> None:
    sent = 0

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        connection = await server.connection()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not connection.gone:
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent += 1
            await asyncio.sleep(0)  # as waiting for a provider does

    server.app = endless
    _, writer = await server.connect()
    connection = await server.connection()
    writer.write(GET)
    await received(server, lambda connection: connection.paused)
    before = sent
    await asyncio.sleep(0)
    assert sent == before  # the provider is held back, nothing is piled up
    await server.later(UNREAD_S + 1)
    await until(lambda: connection.gone and not server.state.tasks)
    writer.close()


async def test_an_application_that_fails_is_a_500_and_one_that_fails_midway_is_cut(server: Server) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/midway":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("secret detail")

    server.app = fails
    reader, writer = await server.connect()
    writer.write(GET)
    answer = await read(reader)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    writer.close()
    reader, writer = await server.connect()
    writer.write(GET.replace(b"/ ", b"/midway "))
    try:
        answer = await read(reader)
    except ConnectionResetError:
        answer = b""
    assert b"0\r\n\r\n" not in answer
    writer.close()


async def test_a_body_beyond_the_limit_is_handed_on_unfinished(server: Server) -> None:
    seen: list[dict[str, Any]] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        await send_whole(send, 413, [], b"too large")

    server.app = look
    reader, writer = await server.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n" + b"x" * 1_500)
    answer = await read(reader)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert seen[0]["more_body"] is True
    writer.close()


@pytest.mark.parametrize(
    ("headers", "bytes_sent", "whole"),
    [
        (b"authorization: Bearer bk_known\r\n", STRANGER_BYTES_MAX * 3, True),
        (b"x-api-key: bk_known\r\n", STRANGER_BYTES_MAX * 3, True),
        (b"authorization: Bearer bk_guessed\r\n", STRANGER_BYTES_MAX * 3, False),
        (b"", STRANGER_BYTES_MAX * 3, False),
        (b"authorization: Bearer bk_guessed\r\n", STRANGER_BYTES_MAX, True),
        (b"authorization: Bearer bk_known\r\n", STRANGER_BYTES_MAX * 4 + 1, False),
    ],
)
async def test_of_who_brings_no_known_key_only_the_beginning_of_a_body_is_read(
    roomy_server: Server, headers: bytes, bytes_sent: int, whole: bool
) -> None:
    seen: list[dict[str, Any]] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        await send_whole(send, 200, [], b"seen")

    roomy_server.app = look
    reader, writer = await roomy_server.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n" % (headers, bytes_sent))
    writer.write(b"x" * bytes_sent)
    assert (await reader.readuntil(b"\r\n")).endswith(b"200 OK\r\n")
    assert seen[0]["more_body"] is not whole
    if whole:
        assert len(seen[0]["body"]) == bytes_sent
    elif b"known" not in headers:
        assert len(seen[0]["body"]) < 2 * STRANGER_BYTES_MAX + 256 * 1024  # one read of the socket more, at most
    writer.close()


async def test_a_connection_beyond_the_limit_is_told_so_and_closed_and_room_is_made_by_who_leaves(
    server: Server,
) -> None:
    crowd = [await server.connect() for _ in range(CONNECTIONS_MAX)]
    await until(lambda: len(server.state.connections) == CONNECTIONS_MAX)
    reader, writer = await server.connect()
    answer = await read(reader)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"as many connections as it may" in answer
    writer.close()
    crowd[0][1].close()
    await until(lambda: len(server.state.connections) == CONNECTIONS_MAX - 1)
    reader, writer = await server.connect()
    writer.write(GET)
    assert b"200 OK" in await reader.readuntil(b"/ 0")
    for _, each in [*crowd, (reader, writer)]:
        each.close()


async def test_at_a_stop_the_answer_under_way_is_finished_and_idle_connections_close(server: Server) -> None:
    go = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await hello(scope, receive, send)

    server.app = slow
    reader, writer = await server.connect()
    writer.write(GET)
    await received(server, lambda connection: connection._current is not None)
    (await server.connection()).shutdown()
    go.set()
    answer = await read(reader)
    assert b"200 OK" in answer
    assert b"connection: close" in answer
    writer.close()


async def test_the_target_is_split_into_path_and_query(server: Server) -> None:
    async def tell(scope: Any, receive: Any, send: Any) -> None:
        await send_whole(send, 200, [], repr((scope["path"], scope["raw_path"], scope["query_string"])).encode())

    server.app = tell
    reader, writer = await server.connect()
    writer.write(b"GET /a%20b?c=d%20e HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (await read(reader)).endswith(repr(("/a b", b"/a%20b", b"c=d%20e")).encode())
    writer.close()


async def test_requests_are_the_same_however_they_are_cut(server: Server) -> None:
    seen: list[tuple[Any, ...]] = []

    async def notes(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
        seen.append((scope["method"], scope["path"], scope["query_string"], headers, scope["client"][0], body))
        await send_whole(send, 200, [], b"ok")

    server.app = notes
    head = b"POST /a?b HTTP/1.1\r\nHost: x\r\nX-Y: z\r\nContent-Length: %d\r\n\r\n"
    requests = [head % 3 + b"abc", head % 0, head % 4 + b"abcd"]
    reader, writer = await server.connect()
    whole = b"".join(requests)
    for cut in range(0, len(whole), 7):
        seen.clear()
        for piece in (whole[:cut], whole[cut:], *requests):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        for _ in range(6):
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK\r\n")
        bodies = [each[-1] for each in seen]
        assert bodies == [b"abc", b"", b"abcd"] * 2
        assert {str(each[:-1]) for each in seen} == {
            str(("POST", "/a", b"b", [(b"host", b"x"), (b"x-y", b"z")], "127.0.0.1"))
        }
    writer.close()


class Straight:
    """Be an application that needs no task: it answers when it is told to."""

    def __init__(self, server: Server) -> None:
        self.clients: list[Client] = []
        server.without_task = self.begin

    def begin(self, scope: Any) -> None:
        client: Client = scope[CLIENT]
        self.clients.append(client)
        client.expect(self)

    def cancel(self, msg: str | None = None) -> None:
        raise AssertionError("nobody stops here")


async def test_an_application_without_a_task_answers_in_the_order_of_requests(server: Server) -> None:
    app = Straight(server)
    reader, writer = await server.connect()
    writer.write(GET * 3)
    for number in range(3):
        await until(lambda number=number: len(app.clients) == number + 1)
        assert server.state.tasks == {app}  # which a server that stops waits for
        app.clients[number].respond(200, [], b"<%d>" % number)
        assert (await reader.readuntil(b"<%d>" % number)).startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n")
    assert server.state.tasks == set()
    writer.close()


async def test_an_application_without_a_task_may_go_on_by_one_or_fail(server: Server) -> None:
    app = Straight(server)
    reader, writer = await server.connect()
    writer.write(GET)
    await until(lambda: app.clients)

    async def later() -> None:
        app.clients[0].respond(200, [], b"later")

    app.clients[0].run(later())
    assert b"200 OK" in await reader.readuntil(b"later")
    writer.write(GET)
    await until(lambda: len(app.clients) == 2)
    app.clients[1].fail(ValueError("planned"))
    assert b" 500 " in await read(reader)
    assert server.state.tasks == set()
    writer.close()


async def test_an_application_that_fails_before_it_has_a_task_is_a_500(server: Server) -> None:
    def fails(_scope: Any) -> None:
        raise ValueError("planned")

    server.without_task = fails
    reader, writer = await server.connect()
    writer.write(GET)
    assert b" 500 " in await read(reader)
    writer.close()


async def test_a_clients_connection_that_has_ended_is_gone_without_a_collection_of_garbage(server: Server) -> None:
    gc.disable()
    try:
        reader, writer = await server.connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
        assert await reader.readuntil(b"/ 5")
        held = weakref.ref(await server.connection())
        writer.close()
        await until(lambda: not server.state.connections)
        await until(lambda: held() is None)
    finally:
        gc.enable()
