"""Speak OpenAI's embeddings, as every compatible provider does: text in, vectors out, billed by the input alone."""

from typing import ClassVar, Final

import msgspec

from bursar.core.records import Protocol, Segments, Traits
from bursar.wires.plain import PlainWire, prompt_bytes, read_request
from bursar.wires.wire import NO_MEDIA, Facts


class _Request(msgspec.Struct):
    model: str
    input: msgspec.Raw


_request: Final = msgspec.json.Decoder(_Request)
_TRAITS: Final = Traits(meters=(("input_tokens",),))
_NO_STREAM: Final = False


class OpenAIEmbeddings(PlainWire):
    """Be the protocol."""

    protocol: ClassVar = Protocol.openai_embeddings
    route: ClassVar = "/v1/embeddings"
    meters: ClassVar = _TRAITS.meters

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        request: _Request = read_request(_request, body)
        size, texts = prompt_bytes(request.input, "input")
        segments = Segments(user=size)
        return Facts(request.model, _NO_STREAM, True, None, 0, segments, size, NO_MEDIA, _TRAITS, prompts=texts)  # noqa: FBT003

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:
        """Return the body to send: the client's, untouched where no field that is billed can stand in it twice."""
        once = body.count(b'"model"') == body.count(b'"input"') == 1 and b"\\u" not in body
        return body if once and model == facts.model else super().upstream_body(body, facts, model, cap, cap_field)


OPENAI_EMBEDDINGS: Final = OpenAIEmbeddings()
