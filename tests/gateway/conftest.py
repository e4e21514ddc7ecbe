"""Give each test a key of its own, the official SDKs set to the gateway, and the books to look a call up in."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import anthropic
import openai
import pytest

from bench.harness import LocalBursar
from bursar.core.ids import call_id_from_name
from bursar.core.usage import Usage
from bursar.prices import load
from bursar.prices.charge import charge, total

NewKey: TypeAlias = Callable[..., str]
Row: TypeAlias = dict[str, Any]

_numbers = itertools.count(1)


def find_call(local: LocalBursar, name: str, timeout_s: float = 10.0) -> Row:
    """Return the record of a call by its name, waiting until the journal has carried it into the books."""
    call_id, deadline = call_id_from_name(name), time.monotonic() + timeout_s
    while not (rows := local.query("select * from calls where call_id = $1", call_id)):
        assert time.monotonic() < deadline, f"{name} is not in the books: {local.last_words()}"
        time.sleep(0.02)
    return rows[0]


@pytest.fixture
def new_key(shared_bursar: LocalBursar) -> NewKey:
    """Make keys of the shared Bursar: `new_key(budget="1.00", models=("gpt-4o",))` returns a secret."""

    def make(budget: str | None = None, **scope: Any) -> str:
        return shared_bursar.create_key(f"gateway test {next(_numbers)}", budget, **scope)

    return make


@pytest.fixture
def key(new_key: NewKey) -> str:
    return new_key("100.00")


@pytest.fixture
def call_of(shared_bursar: LocalBursar) -> Callable[[str], Row]:
    return lambda name: find_call(shared_bursar, name)


@pytest.fixture(scope="session")
def price_of() -> Callable[[str, Usage], int]:
    """Price usage from the catalogue alone, away from the gateway."""
    book = load()
    return lambda model, usage: total(charge(usage, book.find_any(model).at(time.time_ns() // 1_000, {})))


@pytest.fixture
def openai_client(shared_bursar: LocalBursar, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared_bursar.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(shared_bursar: LocalBursar, key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=shared_bursar.url, api_key=key, max_retries=0) as client:
        yield client
