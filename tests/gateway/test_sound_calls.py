"""Recordings in and speech out of calls in turns, by the official clients: told apart, priced exactly, held for."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import openai
import pytest
from google import genai
from google.genai import errors, types

from bench.harness import LocalBursar
from bursar.core.money import nano_to_usd
from tests.gateway.conftest import NewKey, Row, find_call
from tests.wires.recorded import flac, opus, wav

MODEL = "gpt-audio"
VOICE: Any = {"voice": "alloy", "format": "pcm16"}
TEXT_IN, HEARD, TEXT_OUT, SPOKEN = 2_500, 32_000, 10_000, 64_000
"""Nano-USD a token of gpt-audio: 2.50, 32, 10 and 64 USD a million."""


def asked(text: str, sound: bytes = b"", kind: str = "wav") -> Any:
    """Return messages with a recording."""
    parts: list[Any] = [{"type": "text", "text": text}]
    if sound:
        data = b64encode(sound).decode()
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": kind}})
    return [{"role": "user", "content": parts}]


def cost_of(usage: Any) -> int:
    """Return what a chat completion's usage comes to."""
    heard, spoken = usage.prompt_tokens_details.audio_tokens, usage.completion_tokens_details.audio_tokens
    written, read = usage.completion_tokens - spoken, usage.prompt_tokens - heard
    return read * TEXT_IN + heard * HEARD + written * TEXT_OUT + spoken * SPOKEN


def test_a_recording_is_heard_and_answered_in_speech(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model=MODEL,
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
        messages=asked("[[output=10]]", wav(2_500)),
    )
    answer = raw.parse()
    spoken = answer.choices[0].message.audio
    assert b64decode(spoken.data)[:4] == b"RIFF"
    assert len(spoken.transcript) == 4 * 10
    usage = answer.usage
    assert (usage.prompt_tokens_details.audio_tokens, usage.completion_tokens_details.audio_tokens) == (25, 20)
    assert usage.completion_tokens == 30
    row = call_of(raw.headers["x-bursar-call-id"])
    assert row["cost_nano"] == cost_of(usage) == 4 * TEXT_IN + 25 * HEARD + 10 * TEXT_OUT + 20 * SPOKEN
    assert row["held_nano"] >= row["cost_nano"]
    assert raw.headers["x-bursar-cost-usd"] == nano_to_usd(row["cost_nano"])


def test_speech_is_streamed_and_charged_the_same(openai_client: openai.OpenAI, call_of: Callable[[str], Row]) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model=MODEL,
        modalities=["text", "audio"],
        audio=VOICE,
        messages=asked("[[output=10]]", wav(2_500)),
        stream=True,
        stream_options={"include_usage": True},
    )
    sound, usage = b"", None
    with raw.parse() as stream:
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                sound += b64decode(getattr(getattr(choice.delta, "audio", None), "data", None) or "")
    assert len(sound) == 48_000  # a second of it
    row = call_of(raw.headers["x-bursar-call-id"])
    assert row["cost_nano"] == cost_of(usage) == 4 * TEXT_IN + 25 * HEARD + 10 * TEXT_OUT + 20 * SPOKEN


@pytest.mark.parametrize("output", [1, 20, 60])
@pytest.mark.parametrize(
    ("sound", "kind"),
    [(wav(1), "wav"), (wav(60_000), "wav"), (flac(48_000 * 900), "flac"), (opus(48_000 * 5), "ogg"), (b"?", "mp3")],
)
def test_never_less_is_held_than_is_charged(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row], sound: bytes, kind: str, output: int
) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model=MODEL,
        modalities=["text", "audio"],
        audio=VOICE,
        messages=asked(f"[[output={output}]]", sound, kind),
        max_completion_tokens=90,
    )
    row = call_of(raw.headers["x-bursar-call-id"])
    assert row["held_nano"] >= row["cost_nano"] == cost_of(raw.parse().usage)
    assert row["overage_nano"] == 0


def test_the_length_of_a_recording_is_held_for(shared_bursar: LocalBursar, new_key: NewKey) -> None:
    base = f"{shared_bursar.url}/v1"
    with openai.OpenAI(base_url=base, api_key=new_key("0.05"), max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as caught:  # 10 minutes are 6,000 tokens: 0.192 USD
            client.chat.completions.create(model=MODEL, max_tokens=10, messages=asked("hi", flac(48_000 * 600), "flac"))
        assert caught.value.status_code == 402
        client.chat.completions.create(model=MODEL, max_tokens=10, messages=asked("hi", flac(48_000 * 60), "flac"))


def test_speech_that_breaks_off_is_counted_by_what_came(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model=MODEL,
        modalities=["text", "audio"],
        audio=VOICE,
        messages=asked("[[output=40 fault=cut after=30]]", wav(1_000)),
        stream=True,
    )
    with raw.parse() as stream, pytest.raises((openai.APIError, Exception)):
        list(stream)
    row = call_of(raw.headers["x-bursar-call-id"])
    # Ten words came: 48,000 bytes, which at 1,920 a token are 25, and their 40 letters.
    least = 10 * TEXT_OUT + 25 * SPOKEN + 10 * HEARD
    assert least <= row["cost_nano"] < least + 20 * TEXT_IN


def test_speech_whose_usage_is_not_told_is_charged_what_was_held(
    openai_client: openai.OpenAI, call_of: Callable[[str], Row]
) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(
        model=MODEL, modalities=["text", "audio"], audio=VOICE, messages=asked("[[output=5 fault=silent]]")
    )
    row = call_of(raw.headers["x-bursar-call-id"])
    assert row["cost_nano"] == row["held_nano"] > 0


@pytest.mark.parametrize(
    ("fields", "leaf"),
    [
        ({"messages": asked("hi", wav(500))}, "input_audio_tokens"),
        ({"messages": asked("hi"), "modalities": ["text", "audio"], "audio": VOICE}, "output_audio_tokens"),
    ],
)
def test_a_model_without_a_price_for_sound_gets_none(
    openai_client: openai.OpenAI, fields: dict[str, Any], leaf: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=f"has no rate for {leaf}") as caught:
        openai_client.chat.completions.create(model="gpt-4o", **fields)
    assert caught.value.code == "unpriced"


def test_a_recording_in_a_response_is_counted(openai_client: openai.OpenAI, call_of: Callable[[str], Row]) -> None:
    part = {"type": "input_audio", "input_audio": {"data": b64encode(wav(4_000)).decode(), "format": "wav"}}
    words = {"type": "input_text", "text": "[[output=5]]"}
    given: Any = [{"role": "user", "content": [words, part]}]
    raw = openai_client.responses.with_raw_response.create(model=MODEL, input=given)
    row = call_of(raw.headers["x-bursar-call-id"])
    assert row["cost_nano"] == 3 * TEXT_IN + 40 * HEARD + 5 * TEXT_OUT


@pytest.mark.parametrize(("model", "nano_a_token"), [("gemini-2.5-flash", 1_000), ("gemini-2.5-pro", 1_250)])
def test_gemini_hears_at_its_rate_of_sound_or_of_all_input(
    gemini_client: genai.Client, shared_bursar: LocalBursar, model: str, nano_a_token: int
) -> None:
    sound = types.Part.from_bytes(data=wav(10_000), mime_type="audio/wav")
    answer = gemini_client.models.generate_content(model=model, contents=["[[output=5]]", sound])
    usage = answer.usage_metadata
    told = {each.modality.name: each.token_count for each in usage.prompt_tokens_details}
    assert told == {"TEXT": 3, "AUDIO": 320}
    row = find_call(shared_bursar, answer.sdk_http_response.headers["x-bursar-call-id"])
    text_nano, out_nano = (300, 2_500) if model.endswith("flash") else (1_250, 10_000)
    answered = usage.candidates_token_count + (usage.thoughts_token_count or 0)
    assert row["cost_nano"] == 3 * text_nano + 320 * nano_a_token + answered * out_nano
    assert row["held_nano"] >= row["cost_nano"]


def spoken_config() -> types.GenerateContentConfig:
    return types.GenerateContentConfig(response_modalities=["AUDIO"], max_output_tokens=100)


def test_gemini_without_a_price_for_speech_does_not_speak(gemini_client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="has no rate for output_audio_tokens") as caught:
        gemini_client.models.generate_content(model="gemini-2.5-flash", contents="hi", config=spoken_config())
    assert caught.value.code == 422


@pytest.mark.parametrize("stream", [False, True])
def test_gemini_speaks_and_is_charged_by_what_it_said(house: LocalBursar, house_key: str, stream: bool) -> None:
    with genai.Client(api_key=house_key, http_options={"base_url": house.url}) as client:
        asking: Any = {"model": "speaks", "contents": "[[output=10]]", "config": spoken_config()}
        if stream:
            answers = list(client.models.generate_content_stream(**asking))
        else:
            answers = [client.models.generate_content(**asking)]
    sound = b"".join(part.inline_data.data for each in answers for part in each.parts or () if part.inline_data)
    assert len(sound) == 10 * 2 * 1_920
    row = find_call(house, answers[0].sdk_http_response.headers["x-bursar-call-id"])
    assert row["cost_nano"] == 4 * 500 + 20 * 10_000
    assert row["held_nano"] >= row["cost_nano"]
