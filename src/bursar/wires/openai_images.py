"""Speak OpenAI's images: made of a prompt, edited, or varied. Billed by tokens of text and image, in and out."""

from typing import Any, ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.records import TEXT_METERS, Protocol, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.form import read_form
from bursar.wires.plain import FormWire, PlainWire, read_request
from bursar.wires.sse import event_data
from bursar.wires.wire import (
    ABSENT,
    NO_MEDIA,
    OFF,
    UNREADABLE,
    Answer,
    BadAnswer,
    Facts,
    Media,
    Seen,
    UsageReport,
    believable,
    check_model,
    count_of,
    is_report,
    nested,
    unknown_counts,
    unmetered,
    utf8_len,
)

IMAGES_MAX: Final = 10
FRAMES_MAX: Final = 16
FRAMES: Final = 9
"""Frames of a GIF where a request does not say ("Create image", checked 2026-11-22)."""

PARTIAL_TOKENS: Final = 100
"""Tokens of each partial image of a stream ("Image generation", checked 2026-11-22)."""

_PIXELS_A_TOKEN: Final = {"low": 2_048, "medium": 512, "high": 128}
"""Fewer pixels a token than any published figure: 1024 x 1024 take 272, 1,767 and 7,033 tokens at most by these
("Image generation" and prices of gpt-image-1 and gpt-image-2, checked 2026-11-22)."""
_PIXELS_A_TOKEN_LEAST: Final = 64
"""The same for qualities of which nothing is published, and where the model chooses. What goes beyond is overage."""

_SIZE_CHOSEN: Final = 1_536 * 1_536
"""Pixels where the model chooses the size, more than any of the standard sizes has."""
_SIDE_MAX: Final = 3_840
_LEAST: Final = {"n": 1, "partial_images": 0, "frame_count": 2}
_MASKED: Final = ("image", "mask")


class _Request(msgspec.Struct):
    model: str
    prompt: str
    n: int | None = None
    size: str | None = None
    quality: str | None = None
    stream: bool | None = None
    partial_images: int | None = None
    output_format: str | None = None
    frame_count: int | None = None
    svg: msgspec.Raw = ABSENT


class _Answer(msgspec.Struct):
    usage: UsageReport | None = None


_request: Final = msgspec.json.Decoder(_Request)
_answer: Final = msgspec.json.Decoder(_Answer)
_TEXT: Final = Traits(meters=TEXT_METERS)
_MEDIA: Final = Traits(media=True, meters=TEXT_METERS)
_KNOWN: Final = frozenset(
    (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        *(f"{side}_tokens_details.{kind}_tokens" for side in ("input", "output") for kind in ("text", "image")),
    )
)


class ImageReader:
    """Read the events of one stream: partial images, then the last, which has the usage."""

    def __init__(self) -> None:
        self._answer = Answer(None, "", "", 0, whole=False)

    def see(self, event: bytes) -> Seen:
        """Take in one event."""
        data = event_data(event)
        if data and b'"usage"' in data:
            try:
                self._answer = _answer_of(_answer.decode(data))
            except UNREADABLE:
                self._answer = msgspec.structs.replace(
                    self._answer, note="an event of the stream could not be read", whole=True
                )
            return Seen.closing
        return Seen.content

    def answer(self) -> Answer:
        """Return what the stream has said so far."""
        return self._answer


class OpenAIImages(PlainWire):
    """Be the protocol by which images are made of a prompt."""

    protocol: ClassVar = Protocol.openai_images
    route: ClassVar = "/v1/images/generations"
    meters: ClassVar = TEXT_METERS
    estimates: ClassVar = False

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        request: _Request = read_request(_request, body)
        if bytes(request.svg) not in OFF:
            raise unmetered("an image that another model draws", "svg")
        size = utf8_len(request.prompt)
        images = _bounded("n", request.n, 1, IMAGES_MAX)
        partial = _bounded("partial_images", request.partial_images, 0, 3)
        frames = _bounded("frame_count", request.frame_count, FRAMES, FRAMES_MAX)
        most = _tokens_max(request.size, request.quality, request.output_format, frames)
        most += PARTIAL_TOKENS * partial
        segments = Segments(user=size)
        return Facts(request.model, bool(request.stream), True, most, images, segments, len(body), NO_MEDIA, _TEXT)  # noqa: FBT003

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        try:
            return _answer_of(_answer.decode(body))
        except UNREADABLE as error:
            raise BadAnswer(f"not an image response: {error}") from error

    def reader(self) -> Any:
        """Return a reader for one stream."""
        return ImageReader()

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage as an image response reports it."""
        image_in, image_out = (usage.other.get(f"{side}_image_tokens", 0) for side in ("input", "output"))
        return {
            "input_tokens": usage.input_total,
            "input_tokens_details": {"text_tokens": usage.input_total - image_in, "image_tokens": image_in},
            "output_tokens": usage.output_total,
            "output_tokens_details": {"text_tokens": usage.output_total - image_out, "image_tokens": image_out},
            "total_tokens": usage.input_total + usage.output_total,
        }


class _FormImages(FormWire, OpenAIImages):
    """Be a protocol that takes images in a form."""

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a form. Raises `BadRequest` naming the field and the kind of value expected."""
        form = read_form(body)
        model, prompt = form.field("model"), form.field("prompt", "")
        check_model(model)
        files = form.files(*_MASKED)
        if not files:
            raise BadRequest("expected at least one file `image` in the form", param="image")
        images = form.number("n", 1, 1, IMAGES_MAX)
        partial = form.number("partial_images", 0, 0, 3)
        frames = form.number("frame_count", FRAMES, 2, FRAMES_MAX)
        most = _tokens_max(form.field("size", ""), form.field("quality", ""), form.field("output_format", ""), frames)
        most += PARTIAL_TOKENS * partial
        size = utf8_len(prompt)
        media = Media(images=len(files), body_bytes=sum(len(file.data) for file in files))
        stream = form.flag("stream")
        text_bytes = len(body) - media.body_bytes
        segments = Segments(user=size)
        return Facts(
            model,
            stream,
            True,  # noqa: FBT003
            most,
            images,
            segments,
            text_bytes,
            media,
            _MEDIA,
            form=form.layout,
        )


class OpenAIImageEdits(_FormImages):
    """Be the protocol by which images are edited."""

    protocol: ClassVar = Protocol.openai_image_edits
    route: ClassVar = "/v1/images/edits"


class OpenAIImageVariations(_FormImages):
    """Be the protocol by which images are varied."""

    protocol: ClassVar = Protocol.openai_image_variations
    route: ClassVar = "/v1/images/variations"


def image_usage(report: UsageReport) -> Usage:
    """Turn an image response's usage into disjoint leaves: text and images, in and out.

    Raises `UsageContradiction` for a field of the wrong kind and parts that are more than their whole.
    """
    if not report.keys() >= {"input_tokens", "output_tokens"}:
        raise UsageContradiction("usage does not say input_tokens and output_tokens")
    given, made = count_of(report, "input_tokens"), count_of(report, "output_tokens")
    image_in = count_of(nested(report, "input_tokens_details"), "image_tokens")
    details = nested(report, "output_tokens_details")
    image_out = count_of(details, "image_tokens") if details else made
    other = {"input_image_tokens": image_in, "output_image_tokens": image_out}
    unknown = {name: count for name, count in unknown_counts(report, _KNOWN).items() if count}
    found = {name: count for name, count in other.items() if count}
    return believable(Usage(given - image_in, output_tokens=made - image_out, other=found, unknown=unknown))


def _answer_of(read: _Answer) -> Answer:
    if not is_report(read.usage):
        return Answer(None, "", "", 0)
    try:
        return Answer(image_usage(read.usage), "", "", 0)
    except UsageContradiction as error:
        return Answer(None, "", "", 0, note=str(error))


def _bounded(name: str, given: int | None, default: int, most: int) -> int:
    if given is None:
        return default
    least = _LEAST[name]
    if not least <= given <= most:
        raise BadRequest(f"expected an integer from {least} to {most} in `{name}`, got {given}", param=name)
    return given


def _tokens_max(size: str | None, quality: str | None, output_format: str | None, frames: int) -> int:
    """Bound the tokens of one image by its pixels and quality; each frame of a GIF is an image."""
    if output_format == "svg":
        raise unmetered("an image that another model draws", "output_format")
    pixels = _pixels(size or "auto")
    most = -(-pixels // _PIXELS_A_TOKEN.get(quality or "", _PIXELS_A_TOKEN_LEAST))
    return most * frames if output_format == "gif" else most


def _pixels(size: str) -> int:
    if size == "auto":
        return _SIZE_CHOSEN
    sides = size.split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdecimal() and len(side) < 6 for side in sides):
        raise BadRequest("expected `auto` or WIDTHxHEIGHT in pixels in `size`", param="size")
    width, height = map(int, sides)
    if not 0 < max(width, height) <= _SIDE_MAX or not min(width, height):
        raise BadRequest(f"expected sides of 1 to {_SIDE_MAX} pixels in `size`", param="size")
    return width * height


OPENAI_IMAGES: Final = OpenAIImages()
OPENAI_IMAGE_EDITS: Final = OpenAIImageEdits()
OPENAI_IMAGE_VARIATIONS: Final = OpenAIImageVariations()
