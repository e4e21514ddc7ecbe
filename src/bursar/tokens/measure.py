"""Measure what a text, an image or a sound takes of a model's tokens: exactly, by a published rule, or estimated."""

from collections.abc import Callable

import msgspec

from bursar.core.errors import ConfigError
from bursar.tokens.audio import audio_tokens
from bursar.tokens.calibrate import Meter
from bursar.tokens.exact import Vocabulary, vocabulary, vocabulary_of
from bursar.tokens.features import Reader
from bursar.tokens.images import Detail, image_tokens
from bursar.tokens.media import Media, MediaKind
from bursar.tokens.pieces import load


class Measured(msgspec.Struct, frozen=True):
    """Hold what something takes of one model's tokens, and how that is known.

    `vocabulary` is named where it counted exactly; `error_pct` is kept by nine of ten estimates, learned from `calls`.
    """

    kind: MediaKind
    tokens: int
    how: str
    exact: bool = False
    vocabulary: str = ""
    error_pct: float | None = None
    calls: int | None = None
    source: str = ""


class Measure:
    """Measure with whatever is at hand; vocabularies and the table of pieces are loaded once, when they are needed."""

    def __init__(self) -> None:
        self._vocabularies: dict[str, Vocabulary] = {}
        self._reader: Reader | None = None

    def of(
        self, media: Media, model: str, *, detail: Detail = Detail.high, meter: Callable[[], Meter] = Meter
    ) -> Measured:
        """Measure; `meter` is asked where it must be estimated.

        Raises `ConfigError` for an image or sound of a model whose rule nobody has published.
        """
        if media.kind is MediaKind.text:
            return self._text(media.text, model, meter)
        if media.kind is MediaKind.image:
            counted = image_tokens(model, media.width_px, media.height_px, detail)
            what = f"{media.width_px:,} x {media.height_px:,} pixels, "
        else:
            counted, what = audio_tokens(model, media.milliseconds), ""
        return Measured(media.kind, counted.tokens, f"{what}{counted.how}", source=counted.source)

    def pieces(self, text: str, name: str) -> list[str]:
        """Return the pieces a vocabulary makes of a text; a token that is part of a character shows its bytes."""
        return [_shown(piece) for piece in self._vocabulary(name).pieces(text)]

    def _text(self, text: str, model: str, meter: Callable[[], Meter]) -> Measured:
        name = vocabulary_of(model)
        if name:
            try:
                tokens = self._vocabulary(name).count(text)
            except ConfigError:  # the extra is not installed: then it is estimated, and said to be
                pass
            else:
                return Measured(MediaKind.text, tokens, f"exact, by {name}", exact=True, vocabulary=name)
        self._reader = reader = self._reader or Reader(load())
        found = meter().estimate(reader.text(text))
        learned = f"learned from {found.calls} calls" if found.calls else "no call of it is in the books yet"
        how = f"estimated, ±{found.error_pct:g} % in nine of ten ({learned})"
        return Measured(MediaKind.text, found.tokens, how, error_pct=found.error_pct, calls=found.calls)

    def _vocabulary(self, name: str) -> Vocabulary:
        found = self._vocabularies.get(name)
        if found is None:
            found = self._vocabularies[name] = vocabulary(name)
        return found


def _shown(piece: bytes) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "".join(f"<{byte:02x}>" for byte in piece)
