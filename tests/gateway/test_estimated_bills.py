"""Where a lost bill is estimated, a prompt of text alone is: of what else was sent its size tells nothing."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from bench.harness import LocalBursar
from bursar.core.records import UsageSource
from tests.asking import ask
from tests.gateway.conftest import find_call
from tests.wires.recorded import wav

ESTIMATING = """
[gateway]
indeterminate = "estimate"

[providers.sandbox]
kind = "sandbox"
"""
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400}}
SOUND = {"type": "input_audio", "input_audio": {"data": b64encode(wav(2_000)).decode(), "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}


@pytest.fixture(scope="module")
def estimating() -> Iterator[LocalBursar]:
    local = LocalBursar(ESTIMATING)
    local.start()
    yield local
    assert local.audit().findings == []
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.mark.parametrize(
    ("model", "part", "source"),
    [
        ("gpt-4o-mini", None, UsageSource.counted),
        ("gpt-4o-mini", IMAGE, UsageSource.held),
        ("gpt-4o-mini", FILE, UsageSource.held),
        ("gpt-audio", SOUND, UsageSource.held),
    ],
)
def test_a_lost_bill_is_estimated_for_text_alone(
    estimating: LocalBursar, model: str, part: dict[str, Any] | None, source: UsageSource
) -> None:
    secret = estimating.create_key(f"estimates {source.name} {model} {id(part)}", "1.00")
    text: Any = {"type": "text", "text": "[[output=50 fault=malformed]]"}
    messages = [{"role": "user", "content": [text, part] if part else [text]}]
    answer = ask(estimating, secret, model=f"sandbox/{model}", messages=messages, max_tokens=100)
    assert answer.status == 502
    call = find_call(estimating, answer.headers["x-bursar-call-id"])
    assert call["usage_source"] == source
    if source is UsageSource.held:
        assert call["cost_nano"] == call["held_nano"] > 0
    else:
        assert 0 < call["cost_nano"] < call["held_nano"]
