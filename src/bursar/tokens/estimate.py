"""Estimate tokens from bytes, where a provider reported no usage. An estimate is always marked as one."""

from typing import Final

from bursar.core.money import div_ceil

# English prose and code run at 3.5 to 4.5 bytes a token with the vocabularies of 2024 and later; other scripts at
# less. The estimate is therefore within about 15 % for English, and too low by up to half for, say, Thai.
BYTES_PER_TOKEN: Final = 4


def tokens_from_bytes(size: int) -> int:
    """Estimate the tokens of a text of `size` UTF-8 bytes."""
    return div_ceil(size, BYTES_PER_TOKEN)
