"""A prompt's tokens are bounded from above by its bytes, its images' published maximum and the context window."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from bursar.tokens.bounds import image_tokens_max, input_tokens_max
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.openai_chat import OPENAI_CHAT
from bursar.wires.wire import TOOLS_OVERHEAD_TOKENS, Facts
from tests.wires.recorded import wav

PIXELS = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}}
AUDIO = {"type": "input_audio", "input_audio": {"data": b64encode(wav(90_000, 100)).decode(), "format": "wav"}}


def facts_of(*parts: dict[str, Any], **fields: Any) -> tuple[Facts, int]:
    """Read a chat request and tell the bytes of its body."""
    message = {"role": "user", "content": [{"type": "text", "text": "what is it?"}, *parts]}
    body = msgspec.json.encode({"model": "m", "messages": [message]} | fields)
    return OPENAI_CHAT.facts(body), len(body)


def test_text_is_bounded_by_the_bytes_of_the_body() -> None:
    facts, size = facts_of()
    assert input_tokens_max(facts, "gpt-4o", 128_000) == size
    assert input_tokens_max(facts, "gpt-4o", None) == size


def test_tools_add_what_a_provider_says_of_its_own() -> None:
    facts, size = facts_of(tools=[{"type": "function"}])
    assert input_tokens_max(facts, "gpt-4o", None) == size + TOOLS_OVERHEAD_TOKENS


def test_nothing_is_billed_beyond_the_context_window() -> None:
    facts, size = facts_of()
    assert input_tokens_max(facts, "m", size - 1) == size - 1
    assert input_tokens_max(facts, "m", size) == size
    assert input_tokens_max(facts, "m", size + 1) == size


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o-mini", 48_169),
        ("gpt-4o-mini-2024-07-18", 48_169),
        ("openai/gpt-4o-mini", 48_169),  # as resellers write it
        ("GPT-4o-mini", 48_169),
        ("gpt-4o", 16_384),
        ("claude-sonnet-4-5", 16_384),
        ("", 16_384),
    ],
)
def test_an_image_takes_no_more_than_its_models_maximum(model: str, tokens: int) -> None:
    assert image_tokens_max(model) == tokens


def test_images_count_by_number_and_not_by_bytes() -> None:
    facts, size = facts_of(PIXELS, PIXELS)
    bound = input_tokens_max(facts, "gpt-4o", None)
    assert bound == facts.text_bytes + 2 * 16_384
    assert bound is not None
    assert facts.text_bytes < 500 < size
    assert input_tokens_max(facts, "gpt-4o", 20_000) == 20_000


def test_a_recording_takes_no_more_than_its_length_at_its_models_rate() -> None:
    facts, _ = facts_of(AUDIO, AUDIO)  # each of 90 s
    for window in (None, 128_000):
        assert input_tokens_max(facts, "gpt-audio", window) == facts.text_bytes + 2 * 900
        assert input_tokens_max(facts, "gemini-2.5-flash", window) == facts.text_bytes + 2 * 2_880
    assert input_tokens_max(facts, "gpt-audio", 1_000) == 1_000


def test_only_the_context_window_bounds_documents_and_what_a_model_without_a_rate_hears() -> None:
    facts, _ = facts_of(AUDIO)
    assert input_tokens_max(facts, "phi-4-multimodal-instruct", 128_000) == 128_000
    assert input_tokens_max(facts, "phi-4-multimodal-instruct", None) is None
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A"}}
    message = {"role": "user", "content": [document]}
    body = msgspec.json.encode({"model": "m", "max_tokens": 5, "messages": [message]})
    assert input_tokens_max(ANTHROPIC_MESSAGES.facts(body), "m", 200_000) == 200_000
    assert input_tokens_max(ANTHROPIC_MESSAGES.facts(body), "m", None) is None


def test_every_resold_gpt_4o_mini_of_the_catalogue_is_recognised() -> None:
    resold = {model.id for provider in providers for model in provider.models if "gpt-4o-mini" in model.id.lower()}
    assert len(resold) > 3
    assert {image_tokens_max(model) for model in resold} == {48_169}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.booleans())
def test_the_bound_is_never_below_the_texts_own_bytes_however_they_are_escaped(text: str, is_escaped: bool) -> None:
    messages = [{"role": "user", "content": text}]
    body = msgspec.json.encode({"model": "m", "messages": messages})
    if is_escaped:
        body = "".join(character if character.isascii() else escaped(character) for character in body.decode()).encode()
    bound = input_tokens_max(OPENAI_CHAT.facts(body), "m", None)
    assert bound is not None
    assert bound >= len(text.encode())


def escaped(character: str) -> str:
    """Write a character as JSON's escapes, in two halves beyond the basic plane."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
