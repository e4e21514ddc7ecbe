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


async def ask(proxy: Proxy, method: str, path: str, client: str | None, host: bytes) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: dict[str, Any]) -> None:
        raise AssertionError("nobody is there to answer")

    scope = {
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", host)],
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
