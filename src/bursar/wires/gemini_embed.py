"""Speak Gemini's embeddings: of one content, or of many at once; billed by the input alone."""

from typing import Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from bursar.core.errors import BadRequest, Refusal
from bursar.core.records import Protocol, Segments, Traits
from bursar.core.usage import Usage, UsageContradiction
from bursar.wires.gemini import GEMINI, ContentReader
from bursar.wires.wire import (
    NO_MEDIA,
    UNREADABLE,
    Answer,
    BadAnswer,
    Facts,
    UsageReport,
    bad_request,
    believable,
    check_model,
    count_of,
    read_fields,
    write_fields,
)

ONE_METHOD: Final = "embedContent"
MANY_METHOD: Final = "batchEmbedContents"
_TRAITS: Final = Traits(meters=(("input_tokens",),))
_DATA: Final = (b'"inlineData"', b'"inline_data"', b'"fileData"', b'"file_data"')


class _Answer(msgspec.Struct, rename="camel"):
    usage_metadata: UsageReport | None = None
    token_count: int | None = None  # within a batch


_answer: Final = msgspec.json.Decoder(_Answer, strict=False)  # proto3's JSON may write numbers as text
_requests: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class GeminiEmbed:
    """Be the protocol for one content."""

    protocol: ClassVar[Protocol] = Protocol.gemini_embed
    route: ClassVar = "/v1beta/models"
    method: ClassVar = ONE_METHOD
    meters: ClassVar = _TRAITS.meters
    estimates: ClassVar = True
    multipart: ClassVar = False
    caps: ClassVar = False
    comments: ClassVar = False

    def path(self, model: str, *, stream: bool) -> str:  # noqa: ARG002
        """Return where calls of a model go; a name never leaves its own place in the path."""
        return f"/models/{quote(model, safe='')}:{self.method}"

    def facts(self, body: bytes, target: str = "") -> Facts:
        """Read a request to `{model}:{method}`. Raises `BadRequest` naming the field and the kind of value expected."""
        model = target.rpartition(":")[0]
        check_model(model)
        if any(name in body for name in _DATA):
            raise BadRequest(
                "only texts are embedded here: what an image, sound or film takes is not told by the provider",
                code="unmetered",
                param="content",
            )
        try:
            size, contents = self._read(read_fields(body))
        except UNREADABLE as error:
            raise bad_request(error) from None
        segments = Segments(user=size)
        return Facts(model, False, True, None, 0, segments, size, NO_MEDIA, _TRAITS, prompts=max(1, contents))  # noqa: FBT003

    def _read(self, fields: dict[str, Any]) -> tuple[int, int]:
        """Return the size of what is to be embedded in bytes, and how many contents it is."""
        if "content" not in fields:
            raise BadRequest("expected a content in `content`", param="content")
        return len(fields["content"]), 1

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, where the model is named as the path does."""
        return write_fields(read_fields(body) | {"model": f"models/{model}"})

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer, which may say what was used. Raises `BadAnswer` when it is none."""
        try:
            said = _answer.decode(body)
            report = said.usage_metadata
            if report is None and said.token_count is not None:
                report = {"promptTokenCount": said.token_count}
            usage = believable(Usage(count_of(report, "promptTokenCount"))) if report else None
        except UNREADABLE as error:
            raise BadAnswer(f"not an embedding: {error}") from error
        except UsageContradiction as error:
            return Answer(None, "", "", 0, note=str(error))
        return Answer(usage, "", "", 0)

    def reader(self) -> ContentReader:
        """Return a reader for a stream that nobody asked for."""
        return GEMINI.reader()

    def error_body(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as Google does."""
        return GEMINI.error_body(refusal, call_name)

    def error_event(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as the event that ends a stream."""
        return GEMINI.error_event(refusal, call_name)

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage the way `usageMetadata` does."""
        return {"promptTokenCount": usage.input_total}


class GeminiEmbedMany(GeminiEmbed):
    """Be the protocol for many contents at once."""

    protocol: ClassVar[Protocol] = Protocol.gemini_embed_batch
    method: ClassVar = MANY_METHOD

    def _read(self, fields: dict[str, Any]) -> tuple[int, int]:
        """Return the size of what is to be embedded in bytes, and how many contents it is."""
        if "requests" not in fields:
            raise BadRequest("expected a list of requests in `requests`", param="requests")
        requests = _requests.decode(fields["requests"])
        if not all("content" in each for each in requests):
            raise BadRequest("expected a content in each of `requests`", param="requests")
        return sum(len(each["content"]) for each in requests), len(requests)

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, where each request names the model as the path does."""
        fields = read_fields(body)
        named = {"model": f"models/{model}"}
        return write_fields(fields | {"requests": [each | named for each in _requests.decode(fields["requests"])]})


GEMINI_EMBED: Final = GeminiEmbed()
GEMINI_EMBED_MANY: Final = GeminiEmbedMany()
