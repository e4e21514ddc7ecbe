"""Price what was measured before a call is made: a text, an image or a sound, as input."""

from collections.abc import Mapping
from typing import Final

from bursar.core.errors import UnpricedUsage
from bursar.core.money import Money
from bursar.core.usage import Usage
from bursar.prices.charge import charge, total
from bursar.prices.price import RateCard
from bursar.tokens.measure import Measured
from bursar.tokens.media import MediaKind

_LEAVES: Final[Mapping[MediaKind, str]] = {
    MediaKind.image: "input_image_tokens",
    MediaKind.audio: "input_audio_tokens",
}


_HEARS_AT_ITS_RATE_OF_INPUT: Final = "google/"
"""Google's price of input is for sound as well, unless another is given ("Gemini Developer API pricing", checked
2026-11-23); others' says nothing of it."""


def price_measured(measured: Measured, card: RateCard) -> Money:
    """Return what a model charges for it as input, alone in a call. Raises `UnpricedUsage` where it has no rate."""
    leaf = _LEAVES.get(measured.kind)
    usage = Usage(input_tokens=measured.tokens) if leaf is None else Usage(other={leaf: measured.tokens})
    lent = measured.kind is MediaKind.audio and leaf in card.lent
    if leaf is not None and lent and not card.price_id.startswith(_HEARS_AT_ITS_RATE_OF_INPUT):
        raise UnpricedUsage(card.price_id, leaf)
    return total(charge(usage, card))
