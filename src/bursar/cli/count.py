"""`bursar count`: how many tokens a text, an image or a sound is, and what a model charges for it."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.text import Text

from bursar.cli.common import Data, Json, console, data_folder, now_us, open_books, print_json, run
from bursar.core.errors import ConfigError, OperatorError, UnknownModel, UnpricedUsage
from bursar.core.money import nano_to_usd
from bursar.prices import load as load_book
from bursar.prices.book import Book
from bursar.prices.measured import price_measured
from bursar.store.database import database_url
from bursar.store.token_samples import samples_of
from bursar.tokens.calibrate import UNCALIBRATED, Meter, learn
from bursar.tokens.images import Detail
from bursar.tokens.measure import Measure, Measured
from bursar.tokens.media import Media, MediaKind, read_media

STDIN: Final = "-"

_COLOURS: Final = ("on #cfe3f5", "on #d8efe0", "on #f4e5c6", "on #eadcf3", "on #f6d9d3")


def count(
    file: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="A text, PNG, JPEG, GIF, WebP, WAV, MP3, FLAC, Ogg or M4A; - is what is piped in.",
        ),
    ],
    /,
    *,
    model: Annotated[str, Parameter(help="A model's name, alone or as provider/model.")],
    show: Annotated[bool, Parameter(negative="", help="Print the pieces of a text, each in its colour.")] = False,
    detail: Annotated[Detail, Parameter(help="How closely the model is to look at an image.")] = Detail.high,
    data: Data = None,
    json: Json = False,
) -> None:
    """Count what a file takes of a model's tokens, and price it as input.

    Exact with the vocabularies of OpenAI and Mistral that are published; of other models an estimate, with the error
    that nine of ten such estimates keep. It is learned from the calls in the books, if there are any.
    """
    try:
        media = read_media(_content(file))
    except ConfigError as error:
        raise OperatorError(f"{file}: {error}") from None
    measure = Measure()
    measured = measure.of(media, model, detail=detail, meter=lambda: _meter(model, data))
    pieces = _pieces(measure, media, measured, model) if show else []
    usd = _usd(load_book(), model, measured)
    if json:
        print_json(_as_json(measured, model, usd) | ({"pieces": pieces} if show else {}))
        return
    if show:
        _print_pieces(pieces)
    print(_sentence(measured, model, usd))


def _content(file: str) -> bytes:
    if file == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise OperatorError(
            f"{file} cannot be read: {error.strerror}; name a file, or - for what is piped in"
        ) from None


def _meter(model: str, data: Path | None) -> Meter:
    """Learn of a model from the books; nothing where there are none yet."""
    folder = data_folder(data)
    _, own = database_url(folder.url)
    if own and not folder.postgres.exists():
        return UNCALIBRATED

    async def work() -> Meter:
        async with open_books(data) as connection:
            return learn(await samples_of(connection, model))

    return run(work())


def _pieces(measure: Measure, media: Media, measured: Measured, model: str) -> list[str]:
    if media.kind is not MediaKind.text:
        raise OperatorError("--show: only a text has pieces")
    if not measured.vocabulary:
        raise OperatorError(f"--show: nobody has published the vocabulary of {model}: its pieces are not known")
    return measure.pieces(media.text, measured.vocabulary)


def _print_pieces(pieces: list[str]) -> None:
    """Print pieces in colours that tell neighbours apart; without colours, with bars between them."""
    screen = console()
    if not screen.is_terminal:
        print("|".join(map(_printable, pieces)))
        return
    shown = Text()
    for place, piece in enumerate(pieces):
        shown.append(_printable(piece), f"black {_COLOURS[place % len(_COLOURS)]}")
    screen.print(shown)


def _printable(piece: str) -> str:
    """Leave out what would steer a terminal."""
    return "".join(each if each.isprintable() or each in "\n\t" else "·" for each in piece)


def _usd(book: Book, model: str, measured: Measured) -> tuple[str, str] | None:
    """Return what a model charges for it as input, and by which price; None without a price."""
    try:
        card = book.find_any(model).at(now_us(), None)
        return nano_to_usd(price_measured(measured, card)), card.price_id
    except (UnknownModel, UnpricedUsage):
        return None


def _sentence(measured: Measured, model: str, usd: tuple[str, str] | None) -> str:
    money = f"${usd[0]} as input, by {usd[1]}" if usd is not None else f"no price is known for {model}"
    return f"{measured.tokens:,} tokens of {model}: {measured.how}\n{money}"


def _as_json(measured: Measured, model: str, usd: tuple[str, str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": model,
        "kind": measured.kind.value,
        "tokens": measured.tokens,
        "exact": measured.exact,
        "how": measured.how,
        "vocabulary": measured.vocabulary or None,
        "error_pct": measured.error_pct,
        "calls": measured.calls,
        "source": measured.source or None,
    }
    return found | {"usd": usd[0] if usd else None, "price_id": usd[1] if usd else None}
