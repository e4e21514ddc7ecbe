"""Price what was measured before a call is made: a text, an image or a sound, as input."""

from collections.abc import Mapping
from typing import Final

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


def price_measured(measured: Measured, card: RateCard) -> Money:
    """Return what a model charges for it as input, alone in a call. Raises `UnpricedUsage` where it has no rate."""
    leaf = _LEAVES.get(measured.kind)
    usage = Usage(input_tokens=measured.tokens) if leaf is None else Usage(other={leaf: measured.tokens})
    return total(charge(usage, card))
