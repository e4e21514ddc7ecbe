"""Count what a text, an image or a sound takes of models' tokens, and what each charges. Nothing of it is kept."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from litestar import Request, post
from litestar.exceptions import ClientException, NotAuthorizedException, PermissionDeniedException

from bursar.api.admission import ASKS
from bursar.api.answers import answering, now_us, unreadable
from bursar.core.errors import ConfigError, UnknownModel, UnpricedUsage
from bursar.core.money import nano_to_usd
from bursar.prices import load as load_book
from bursar.prices.book import Book
from bursar.prices.measured import price_measured
from bursar.store.database import Pool, borrow
from bursar.store.token_samples import samples_of
from bursar.tokens.calibrate import Sample, learn
from bursar.tokens.exact import DEFAULT
from bursar.tokens.images import Detail
from bursar.tokens.measure import Measure
from bursar.tokens.media import Media, MediaKind, read_media

PIECES_MAX: Final = 5_000
MODELS_MAX: Final = 32
MODELS: Final = (
    *("openai/gpt-4o-mini", "openai/gpt-4o", "openai/gpt-5-mini", "openai/gpt-5.2", "openai/gpt-6-sol"),
    *("anthropic/claude-haiku-5-5", "anthropic/claude-sonnet-5-5", "anthropic/claude-opus-5-5"),
    *("google/gemini-2.5-flash", "google/gemini-3.8-flash", "mistral/mistral-nemo", "mistral/mistral-large-2512"),
)
"""Those that are told of where none are named."""

HEARING: Final = (
    *("openai/gpt-audio", "openai/gpt-audio-mini"),
    *("google/gemini-2.5-flash", "google/gemini-2.5-pro", "google/gemini-3.8-flash"),
)
"""The same where it is a sound: models that hear, by a rate that is published."""


_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[^\0]+$", max_length=200)]


class CountRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask about a text, a file as base64, an image's size or a sound's length. `models` are names of the price book."""

    text: str | None = None
    file: str | None = None
    width_px: int = 0
    height_px: int = 0
    milliseconds: int = 0
    models: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=MODELS_MAX)] = ()
    detail: Detail = Detail.high


class PiecesView(msgspec.Struct, frozen=True):
    """Be the pieces a vocabulary makes of a text; the first of them where they are many."""

    vocabulary: str
    pieces: list[str]
    tokens: int


class CountView(msgspec.Struct, frozen=True):
    """Be what one model takes and charges for it as input; `why` says why that cannot be told.

    `error_pct` is kept by nine of ten estimates, learned from `calls` of this model.
    """

    model: str
    tokens: int | None = None
    exact: bool = False
    how: str = ""
    error_pct: float | None = None
    calls: int | None = None
    source: str = ""
    usd: str | None = None
    price_id: str | None = None
    why: str = ""


class Counted(msgspec.Struct, frozen=True):
    """Be what was asked about: its kind, the pieces of a text, and each model's count and price."""

    kind: MediaKind
    width_px: int
    height_px: int
    milliseconds: int
    pieces: PiecesView | None
    models: list[CountView]


class Scale(msgspec.Struct):
    """Keep what counting needs from one request to the next: the price book and the vocabularies, once loaded."""

    lock: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    measure: Measure = msgspec.field(default_factory=Measure)
    book: Book | None = None


@post(
    "/api/count",
    status_code=200,
    summary="Count the tokens of a text, image or sound, and what models charge for it; nothing is kept",
    opt={ASKS: True},
    exception_handlers={UnicodeDecodeError: unreadable, RecursionError: unreadable},
    response_description="What was counted",
    raises=[NotAuthorizedException, PermissionDeniedException],
)
async def count(pool: Pool, request: Request[Any, Any, Any], data: CountRequest) -> Counted:
    """Count."""
    media = _media(data)
    models = data.models or (HEARING if media.kind is MediaKind.audio else MODELS)
    async with answering(("text", "file", "models"), "counting"):
        async with borrow(pool) as connection:
            samples = {model: await samples_of(connection, model) for model in models}
        state = request.app.state
        scale: Scale = state.setdefault("scale", Scale())
        async with scale.lock:  # one at a time: it takes a core, and the vocabularies are loaded once
            return await asyncio.to_thread(_count, scale, media, data, samples)


def _count(scale: Scale, media: Media, data: CountRequest, samples: Mapping[str, list[Sample]]) -> Counted:
    measure = scale.measure
    views = [_view(scale, media, model, data.detail, found) for model, found in samples.items()]
    size = media.width_px, media.height_px, media.milliseconds
    return Counted(media.kind, *size, _pieces(measure, media), views)


def _media(data: CountRequest) -> Media:
    """Read what is asked about. Raises `ClientException` naming the field."""
    given = data.text is not None, data.file is not None, data.width_px or data.height_px, data.milliseconds
    if sum(map(bool, given)) != 1:
        message = "text: expected one of text, file, width_px with height_px, milliseconds"
        raise ClientException(message, extra={"param": "text"})
    if data.text is not None:
        return Media(MediaKind.text, text=data.text)
    if data.file is None:
        kind = MediaKind.audio if data.milliseconds else MediaKind.image
        return Media(kind, width_px=data.width_px, height_px=data.height_px, milliseconds=data.milliseconds)
    try:
        return read_media(base64.b64decode(data.file, validate=True))
    except ValueError:  # base64's own errors among them
        raise ClientException("file: expected the bytes of a file as base64", extra={"param": "file"}) from None
    except ConfigError as error:
        raise ClientException(f"file: {error}", extra={"param": "file"}) from None


def _view(scale: Scale, media: Media, model: str, detail: Detail, samples: Sequence[Sample]) -> CountView:
    scale.book = book = scale.book or load_book()
    try:
        found = scale.measure.of(media, model, detail=detail, meter=lambda: learn(samples))
    except ConfigError as error:
        return CountView(model, why=str(error))
    view = CountView(model, found.tokens, found.exact, found.how, found.error_pct, found.calls, found.source)
    try:
        card = book.find_any(model).at(now_us(), None)
        usd = nano_to_usd(price_measured(found, card))
    except (UnknownModel, UnpricedUsage) as error:
        return msgspec.structs.replace(view, why=str(error))
    return msgspec.structs.replace(view, usd=usd, price_id=card.price_id)


def _pieces(measure: Measure, media: Media) -> PiecesView | None:
    """Return a text's pieces by the vocabulary most models of today's share; none where it is not installed."""
    if media.kind is not MediaKind.text:
        return None
    try:
        found = measure.pieces(media.text, DEFAULT)
    except ConfigError:
        return None
    return PiecesView(DEFAULT, found[:PIECES_MAX], len(found))
