"""Count the tokens of sound by the rate its model's provider has published; a model without one is an error.

OpenAI, "Managing costs" of the Realtime API: a token for each 100 ms a user speaks. Google, "Audio understanding": 32
tokens a second. Mistral: Voxtral hears 12.5 frames a second, in chunks of 30 seconds (mistral-common 1.13). All read
2026-11-22. Models priced by the minute have no tokens to count.
"""

import re
from typing import Final

from bursar.core.errors import ConfigError
from bursar.core.money import div_ceil
from bursar.tokens.images import Counted

SECONDS_MAX: Final = 1_000_000

SPOKEN_BYTES_A_TOKEN: Final = 1_920
"""Speech is streamed as PCM of 16 bits at 24 kHz: 1,920 bytes at Google's 25 tokens a second, more at OpenAI's 20
("Understand and count tokens", "Managing costs" of the Realtime API; checked 2026-11-23)."""

_MILLI: Final = 1_000
# The name's beginning, tokens for 1,000 seconds, seconds it is filled up to, and where that is said.
_RULES: Final = (
    (
        re.compile(r"gpt-(?:audio|realtime|4o(?:-mini)?-(?:audio|realtime))"),
        10_000,
        0,
        "https://platform.openai.com/docs/guides/realtime-costs",
    ),
    (re.compile(r"gemini-(?:1\.5|2|3)"), 32_000, 0, "https://ai.google.dev/gemini-api/docs/audio"),
    (re.compile(r"voxtral-(?:mini|small)-(?:2\d{3}|24b)"), 12_500, 30, "https://github.com/mistralai/mistral-common"),
)


def audio_tokens(model: str, milliseconds: int) -> Counted:
    """Count the tokens of so much sound. Raises `ConfigError` for a model without a published rate, or no length."""
    if not 0 < milliseconds <= SECONDS_MAX * _MILLI:
        raise ConfigError(
            f"length: expected more than 0 and up to {SECONDS_MAX:,} seconds, got {milliseconds / _MILLI:g}"
        )
    own = model.lower().rpartition("/")[2]
    for pattern, rate, filled_s, source in _RULES:
        if pattern.match(own):
            heard = div_ceil(milliseconds, filled_s * _MILLI) * filled_s * _MILLI if filled_s else milliseconds
            told = f"{milliseconds / _MILLI:g} s at {rate / _MILLI:g} tokens a second"
            more = f", filled up to {filled_s} s" if filled_s else ""
            return Counted(div_ceil(heard * rate, _MILLI * _MILLI), told + more, source)
    raise ConfigError(f"no rate is published for what sound takes of {model!r}; send it, and read the usage")


def spoken_tokens(size: int) -> int:
    """Count the tokens of speech of so many bytes of PCM."""
    return div_ceil(size, SPOKEN_BYTES_A_TOKEN)
