"""Answer in speech: silence, a tenth of a second or less for a word, with its letters beside it in chat completions."""

import io
import wave
from base64 import b64encode
from typing import Any, Final

from bursar.core.errors import BadRequest, ConfigError
from bursar.core.records import Protocol
from bursar.core.usage import Usage
from bursar.sandbox.media import length_ms
from bursar.tokens.audio import audio_tokens
from bursar.wires.sounds import SPOKEN, sound_of

WORD_TOKENS: Final = 2
RATE_HZ: Final = 24_000
BYTES_A_TOKEN: Final = {Protocol.openai_chat: 2_400, Protocol.gemini: 1_920}
"""OpenAI speaks 20 tokens a second, Google 25, both in PCM of 16 bits."""


def heard_tokens(model: str, recordings: tuple[str, ...]) -> int:
    """Count the tokens of recordings in base64. Raises `BadRequest` for a model that hears nothing."""
    sounds = [sound_of(data, "messages") for data in recordings]
    try:
        return sum(audio_tokens(model, max(1, length_ms(sound))).tokens for sound in sounds)
    except ConfigError as error:
        raise BadRequest(f"{model} takes no sound: {error}", param="messages") from None


def asks_for_speech(request: dict[str, Any]) -> bool:
    """Tell whether a request, of either protocol, asks for a spoken answer."""
    config = request.get("generationConfig") or request.get("generation_config") or {}
    asked = request.get("modalities") or config.get("responseModalities") or config.get("response_modalities") or []
    return any(str(modality).lower() == "audio" for modality in asked)


def tokens_a_word(protocol: Protocol) -> int:
    """Count what a spoken word takes: its sound, and in a chat completion its letters as well."""
    return WORD_TOKENS + (protocol is Protocol.openai_chat)


def spoken_usage(protocol: Protocol, words: int) -> Usage:
    """Return the usage of so many spoken words."""
    written = words if protocol is Protocol.openai_chat else 0
    return Usage(output_tokens=written, other={SPOKEN: WORD_TOKENS * words})


def spoken(protocol: Protocol, words: int, kind: str = "pcm16") -> str:
    """Speak so many words, in base64: bare PCM, or a WAV where another format is asked for."""
    sound = bytes(BYTES_A_TOKEN[protocol] * WORD_TOKENS * words)
    if kind == "pcm16":
        return b64encode(sound).decode()
    held = io.BytesIO()
    with wave.open(held, "wb") as recording:
        recording.setparams((1, 2, RATE_HZ, 0, "NONE", "not compressed"))
        recording.writeframes(sound)
    return b64encode(held.getvalue()).decode()
