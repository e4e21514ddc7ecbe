"""Any number of gateways on one database: one budget, one set of keys, and each takes over what it left itself."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bench.harness import LocalBursar, bursar, database
from bench.line import LineThread
from bursar.core.money import usd_to_nano
from bursar.store.holders import set_frozen
from bursar.store.postgres import DataFolder
from tests.asking import SANDBOX
from tests.gateway.test_crash import Load, expect_whole_books, wait_until

CONFIG = SANDBOX + "[gateway]\ndead_after_s = 2\n"
LEFT = """
select coalesce(sum(credits_posted - debits_posted) filter (where code = 2200), 0)::bigint as leased,
    coalesce(sum(credits_posted - debits_posted) filter (where code = 2500), 0)::bigint as undecided,
    coalesce(sum(debits_pending), 0)::bigint as held
from accounts
"""


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[LocalBursar, LocalBursar, LineThread]]:
    """Run two installations on one database; the second reaches it over a line that can be cut."""
    with bursar(CONFIG) as home, LineThread(DataFolder(home.data).url) as line:
        away = LocalBursar(CONFIG)
        away.environment["BURSAR_DATABASE_URL"] = line.url
        try:
            away.start()
            yield home, away, line
            line.heal()
            assert away.stop() == 0, away.last_words()
            left = home.query(LEFT)[0]
            assert (left["undecided"], left["held"]) == (0, 0)
            assert home.audit().findings == []
        finally:
            if away.process is not None and away.process.poll() is None:
                away.kill_all()
            away.remove()


@pytest.fixture
def home(line: tuple[LocalBursar, LocalBursar, LineThread]) -> LocalBursar:
    return line[0]


@pytest.fixture
def away(line: tuple[LocalBursar, LocalBursar, LineThread]) -> LocalBursar:
    return line[1]


def ask(local: LocalBursar, key: str, text: str = "[[output=5]] hello", **headers: str) -> httpx.Response:
    body: dict[str, Any] = {"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": text}]}
    sent = {"authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{local.url}/v1/chat/completions", json=body, headers=sent, timeout=30)


def told_nano(answer: httpx.Response) -> int:
    """Return what a client is told that its call cost; nothing where it is refused."""
    return usd_to_nano(answer.headers["x-bursar-cost-usd"]) if answer.is_success else 0


def cost_of(local: LocalBursar, name: str) -> int:
    text = (
        "select coalesce(sum(cost_nano), 0)::bigint as nano from calls join keys using (tenant, key_id) where name = $1"
    )
    return local.query(text, name)[0]["nano"]


def state_of_gateways(local: LocalBursar) -> Counter[str]:
    """Count the gateways that are alive, closed and given up."""
    rows = local.query("select closed_us, reaped_us from gateways")
    return Counter("given up" if row["reaped_us"] else "closed" if row["closed_us"] else "alive" for row in rows)


def test_two_gateways_share_a_budget_and_never_exceed_it(home: LocalBursar, away: LocalBursar) -> None:
    key = home.create_key("shared", "0.0005")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: ask((home, away)[number % 2], key), range(160)))
    served = Counter((number % 2, answer.status_code) for number, answer in enumerate(answers))
    assert {status for _, status in served} == {200, 402}
    assert served[0, 200] > 0
    assert served[1, 200] > 0
    told = sum(map(told_nano, answers))
    deadline = time.monotonic() + 10
    # What is left in the end is less than what one more call would hold, whoever asks: what the other has comes back.
    while told <= 500_000 - 30_000:
        assert time.monotonic() < deadline, told
        told += sum(told_nano(ask(local, key)) for local in (home, away))
    assert told <= 500_000
    wait_until(lambda: cost_of(home, "shared") == told, 10, "calls in the books")


def test_a_freeze_reaches_every_gateway_within_a_second(home: LocalBursar, away: LocalBursar) -> None:
    key = home.create_key("frozen", "1.00")
    assert [ask(local, key).status_code for local in (home, away)] == [200, 200]

    async def freeze(frozen: bool) -> None:
        async with database(home.database_url) as connection:
            await set_frozen(connection, "frozen", time.time_ns() // 1_000, frozen=frozen)

    for frozen, status in ((True, 402), (False, 200)):
        asyncio.run(freeze(frozen))
        for local in (home, away):
            wait_until(
                lambda local=local, status=status: ask(local, key).status_code == status, 1, "news of the freeze"
            )


def test_an_idempotency_key_is_one_call_whichever_gateway_it_comes_to(home: LocalBursar, away: LocalBursar) -> None:
    key = home.create_key("once", "1.00")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda number: ask((home, away)[number % 2], key, "[[output=5 ttft_ms=300]]", idempotency_key="order"),
                range(8),
            )
        )
    assert {answer.status_code for answer in answers} <= {200, 409}
    names = {answer.headers["x-bursar-call-id"] for answer in answers if answer.is_success}
    assert len(names) == 1
    wait_until(lambda: cost_of(home, "once") > 0, 10, "call in the books")
    assert {ask(local, key, "other", idempotency_key="order").status_code for local in (home, away)} == {409}
    rows = home.query("select call_id from calls join keys using (tenant, key_id) where name = 'once'")
    assert len(rows) == 1


def test_what_a_cut_off_gateway_has_leased_is_set_aside_and_comes_back_with_it(
    line: tuple[LocalBursar, LocalBursar, LineThread],
) -> None:
    home, away, wire = line
    key = home.create_key("cut off", "0.01")
    with Load(away, key, connections=4) as load:
        load.wait(5)
        wire.cut()
        wait_until(lambda: state_of_gateways(home)["given up"] == 1, 20, "gateway given up")
        assert home.query(LEFT)[0]["undecided"] > 0
        # It spends what it has, and no more.
        wait_until(lambda: 503 in load.refused, 30, "refusal without a database")
        wire.heal()
        wait_until(lambda: state_of_gateways(home)["given up"] == 0, 30, "gateway back")
        assert home.query(LEFT)[0]["undecided"] == 0
        load.wait(5)
    expect_whole_books(home, load.answered)
    assert cost_of(home, "cut off") <= 10_000_000


def test_fewer_workers_recover_the_spools_of_those_before() -> None:
    local = LocalBursar(CONFIG, workers=2)
    with contextlib.ExitStack() as stack:
        stack.callback(local.remove)
        local.start()
        stack.callback(lambda: local.process is not None and local.process.poll() is None and local.kill_all())
        with Load(local, local.create_key("workers", "1.00")) as load:
            load.wait(100)
            local.kill_all()
        local.workers = 1
        local.start()
        expect_whole_books(local, load.answered)
        assert local.query(LEFT) == [{"leased": 0, "undecided": 0, "held": 0}]
        wait_until(lambda: state_of_gateways(local) == {"alive": 1, "closed": 1}, 30, "gateway closed")
        assert local.stop() == 0, local.last_words()


def test_an_answer_is_gone_on_from_at_whichever_gateway(home: LocalBursar, away: LocalBursar) -> None:
    key = home.create_key("goes on elsewhere", "1.00")
    answer = respond(home, key)
    assert answer.status_code == 200
    again = respond(away, key, previous_response_id=answer.json()["id"])  # its record may not be in the books yet
    assert again.status_code == 200, again.text


def respond(local: LocalBursar, key: str, **fields: Any) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "input": "[[output=5]] hello", "max_output_tokens": 20} | fields
    return httpx.post(f"{local.url}/v1/responses", json=body, headers={"x-api-key": key}, timeout=30)
