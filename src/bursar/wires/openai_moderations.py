"""Speak OpenAI's moderations: free where they come from, billed by the input at some who offer them too."""

from typing import ClassVar, Final

import msgspec

from bursar.core.records import Protocol, Segments, Traits
from bursar.wires.plain import PlainWire, read_request
from bursar.wires.wire import NO_MEDIA, Facts, edit_body

DEFAULT_MODEL: Final = "omni-moderation-latest"
"""What OpenAI takes where a request names no model ("Create moderation", checked 2026-11-22)."""


class _Request(msgspec.Struct):
    input: msgspec.Raw
    model: str = DEFAULT_MODEL


_request: Final = msgspec.json.Decoder(_Request)
_TRAITS: Final = Traits(meters=(("input_tokens",), ()))
_NO_STREAM: Final = False


class OpenAIModerations(PlainWire):
    """Be the protocol."""

    protocol: ClassVar = Protocol.openai_moderations
    route: ClassVar = "/v1/moderations"
    meters: ClassVar = _TRAITS.meters

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        request: _Request = read_request(_request, body)
        size = len(request.input)
        return Facts(request.model, _NO_STREAM, True, None, 0, Segments(user=size), size, NO_MEDIA, _TRAITS)  # noqa: FBT003

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, with the model as decided, always named."""
        return edit_body(body, {"model": model})


OPENAI_MODERATIONS: Final = OpenAIModerations()
