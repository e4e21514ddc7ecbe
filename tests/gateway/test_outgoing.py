"""The gateway connects to configured providers and to nobody else, whatever a client or a provider names."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar

ANSWER = b'{"id":"1","model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'


class Trap:
    """Listen where nobody has a reason to connect, and count who does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.caught = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.caught += 1
            client.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


def call(house: LocalBursar, key: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    whole = {"model": "scripted/gpt-4o-mini", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]} | body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(
        f"{house.url}/v1/chat/completions", json=whole, headers={"authorization": f"Bearer {key}"} | named, timeout=30
    )


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirection_of_a_provider_is_not_followed(
    house: LocalBursar, house_key: str, provider: Any, trap: Trap, status: str
) -> None:
    head = f"HTTP/1.1 {status}\r\nlocation: http://{trap.address}/v1\r\ncontent-length: 0\r\n\r\n"
    provider.answers["gpt-4o-mini"] = [head.encode()]
    answer = call(house, house_key, {})
    assert answer.status_code == 502
    assert "redirects are not followed" in answer.json()["error"]["message"]
    assert "location" not in answer.headers
    assert trap.address not in answer.text
    assert trap.caught == 0


@pytest.mark.parametrize(
    "body",
    [
        {"base_url": "http://{trap}/v1", "api_base": "http://{trap}/v1", "endpoint": "http://{trap}"},
        {"webhook": "http://{trap}", "callback_url": "http://{trap}", "proxy": "http://{trap}"},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://{trap}/cat.png"}}]}
            ]
        },
        {"user": "http://{trap}/", "metadata": {"url": "http://{trap}/"}},
    ],
)
def test_no_address_in_a_body_is_asked(
    house: LocalBursar, house_key: str, provider: Any, trap: Trap, body: dict[str, Any]
) -> None:
    provider.say("gpt-4o-mini", "200 OK", ANSWER)
    named = json.loads(json.dumps(body).replace("{trap}", trap.address))
    assert call(house, house_key, named).status_code in (200, 400, 422)
    assert trap.caught == 0


@pytest.mark.parametrize(
    "name",
    [
        *("x_portkey_custom_host", "x_target_url", "x_upstream", "x_forwarded_host", "x_original_url", "referer"),
        *("x_litellm_api_base", "helicone_target_url", "destination"),
    ],
)
def test_no_address_in_a_header_is_asked_or_passed_on(
    house: LocalBursar, house_key: str, provider: Any, trap: Trap, name: str
) -> None:
    provider.say("gpt-4o-mini", "200 OK", ANSWER)
    assert call(house, house_key, {}, **{name: f"http://{trap.address}/v1"}).status_code == 200
    assert trap.address.encode() not in provider.requests[-1]
    assert trap.caught == 0


@pytest.mark.parametrize(
    "model",
    [
        *(
            "http://{trap}/v1",
            "//{trap}/gpt-4o",
            "scripted/../../{trap}",
            "scripted@{trap}/gpt-4o-mini",
            "{trap}/gpt-4o",
        ),
        *("openai/http://{trap}", "scripted\r\nhost: {trap}/x", "remote/\x00@{trap}"),
    ],
)
def test_no_model_name_is_an_address(house: LocalBursar, house_key: str, trap: Trap, model: str) -> None:
    answer = call(house, house_key, {"model": model.replace("{trap}", trap.address)})
    assert answer.status_code in (400, 404, 422), answer.text
    assert trap.caught == 0


@pytest.mark.parametrize("host", ["{trap}", "api.openai.com", "169.254.169.254"])
def test_neither_target_nor_host_of_a_request_say_where_it_goes(
    house: LocalBursar, house_key: str, provider: Any, trap: Trap, host: str
) -> None:
    provider.say("gpt-4o-mini", "200 OK", ANSWER)
    host = host.replace("{trap}", trap.address)
    body = b'{"model": "scripted/gpt-4o-mini", "max_tokens": 9, "messages": []}'
    head = f"POST http://{host}/v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {house_key}\r\n"
    with socket.create_connection(("127.0.0.1", house.port), 10) as client:
        client.sendall(head.encode() + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        status = int(client.makefile("rb").readline().split()[1])
    assert status in (200, 400, 404)
    assert trap.caught == 0
    if status == 200:
        assert f"host: {host}".encode() not in provider.requests[-1]


@pytest.mark.parametrize("method", ["CONNECT", "GET"])
def test_the_gateway_is_nobodys_proxy(house: LocalBursar, trap: Trap, method: str) -> None:
    target = trap.address if method == "CONNECT" else f"http://{trap.address}/"
    with socket.create_connection(("127.0.0.1", house.port), 10) as client:
        client.sendall(f"{method} {target} HTTP/1.1\r\nhost: elsewhere.example\r\n\r\n".encode())
        status = int(client.makefile("rb").readline().split()[1])
    assert status in (400, 403, 404, 501)
    assert trap.caught == 0
