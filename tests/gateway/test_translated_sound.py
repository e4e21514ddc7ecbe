"""A recording reaches a provider of another protocol by the official clients, charged by the target's rule."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd
from tests.gateway.conftest import Row, find_call
from tests.wires.recorded import flac, flac_block, wav

MP3 = b"\xff\xfb\x90\x00" + bytes(413)  # 417 bytes of 1,152 samples at 44.1 kHz


class Rule(NamedTuple):
    """How a model hears: tokens a second, and nano-USD a token of text, of sound, and of the answer's text."""

    tokens_a_second: int
    text: int
    heard: int
    answered: int


GPT_AUDIO = Rule(10, 2_500, 32_000, 10_000)
GEMINI_FLASH = Rule(32, 300, 1_000, 2_500)
RULES = {"hears": GPT_AUDIO, "hears-responses": GPT_AUDIO, "gemini": GEMINI_FLASH, "hears-either": GEMINI_FLASH}


@pytest.fixture(scope="module")
def secret(translating: LocalBursar) -> str:
    return translating.create_key("translated sound", "100.00")


@pytest.fixture
def client(translating: LocalBursar, secret: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{translating.url}/v1", api_key=secret, max_retries=0) as made:
        yield made


@pytest.fixture
def google(translating: LocalBursar, secret: str) -> Iterator[genai.Client]:
    with genai.Client(api_key=secret, http_options={"base_url": translating.url}) as made:
        yield made


def asked(sound: bytes, kind: str = "wav") -> Any:
    part = {"type": "input_audio", "input_audio": {"data": b64encode(sound).decode(), "format": kind}}
    return [{"role": "user", "content": [{"type": "text", "text": "[[output=5]]"}, part]}]


def check(row: Row, rule: Rule, milliseconds: int, texts: int = 3, output: int = 5) -> None:
    """Check that a call was charged by the target's rates to the nano, and no more than was held."""
    heard = -(-milliseconds * rule.tokens_a_second // 1_000)
    assert row["cost_nano"] == texts * rule.text + heard * rule.heard + output * rule.answered
    assert row["held_nano"] >= row["cost_nano"]
    assert row["overage_nano"] == 0


@pytest.mark.parametrize(
    ("sound", "kind", "milliseconds"),
    [(wav(2_500), "wav", 2_500), (MP3 * 100, "mp3", 2_613), (wav(60_000), "wav", 60_000)],
)
@pytest.mark.parametrize("model", ["gemini", "hears-responses", "hears-either", "hears"])
def test_a_chat_with_a_recording_is_heard_by_another_protocol(
    translating: LocalBursar, client: openai.OpenAI, model: str, sound: bytes, kind: str, milliseconds: int
) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=asked(sound, kind))
    usage, rule = raw.parse().usage, RULES[model]
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.audio_tokens == -(-milliseconds * rule.tokens_a_second // 1_000)
    row = find_call(translating, raw.headers["x-bursar-call-id"])
    check(row, rule, milliseconds)
    assert raw.headers["x-bursar-cost-usd"] == nano_to_usd(row["cost_nano"])


def test_a_streamed_chat_with_a_recording_is_charged_the_same(translating: LocalBursar, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gemini", messages=asked(wav(2_500)), stream=True)
    with raw.parse() as stream:
        text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    assert len(text) == 4 * 5
    check(find_call(translating, raw.headers["x-bursar-call-id"]), GEMINI_FLASH, 2_500)


def test_a_response_with_a_recording_is_heard_by_gemini(translating: LocalBursar, client: openai.OpenAI) -> None:
    given = asked(wav(4_000))
    given[0]["content"][0]["type"] = "input_text"
    raw = client.responses.with_raw_response.create(model="gemini", input=given)
    check(find_call(translating, raw.headers["x-bursar-call-id"]), GEMINI_FLASH, 4_000)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["hears", "hears-responses"])
def test_geminis_contents_with_a_recording_are_heard_by_openai(
    translating: LocalBursar, google: genai.Client, model: str, stream: bool
) -> None:
    sound = types.Part.from_bytes(data=wav(2_500), mime_type="audio/x-wav")
    asking: Any = {"model": model, "contents": ["[[output=5]]", sound]}
    if stream:
        *_, answer = google.models.generate_content_stream(**asking)
    else:
        answer = google.models.generate_content(**asking)
    details = answer.usage_metadata.prompt_tokens_details
    assert {each.modality.name: each.token_count for each in details}["AUDIO"] == 25
    row = find_call(translating, answer.sdk_http_response.headers["x-bursar-call-id"])
    check(row, GPT_AUDIO, 2_500)


def test_a_quiet_flac_is_held_for_by_its_blocks_at_geminis_rate(
    translating: LocalBursar, client: openai.OpenAI
) -> None:
    quiet = flac(1) + b"".join(flac_block(65_536, number % 128) for number in range(1_000))  # 22 minutes in 14 kB
    raw = client.chat.completions.with_raw_response.create(
        model="gemini", messages=asked(quiet, "flac"), max_completion_tokens=9
    )
    row = find_call(translating, raw.headers["x-bursar-call-id"])
    assert row["held_nano"] >= 65_536_000 // 48_000 * 32 * GEMINI_FLASH.heard > row["cost_nano"]


@pytest.mark.parametrize(
    ("model", "sound", "kind", "why"),
    [
        ("messages", wav(500), "wav", "Anthropic's models hear none"),
        ("hears-responses", flac(48_000), "flac", "OpenAI hears WAV and MP3"),
        ("gemini", wav(500), "pcm16", "a recording is none of WAV, MP3"),
    ],
)
def test_what_the_other_end_does_not_hear_is_refused_by_its_field_and_nothing_is_held(
    translating: LocalBursar, client: openai.OpenAI, model: str, sound: bytes, kind: str, why: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=why) as caught:
        client.chat.completions.create(model=model, messages=asked(sound, kind))
    assert caught.value.code == "cannot_be_carried"
    assert caught.value.param == "messages[0].content[1].input_audio.format"


def test_geminis_sound_for_anthropic_is_refused_by_its_field(google: genai.Client) -> None:
    sound = types.Part.from_bytes(data=wav(500), mime_type="audio/wav")
    with pytest.raises(errors.ClientError, match=r"inlineData\.mimeType` cannot be carried") as caught:
        google.models.generate_content(model="messages", contents=["hi", sound])
    assert caught.value.code == 400


def test_a_model_without_a_price_for_sound_is_not_asked_from_afar(google: genai.Client) -> None:
    sound = types.Part.from_bytes(data=wav(500), mime_type="audio/wav")
    with pytest.raises(errors.ClientError, match="has no rate for input_audio_tokens") as caught:
        google.models.generate_content(model="chat", contents=["hi", sound])
    assert caught.value.code == 422


def test_a_recording_given_twice_is_refused_over_http(translating: LocalBursar, secret: str) -> None:
    data = b64encode(wav(500)).decode()
    part = f'{{"type":"input_audio","input_audio":{{"data":"{data}","format":"wav","data":"{data}"}}}}'
    body = f'{{"model":"hears","messages":[{{"role":"user","content":[{part}]}}]}}'
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    answer = httpx.post(f"{translating.url}/v1/chat/completions", content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "messages.content.input_audio.data")
    assert "given twice" in error["message"]


def test_the_books_balance_after_all_that_was_heard(translating: LocalBursar) -> None:
    assert translating.audit().findings == []
