"""A keeper tells a real receiver over HTTP: signed, again when it fails, nowhere else, with no secret in its log."""

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bursar.budgets.budget import read_limit
from bursar.budgets.purse import Ask
from bursar.budgets.webhooks import Outcome, Schedule, judge, next_attempt_us, retry_after_s, sign
from bursar.cli.keeper import Keeper, clock_us
from bursar.core.records import UsageSource
from bursar.core.times import DAY_US, HOUR_US, SECOND_US, moment_from_text
from bursar.gateway.config import Alerts
from bursar.store.alerts import Delivery, recent_alerts
from bursar.store.database import Connection
from bursar.store.gateways import open_leases
from bursar.store.holders import Place, Policies
from bursar.store.leases import id_of, open_lease, write_off
from tests.cli.receiver import Receiver
from tests.docs.pages import blocks
from tests.store.bookkeeping import NOW_US, USD, Proxy, attempt, make_holder, open_shop, write

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "alerts.md"
SECRET = "whsec-canary-5b1e"
QUICK = Schedule(0.05, 0.2, 60.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


async def cross(connection: Connection, name: str = "blue", percent: int = 50) -> None:
    """Make a budget that has crossed one threshold."""
    place = Place("team", policies=Policies(alerts_percent=(percent,)))
    budget = (await make_holder(connection, name, place, [read_limit("9")], NOW_US)).budgets[0]
    await open_lease(connection, Ask(budget, 8 * USD, 8 * USD), 1, id_of(name), NOW_US)
    for lease in await open_leases(connection, 1):
        await write_off(connection, lease, id_of("off", name), NOW_US)


def keeper(url: str, webhook: str, **options: Any) -> Keeper:
    alerts = Alerts(webhook=webhook, secret_env="HOOK_SECRET", every_s=0.05)
    return Keeper(url, alerts, **({"schedule": QUICK, "timeout_s": 1.0} | options))


def documented_verifier() -> Callable[[str, str, bytes], bool]:
    """Return what the documentation tells a receiver to check with."""
    namespace: dict[str, Any] = {}
    exec(next(block.text for block in blocks(PAGE.read_text()) if block.info == "python"), namespace)
    return namespace["verify"]


@contextlib.asynccontextmanager
async def kept(keeper: Keeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def ended(connection: Connection) -> Delivery:
    """Wait until the one delivery has ended."""
    async with asyncio.timeout(15):
        while True:
            found = [each.delivery for each in await recent_alerts(connection, 10)]
            if found and found[0] is not None and found[0].status != "waiting":
                return found[0]
            await asyncio.sleep(0.02)


async def test_an_alert_is_told_once_with_a_signature_that_verifies(
    connection: Connection, database_url: str, receiver: Receiver
) -> None:
    await cross(connection)
    async with kept(keeper(database_url, receiver.url)):
        assert (await ended(connection)).attempts == 1
        await asyncio.sleep(0.3)
    assert len(receiver.requests) == 1
    path, headers, body = receiver.requests[0]
    assert (path, headers["content-type"]) == ("/hook?channel=spend", "application/json")
    verify, signature = documented_verifier(), headers["bursar-signature"]
    assert verify(SECRET, signature, body)
    assert not verify(SECRET, signature, body + b" ")
    assert not verify("another", signature, body)
    assert not verify(SECRET, signature.replace("t=1", "t=2"), body)
    event = json.loads(body)
    assert list(event) == [
        *("id", "type", "tenant", "budget", "kind", "unit", "limit", "spent", "percent"),
        *("window", "runs_out_at", "text", "at"),
    ]
    assert event["id"] == headers["bursar-delivery"]
    assert (event["type"], event["text"]) == ("budget.threshold", "team blue: 50 % of 9.00 used (8.00 USD)")


@pytest.mark.parametrize("failure", [408, 429, 500, 503, "silent"])
async def test_what_fails_is_told_again_under_the_same_id(
    connection: Connection, database_url: str, receiver: Receiver, failure: int | str
) -> None:
    if isinstance(failure, int):
        receiver.answers = [(failure, {}), (failure, {})]
    else:
        receiver.silent = 2
    await cross(connection)
    async with kept(keeper(database_url, receiver.url, timeout_s=0.3)):
        delivery = await ended(connection)
    assert (delivery.status, delivery.attempts, delivery.last_error) == ("delivered", 3, "")
    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == 3


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 410])
async def test_a_redirection_is_not_followed_and_a_refusal_is_final(
    connection: Connection, database_url: str, receiver: Receiver, status: int
) -> None:
    elsewhere = Receiver()
    receiver.answers = [(status, {"location": elsewhere.url})]
    await cross(connection)
    async with kept(keeper(database_url, receiver.url)):
        delivery = await ended(connection)
        await asyncio.sleep(0.2)
    elsewhere.close()
    assert (delivery.status, delivery.attempts, delivery.last_error) == ("given_up", 1, f"status_{status}")
    assert (len(receiver.requests), elsewhere.requests) == (1, [])


async def test_retry_after_is_waited_for(connection: Connection, database_url: str, receiver: Receiver) -> None:
    receiver.answers = [(503, {"retry-after": "3600"})]
    await cross(connection)
    async with kept(keeper(database_url, receiver.url, schedule=Schedule(0.05, 0.2))):
        await until(lambda: len(receiver.requests) == 1)
        await asyncio.sleep(0.5)
    assert len(receiver.requests) == 1
    waits = await connection.fetchval("select next_us - at_us from deliveries join alerts using (tenant, alert_id)")
    assert HOUR_US <= waits < 2 * HOUR_US


async def test_who_never_answers_is_given_up(connection: Connection, database_url: str) -> None:
    await cross(connection)
    with capture_logs() as lines:
        async with kept(keeper(database_url, "http://127.0.0.1:9/", schedule=Schedule(0.01, 0.02, 0.3))):
            delivery = await ended(connection)
    assert (delivery.status, delivery.last_error) == ("given_up", "refused")
    assert delivery.attempts > 2
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["webhook.given_up"]


async def test_what_was_made_before_a_crash_is_told_after_it(
    connection: Connection, database_url: str, receiver: Receiver
) -> None:
    await cross(connection)
    await keeper(database_url, receiver.url).look(connection, None)  # and dies before it tells anybody
    assert receiver.requests == []
    async with kept(keeper(database_url, receiver.url)):
        assert (await ended(connection)).status == "delivered"
    assert len(receiver.requests) == 1


async def test_four_keepers_tell_each_alert_once(connection: Connection, database_url: str, receiver: Receiver) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(kept(keeper(database_url, receiver.url)))
        for number in range(6):
            await cross(connection, f"team-{number}")
        await until(lambda: len(receiver.ids) >= 6)
        await asyncio.sleep(0.3)
    assert len(receiver.ids) == len(set(receiver.ids)) == 6


async def test_a_keeper_survives_its_database(connection: Connection, database_url: str, receiver: Receiver) -> None:
    async with Proxy(database_url) as proxy:
        with capture_logs() as lines:
            async with kept(keeper(proxy.url, receiver.url)):
                await cross(connection)
                await until(lambda: len(receiver.ids) == 1)
                proxy.cut_reply = lambda _data: True
                await until(lambda: proxy.cuts > 2)
                await cross(connection, "green")
                proxy.cut_reply = lambda _data: False
                await until(lambda: len(set(receiver.ids)) == 2)  # the first perhaps twice: its end may be what was cut
    told = [line["event"] for line in lines if line["event"].startswith("keeper.")]
    assert told[:2] == ["keeper.books_away", "keeper.books_back"]


async def test_neither_secret_nor_address_is_in_logs_or_books(
    connection: Connection, database_url: str, receiver: Receiver
) -> None:
    address = receiver.url.replace("//", "//user:pass-canary@").replace("/hook", "/path-canary")
    receiver.answers = [(500, {}), (500, {}), (404, {})]
    await cross(connection)
    with capture_logs() as lines:
        async with kept(keeper(database_url, address)):
            assert (await ended(connection)).status == "given_up"
    assert receiver.requests[0][1]["authorization"] == "Basic dXNlcjpwYXNzLWNhbmFyeQ=="
    rows = await connection.fetch("select to_jsonb(deliveries)::text from deliveries")
    seen = f"{lines} {rows} {Alerts(webhook=address, secret_env='A')!r} {(await recent_alerts(connection, 9))!r}"
    assert len(lines) >= 3
    assert "canary" not in seen


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl to make a certificate with")
    file = tmp_path / "certificate.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([program, *made, *subject, "-keyout", file, "-out", file], check=True, capture_output=True)
    return file


async def test_a_certificate_nobody_vouches_for_is_refused(
    connection: Connection, database_url: str, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    receiver = Receiver(context)
    address = f"https://localhost:{receiver.port}/"
    await cross(connection)
    async with kept(keeper(database_url, address, schedule=Schedule(0.01, 0.02, 0.2))):
        assert (await ended(connection)).last_error == "certificate"
    assert receiver.requests == []
    await cross(connection, "green")
    async with kept(keeper(database_url, address, tls=ssl.create_default_context(cafile=certificate))):
        await until(lambda: len(receiver.requests) == 1)
    receiver.close()


@pytest.mark.parametrize(
    "reply", [b"", b"220 mail\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"HTTP/1.1 " + b"x" * 70_000]
)
async def test_what_is_no_answer_is_tried_again(connection: Connection, database_url: str, reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await cross(connection)
    async with kept(keeper(database_url, f"http://127.0.0.1:{port}/", schedule=Schedule(0.01, 0.02, 0.2))):
        delivery = await ended(connection)
    server.close()
    assert delivery.attempts > 1
    assert delivery.last_error in ("cut", "no_http")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (204, "delivered"), (299, "delivered"), (300, "refused"), (307, "refused"), (400, "refused"),
     (408, "again"), (425, "refused"), (429, "again"), (500, "again"), (599, "again"), (600, "refused"),
     (None, "again")],
)  # fmt: skip
def test_each_status_means_one_thing(status: int | None, outcome: str) -> None:
    assert judge(status) is Outcome(outcome)


def test_attempts_grow_apart_and_end_after_a_day() -> None:
    schedule, now, waits = Schedule(), 0, []
    for number in range(1, 1_000):
        following = next_attempt_us(schedule, number, 0.999, 0.0, now, 0)
        if following is None:
            break
        waits.append((following - now) // SECOND_US)
        now = following
    assert waits[:11] == [4, 9, 19, 39, 79, 159, 319, 639, 1_279, 2_558, 3_598]
    assert DAY_US - HOUR_US <= now <= DAY_US
    assert next_attempt_us(schedule, 1, 0.0, 0.0, 0, 0) == 2_500_000
    assert next_attempt_us(schedule, 1, 0.5, 7_200.0, 0, 0) == 2 * HOUR_US
    assert next_attempt_us(schedule, 1, 0.5, 90_000.0, 0, 0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 0), ("", 0), ("soon", 0), ("-5", 0), ("1.5", 0), ("٣", 0),
     ("Sun, 22 Nov 2026 00:01:00 GMT", 60), ("Sun, 22 Nov 2026 00:01:00 -0000", 0),
     ("Sat, 21 Nov 2026 00:00:00 GMT", 0), ("9" * 400, 999_999_999)],
)  # fmt: skip
def test_retry_after_is_read_or_passed_over(header: str, seconds: int) -> None:
    assert retry_after_s(header, moment_from_text("2026-11-22")) == seconds


def test_a_signature_depends_on_secret_body_and_moment() -> None:
    signatures = {sign(b"a", b"x", 1), sign(b"b", b"x", 1), sign(b"a", b"y", 1), sign(b"a", b"x", 2)}
    assert len(signatures) == 4
    assert sign(b"a", b"x", 1).startswith("t=1,v1=")


async def test_a_difference_in_price_is_told_like_any_alert(
    connection: Connection, database_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    at_us = clock_us()
    shop = await open_shop(connection, 9 * USD, 8 * USD)
    intent = shop.intent(USD, at_us)
    made = attempt(USD, at_us, usage_source=UsageSource.provider, reported_cost_nano=2 * USD)
    await write(shop, tmp_path / "spool", database_url, intent, shop.settled(intent, made))
    async with kept(keeper(database_url, receiver.url)):
        await until(lambda: len(receiver.requests) > 0)
        assert (await ended(connection)).status == "delivered"
    event = json.loads(receiver.requests[0][2])
    assert (event["type"], event["budget"], event["limit"]) == ("price.divergence", "openai/gpt-4o-mini", "1.00")
    assert (event["spent"], event["percent"]) == ("2.00", 100)
    assert len(receiver.requests) == 1
