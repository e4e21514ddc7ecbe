"""Calls teach how many tokens a model makes of a text; no text is kept, and estimates then say how sure they are."""

import asyncio
import json
import time
from typing import Any

import pytest

from bench.harness import LocalBursar, bursar
from bursar.gateway.metering import CALLS_MIN
from bursar.store.database import connect
from bursar.store.token_samples import NewSample, add_samples
from bursar.tokens.calibrate import Sample
from bursar.tokens.features import PLACES, Reader
from bursar.tokens.pieces import load
from tests.asking import Answer, ask, fetch
from tests.gateway.conftest import NewKey

WAIT_S = 20.0


def samples(local: LocalBursar, model: str) -> list[dict[str, Any]]:
    return local.query("select counts, tokens from token_samples where model = $1 order by seq", model)


def wait_for(local: LocalBursar, model: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + WAIT_S
    while len(found := samples(local, model)) < count:
        assert time.monotonic() < deadline, local.last_words()
        time.sleep(0.1)
    return found


def test_calls_of_text_leave_what_they_were_made_of_and_the_tokens_reported(
    shared_bursar: LocalBursar, new_key: NewKey
) -> None:
    secret, before = new_key("1.00"), len(samples(shared_bursar, "gpt-4.1-mini"))
    texts = ("[[output=5]] one two three", "[[output=5]] 12345678")
    pixels = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "[[output=5]] look"}, pixels]}]
    assert ask(shared_bursar, secret, model="gpt-4.1-mini", messages=asked).status == 200
    assert ask(shared_bursar, secret, "[[fault=500]] one", model="gpt-4.1-mini").status == 500
    answers = [ask(shared_bursar, secret, text, model="gpt-4.1-mini") for text in texts]
    found = wait_for(shared_bursar, "gpt-4.1-mini", before + 2)[before:]
    usage = [answer.json()["usage"]["prompt_tokens"] for answer in answers]
    assert [row["tokens"] for row in found] == usage  # of the image and the call that failed there is nothing
    reader = Reader(load())
    assert [tuple(row["counts"]) for row in found] == [reader.call([text]) for text in texts]
    assert found[1]["counts"][PLACES["digits"]] == 8 + 1


HOUSE = """
[providers.remote]
kind = "openai"
base_url = "{url}/v1"
api_key = "sk-x"

[models.few]
targets = ["remote/gpt-4o"]
price = {{ input = "1", output = "1" }}

[models.many]
targets = ["remote/gpt-4o-mini"]
price = {{ input = "1", output = "1" }}
"""


def test_an_estimate_is_of_what_was_learned_once_that_is_enough(remote_sandbox: str) -> None:
    reader = Reader(load())
    text = "one two three four. " * 10

    def learned(model: str, calls: int) -> list[NewSample]:
        made = [reader.call(["one two three four. " * (5 + number % 13)]) for number in range(calls)]
        return [NewSample("remote", model, Sample(each, 3 * sum(each[2:]))) for each in made]

    async def write(url: str) -> None:
        connection = await connect(url)
        await add_samples(connection, learned("gpt-4o", CALLS_MIN - 1) + learned("gpt-4o-mini", CALLS_MIN), 1)
        await connection.close()

    with bursar(HOUSE.format(url=remote_sandbox)) as local:
        asyncio.run(write(local.database_url))
        secret = local.create_key("counts", "1.00")

        def counted(model: str) -> Answer:
            body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
            return fetch(local, "POST", "/v1/messages/count_tokens", body, x_api_key=secret)

        few, many = counted("few"), counted("many")
    assert (few.headers["x-bursar-estimated"], many.headers["x-bursar-estimated"]) == ("true", "true")
    assert few.json() == {"input_tokens": -(-len(text) // 4)}  # by size
    assert "x-bursar-estimate-error-pct" not in few.headers
    assert many.json()["input_tokens"] == pytest.approx(3 * sum(reader.text(text)), rel=0.05)
    assert float(many.headers["x-bursar-estimate-error-pct"]) < 5
