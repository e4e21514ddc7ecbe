"""Be what OpenAI's calls that are answered in one piece have in common: a model's name in, an object with usage out."""

from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec

from bursar.core.errors import BadRequest, Refusal
from bursar.core.records import Meters, Protocol
from bursar.core.usage import Usage
from bursar.wires.openai_chat import OPENAI_CHAT, ChatReader, answer_of
from bursar.wires.wire import (
    ABSENT,
    UNREADABLE,
    Answer,
    BadAnswer,
    Facts,
    UsageReport,
    bad_request,
    check_model,
    edit_body,
)


class _Answer(msgspec.Struct):
    model: str | None = None
    usage: msgspec.Raw = ABSENT


_answer: Final = msgspec.json.Decoder(_Answer)


class PlainWire:
    """Be a protocol of OpenAI's without output cap or stream of its own; a subclass says how a request is read."""

    protocol: ClassVar[Protocol]
    route: ClassVar[str]
    meters: ClassVar[Meters]
    estimates: ClassVar = True
    multipart: ClassVar = False
    caps: ClassVar = False
    comments: ClassVar = True

    def path(self, model: str, *, stream: bool) -> str:  # noqa: ARG002
        """Return where calls go, whatever their model."""
        return self.route.removeprefix("/v1")

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the body to send: the client's, with the model as decided, and each field once, as it was read."""
        return edit_body(body, {"model": model})

    def answer(self, body: bytes) -> Answer:
        """Read a whole JSON answer. Raises `BadAnswer` when it is none."""
        try:
            read = _answer.decode(body)
        except UNREADABLE as error:
            raise BadAnswer(f"not an answer of {self.route}: {error}") from error
        report = bytes(read.usage)
        answered = _usual if len(report) <= _USUAL_BYTES_MAX else _answered
        return answered(report, read.model or "")

    def reader(self) -> ChatReader:
        """Return a reader for a stream that nobody asked for: what it says of usage is read as a chat's."""
        return OPENAI_CHAT.reader()

    def error_body(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as OpenAI does on all its routes."""
        return OPENAI_CHAT.error_body(refusal, call_name)

    def error_event(self, refusal: Refusal, call_name: str) -> bytes:
        """Write a refusal as the event that ends a stream."""
        return OPENAI_CHAT.error_event(refusal, call_name)

    def usage_report(self, usage: Usage) -> UsageReport:
        """Write usage as it is reported where nothing is written."""
        return {"prompt_tokens": usage.input_total, "total_tokens": usage.input_total}


def _answered(report: bytes, model: str) -> Answer:
    return answer_of(report, model, "", 0, whole=True)


_USUAL_BYTES_MAX: Final = 128
_usual: Final = lru_cache(maxsize=4_096)(_answered)
"""Reports of calls that are billed by their input alone are one number said twice, and the same ones come again."""


class FormWire(PlainWire):
    """Be a protocol whose requests are forms with files."""

    estimates: ClassVar = False
    multipart: ClassVar = True

    def upstream_body(self, body: bytes, facts: Facts, model: str, cap: int, cap_field: str) -> bytes:  # noqa: ARG002
        """Return the form to send: the client's, with the model as decided."""
        if model == facts.model:
            return body
        assert facts.form is not None
        return facts.form.with_field(body, "model", model)


def read_request(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    """Read a request that names a model. Raises `BadRequest` naming the field and the kind of value expected."""
    try:
        request = decoder.decode(body)
    except UNREADABLE as error:
        raise bad_request(error) from None
    check_model(request.model)
    return request


def prompt_bytes(given: msgspec.Raw, name: str) -> tuple[int, int]:
    """Return how many bytes bound the tokens of a prompt, and how many prompts there are.

    A prompt is a text, a list of texts, a list of tokens, or a list of such lists: JSON never takes fewer bytes than
    the text it stands for, and tokens that are given as numbers are counted by the commas. Raises `BadRequest`.
    """
    data = bytes(given)
    if data[:1] == b'"':
        return len(data) - 2, 1
    if data[:1] != b"[":
        raise BadRequest(f"expected a text, or a list of texts or tokens, in `{name}`", param=name)
    if b'"' in data:
        return len(data), len(_read_list(data, name))
    nested = data.count(b"[") - 1
    return data.count(b",") + 1, nested or 1


def _read_list(data: bytes, name: str) -> list[str]:
    try:
        return _texts.decode(data)
    except UNREADABLE:
        raise BadRequest(f"expected texts alone in the list `{name}`", param=name) from None


_texts: Final = msgspec.json.Decoder(list[str])
