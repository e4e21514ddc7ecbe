"""Read Anthropic's message batches, whose requests come with the batch and whose results are a file of JSON lines."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec

from bursar.core import records
from bursar.core.errors import BadRequest
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.batch import Asked, Result, State, check_custom_id, read_by
from bursar.wires.wire import read_fields, write_fields


class _Request(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Wish(msgspec.Struct):
    requests: list[_Request]


class _Counts(msgspec.Struct, frozen=True):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class _Batch(msgspec.Struct):
    id: str
    processing_status: str
    request_counts: _Counts = _Counts()
    results_url: str | None = None
    created_at: str = ""


class _List(msgspec.Struct):
    data: list[_Batch]


class _Said(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"")


class _Line(msgspec.Struct):
    custom_id: str
    result: _Said


_wish = msgspec.json.Decoder(_Wish)
_batch = msgspec.json.Decoder(_Batch)
_list = msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)


class MessageBatch:
    """Be Anthropic's batches. They bear no name of ours: a lost one is known by its time and its size."""

    protocol: ClassVar = records.Protocol.anthropic_batch

    def state(self, answer: bytes) -> State:
        """Read a batch."""
        return _state(read_by(_batch, answer))

    def states(self, answer: bytes) -> list[State]:
        """Read a list of batches."""
        return [_state(each) for each in read_by(_list, answer).data]

    def result(self, line: bytes) -> Result:
        """Read a line of the results."""
        read = read_by(_line, line)
        return Result(read.custom_id, bytes(read.result.message) if read.result.type == "succeeded" else None)

    def path(self, provider_id: str) -> str:
        """Return where a batch is."""
        return f"/messages/batches/{provider_id}"

    def list_path(self) -> str:
        """Return where the latest batches are listed."""
        return "/messages/batches?limit=100"


def read_requests(body: bytes) -> list[Asked]:
    """Read the requests of a batch that is to be made. Raises `BadRequest` naming the field."""
    asked: list[Asked] = []
    for each in read_by(_wish, body).requests:
        check_custom_id(each.custom_id)
        asked.append(Asked(each.custom_id, ANTHROPIC_MESSAGES, bytes(each.params)))
    return asked


def with_params(body: bytes, bodies: Sequence[bytes]) -> bytes:
    """Return a wish for a batch with the requests that are sent, each field once."""
    requests: list[Any] = []
    for raw, changed in zip(msgspec.json.decode(body, type=_Raws).requests, bodies, strict=True):
        requests.append({"custom_id": read_fields(bytes(raw))["custom_id"], "params": msgspec.Raw(changed)})
    return write_fields({**read_fields(body), "requests": requests})


def shown(answer: bytes, results_path: str) -> bytes:
    """Return what a provider says of a batch, its results to be found at a path of our own."""
    fields = read_fields(answer)
    if bytes(fields.get("results_url", b"null")) == b"null":
        return answer
    return write_fields({**fields, "results_url": results_path})


class _Raws(msgspec.Struct):
    requests: list[msgspec.Raw]


def _state(batch: _Batch) -> State:
    counts, ended = batch.request_counts, batch.processing_status == "ended"
    total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
    paths = (f"/messages/batches/{batch.id}/results",) if ended else ()
    return State(
        batch.id,
        ended,
        paths,
        request_count=total,
        created=batch.created_at,
        answered=counts.succeeded,
        failed=counts.errored,
    )


def check_not_empty(asked: list[Asked]) -> None:
    """Check that a batch has requests. Raises `BadRequest`."""
    if not asked:
        raise BadRequest("expected at least one request in `requests`", param="requests")


MESSAGE_BATCH: Final = MessageBatch()
