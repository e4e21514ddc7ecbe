"""Pages and the API are for this machine; what takes a key is for whoever has one, wherever they are."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bursar.core.errors import Forbidden, Unavailable
from bursar.gateway.outbox import Outbox
from bursar.gateway.proxy import Proxy


@pytest.fixture
async def proxy(tmp_path: Path) -> Proxy:
    """Make a proxy to a control plane that is away: whoever is let through hears that it is."""
    return Proxy(str(tmp_path / "nobody.sock"), Outbox(asyncio.get_running_loop()))


async def ask(
    proxy: Proxy, method: str, path: str, client: str | None, host: bytes, *headers: tuple[bytes, bytes]
) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: dict[str, Any]) -> None:
        raise AssertionError("nobody is there to answer")

    scope = {
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", host), *headers],
        "client": None if client is None else (client, 50_000),
    }
    await proxy(scope, receive, send)


@pytest.mark.parametrize("client", ["203.0.113.9", "10.0.0.7", "2001:db8::1", "127.0.0.1", None])
@pytest.mark.parametrize("host", [b"localhost:4000", b"bursar.example"])
async def test_charges_come_through_from_anywhere(proxy: Proxy, client: str | None, host: bytes) -> None:
    with pytest.raises(Unavailable, match="control plane"):
        await ask(proxy, "POST", "/api/charges", client, host)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/charges"),
        ("PUT", "/api/charges"),
        ("POST", "/api/charges/"),
        ("POST", "//api/charges"),
        ("POST", "/api/charges/../runs"),
        ("POST", "/api/keys"),
        ("GET", "/api/runs"),
        ("GET", "/api/runs/one"),
        ("GET", "/"),
    ],
)
@pytest.mark.parametrize(
    ("client", "host"), [("203.0.113.9", b"localhost"), ("2001:db8::1", b"[::1]:4000"), ("127.0.0.1", b"evil.example")]
)
async def test_everything_else_is_refused_to_strangers(
    proxy: Proxy, method: str, path: str, client: str, host: bytes
) -> None:
    with pytest.raises(Forbidden) as caught:
        await ask(proxy, method, path, client, host)
    assert caught.value.code == "local_only"


@pytest.mark.parametrize(
    ("client", "host"), [("127.0.0.1", b"localhost:4000"), ("::1", b"[::1]:4000"), (None, b"127.0.0.1")]
)
async def test_this_machine_is_let_through(proxy: Proxy, client: str | None, host: bytes) -> None:
    with pytest.raises(Unavailable):
        await ask(proxy, "GET", "/api/runs", client, host)


ADMIN = (b"authorization", b"Bearer ba_" + b"x" * 43)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/keys"), ("POST", "/api/keys"), ("GET", "/"), ("GET", "/api/audit")]
)
async def test_what_may_be_an_admin_key_is_for_the_control_plane_to_judge(proxy: Proxy, method: str, path: str) -> None:
    with pytest.raises(Unavailable):
        await ask(proxy, method, path, "203.0.113.9", b"bursar.example", ADMIN)


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer bk_" + b"x" * 43),
        (b"authorization", b"Bearer ba_short"),
        (b"authorization", b"Basic ba_" + b"x" * 43),
        (b"x-api-key", b"ba_" + b"x" * 43),
        (b"x-bursar-local", b"yes"),
        (b"x-bursar-from", b"127.0.0.1"),
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"forwarded", b"for=127.0.0.1"),
    ],
)
async def test_nothing_else_a_stranger_says_opens_the_control_plane(proxy: Proxy, header: tuple[bytes, bytes]) -> None:
    with pytest.raises(Forbidden) as caught:
        await ask(proxy, "GET", "/api/keys", "203.0.113.9", b"localhost", header)
    assert caught.value.code == "local_only"


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"])
async def test_what_a_proxy_on_this_machine_passes_on_is_not_of_this_machine(proxy: Proxy, name: bytes) -> None:
    with pytest.raises(Forbidden):
        await ask(proxy, "GET", "/api/keys", "127.0.0.1", b"localhost", (name, b"127.0.0.1"))


@pytest.mark.parametrize(
    ("forwarded", "local"),
    [(b"127.0.0.1", True), (b"::1", True), (b"203.0.113.9", False), (b"127.0.0.1, 203.0.113.9", False), (b"x", False)],
)
async def test_a_trusted_proxy_says_where_a_request_is_from(tmp_path: Path, forwarded: bytes, local: bool) -> None:
    outbox = Outbox(asyncio.get_running_loop())
    trusting = Proxy(str(tmp_path / "nobody.sock"), outbox, ("10.0.0.0/8",))
    with pytest.raises(Unavailable if local else Forbidden):
        await ask(trusting, "GET", "/api/keys", "10.0.0.1", b"localhost", (b"x-forwarded-for", forwarded))


@pytest.mark.parametrize(
    ("method", "origin", "through"),
    [
        ("POST", b"https://evil.example", False),
        ("POST", b"null", False),
        ("POST", b"http://localhost:4001", False),
        ("DELETE", b"https://evil.example", False),
        ("POST", b"http://localhost:4000", True),
        ("POST", b"https://localhost:4000", True),
        ("GET", b"https://evil.example", True),  # without a header that allows it, its page cannot read the answer
    ],
)
async def test_a_page_of_another_site_changes_nothing(proxy: Proxy, method: str, origin: bytes, through: bool) -> None:
    with pytest.raises(Unavailable if through else Forbidden) as caught:
        await ask(proxy, method, "/api/keys", "127.0.0.1", b"localhost:4000", (b"origin", origin), ADMIN)
    assert caught.value.code == ("control_plane_away" if through else "cross_origin")


@pytest.mark.parametrize(
    ("client", "name"),
    [("127.0.0.1", b"x-forwarded-for"), ("10.0.0.1", b"forwarded"), ("10.0.0.1", b"via"), ("127.0.0.1", b"x-real-ip")],
)
async def test_only_a_trusted_proxys_x_forwarded_for_is_believed(tmp_path: Path, client: str, name: bytes) -> None:
    outbox = Outbox(asyncio.get_running_loop())
    trusting = Proxy(str(tmp_path / "nobody.sock"), outbox, ("10.0.0.0/8",))
    with pytest.raises(Forbidden):
        await ask(trusting, "GET", "/api/keys", client, b"localhost", (name, b"127.0.0.1"))


async def test_a_control_plane_that_hangs_is_waited_for_a_minute(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(silent, tmp_path / "silent.sock")
    proxy = Proxy(str(tmp_path / "silent.sock"), Outbox(loop))
    asking = asyncio.create_task(ask(proxy, "GET", "/api/runs", "127.0.0.1", b"localhost"))
    await asyncio.wait_for(asked.wait(), 10)
    proxy.pool.sweep(loop.time() + 59)
    await asyncio.sleep(0)
    assert not asking.done()
    proxy.pool.sweep(loop.time() + 61)
    with pytest.raises(Unavailable, match="control plane"):
        await asyncio.wait_for(asking, 10)
    server.close()
    await server.wait_closed()
