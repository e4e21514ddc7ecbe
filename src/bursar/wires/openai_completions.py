"""Speak OpenAI's older completions: a text goes on, without turns. vLLM and many others still serve it."""

from typing import ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest
from bursar.core.records import TEXT_METERS, Protocol, Segments, Traits
from bursar.wires.openai_chat import CHOICES_MAX, OPENAI_CHAT
from bursar.wires.plain import PlainWire, prompt_bytes, read_request
from bursar.wires.wire import (
    NO_MEDIA,
    OFF,
    Answer,
    Facts,
    Resold,
    check_cap,
    check_resold,
    read_fields,
    utf8_len,
    write_fields,
)

DEFAULT_CAP: Final = 16
"""Tokens a completion has at most where its request does not say ("Create completion", checked 2026-11-22)."""
PROMPTS_MAX: Final = 2_048


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(Resold, kw_only=True):
    model: str
    prompt: msgspec.Raw = msgspec.Raw(b'""')
    suffix: str | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_request: Final = msgspec.json.Decoder(_Request)
_TRAITS: Final = Traits(writes_cache_5m=True)
_NULL: Final = b"null"


class OpenAICompletions(PlainWire):
    """Be the protocol."""

    protocol: ClassVar = Protocol.openai_completions
    route: ClassVar = "/v1/completions"
    meters: ClassVar = TEXT_METERS
    caps: ClassVar = True

    def facts(self, body: bytes, target: str = "") -> Facts:  # noqa: ARG002
        """Read a request. Raises `BadRequest` naming the field and the kind of value expected."""
        request: _Request = read_request(_request, body)
        check_resold(request)
        absent = bytes(request.prompt) in OFF
        size, prompts = (1, 1) if absent else prompt_bytes(request.prompt, "prompt")
        size += utf8_len(request.suffix or "")
        choices = max(request.n or 1, request.best_of or 1)
        for name, given in (("n", request.n), ("best_of", request.best_of)):
            if given is not None and not 1 <= given <= CHOICES_MAX:
                raise BadRequest(f"expected an integer from 1 to {CHOICES_MAX} in `{name}`, got {given}", param=name)
        if prompts > PROMPTS_MAX:
            raise BadRequest(f"expected at most {PROMPTS_MAX} prompts in `prompt`, got {prompts}", param="prompt")
        if request.max_tokens:
            check_cap(request.max_tokens, "max_tokens")
        cap = DEFAULT_CAP if request.max_tokens is None else max(1, request.max_tokens)
        options = request.stream_options
        return Facts(
            request.model,
            bool(request.stream),
            options is not None and bool(options.include_usage),
            cap,
            choices * prompts,
            Segments(user=size),
            size + prompts,  # some begin each prompt with a token of their own
            NO_MEDIA,
            _TRAITS,
            prompts=prompts,
        )

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, with model, output cap and usage wish as decided.

        The cap is always said: what a provider takes for none may be without end.
        """
        fields = read_fields(body)
        fields["model"] = model
        if bytes(fields.get("max_tokens", _NULL)) == _NULL or cap != facts.output_cap:
            fields["max_tokens"] = cap
        if facts.stream and not facts.wants_usage:
            fields["stream_options"] = {"include_usage": True}
        return write_fields(fields)

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        return OPENAI_CHAT.answer(body)


OPENAI_COMPLETIONS: Final = OpenAICompletions()
