"""Read Gemini's batches, whose requests come with the batch and whose answers come with what is said of it.

Requests have no names there: an answer is of the request that stands in its place. A batch has a name its owner chose;
ours is written behind it, so that one that was lost on the way is found again. Source: https://ai.google.dev/api/batch-api
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from bursar.core import records
from bursar.core.errors import BadRequest
from bursar.wires.batch import Asked, Result, State, read_by
from bursar.wires.gemini import GEMINI, Fields, named
from bursar.wires.gemini_embed import GEMINI_EMBED
from bursar.wires.wire import UNREADABLE, Wire, bad_request, read_fields, write_fields

METHODS: Final[Mapping[str, Wire]] = {"batchGenerateContent": GEMINI, "asyncBatchEmbedContent": GEMINI_EMBED}
"""What makes a batch of a model, and the protocol of its requests."""

_OWN: Final = re.compile(r" ?\[bursar_batch (\w{1,64})\]$")
_PASSED: Final = ("priority",)
_KNOWN: Final = ("displayName", "inputConfig", "model", *_PASSED)  # the model is the path's
_ENDED: Final = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")


class _Stats(msgspec.Struct, rename="camel"):
    request_count: int = 0
    successful_request_count: int = 0
    failed_request_count: int = 0


class _One(msgspec.Struct):
    response: msgspec.Raw = msgspec.Raw(b"")


class _Inlined(msgspec.Struct, rename="camel"):
    inlined_responses: list[_One] = []


class _Output(msgspec.Struct, rename="camel"):
    responses_file: str | None = None
    inlined_responses: _Inlined | None = None
    inlined_embed_content_responses: _Inlined | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    state: str = ""
    display_name: str = ""
    output: _Output | None = None
    batch_stats: _Stats | None = None


class _Operation(msgspec.Struct):
    name: str
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    done: bool = False
    response: _Output | None = None


class _List(msgspec.Struct):
    operations: list[_Operation] = []


_operation: Final = msgspec.json.Decoder(_Operation, strict=False)  # proto3's JSON writes 64 bits as text
_list: Final = msgspec.json.Decoder(_List, strict=False)
_raws: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)


class GeminiBatch:
    """Be Gemini's batches."""

    protocol: ClassVar = records.Protocol.gemini_batch

    def state(self, answer: bytes) -> State:
        """Read a batch."""
        return _state(read_by(_operation, answer))

    def states(self, answer: bytes) -> list[State]:
        """Read a list of batches."""
        return [_state(each) for each in read_by(_list, answer).operations]

    def result(self, line: bytes) -> Result:
        """Say that there is no file of results here."""
        raise BadRequest(f"expected answers with the batch, and not {len(line)} bytes of a file")

    def path(self, provider_id: str) -> str:
        """Return where a batch is."""
        return f"/batches/{provider_id}"

    def list_path(self) -> str:
        """Return where the latest batches are listed."""
        return "/batches?pageSize=100"


def _state(operation: _Operation) -> State:
    about, stats = operation.metadata, operation.metadata.batch_stats
    word, own = about.state.rpartition("STATE_")[2], _OWN.search(about.display_name)
    output = about.output or operation.response or _Output()
    inlined = output.inlined_responses or output.inlined_embed_content_responses
    answers = inlined.inlined_responses if inlined is not None else []
    told = inlined is not None or stats is not None or word == "FAILED"  # what says nothing may have been billed
    return State(
        operation.name.removeprefix("batches/"),
        operation.done or word in _ENDED,
        results=tuple(
            Result(str(place), bytes(each.response) if bytes(each.response) not in (b"", b"null") else None)
            for place, each in enumerate(answers)
        ),
        own_name=own[1] if own else "",
        answered=stats.successful_request_count if stats is not None else None,
        failed=stats.failed_request_count if stats is not None else 0,
        lacks=output.responses_file is not None or not told,
    )


class Wish(msgspec.Struct, frozen=True):
    """Be a batch that somebody wants: its requests, what belongs to each, and what else it says."""

    asked: tuple[Asked, ...]
    metadata: tuple[msgspec.Raw | None, ...]
    display_name: str
    more: Fields


def read_wish(body: bytes, target: str) -> Wish:
    """Read a request to `{model}:{method}` that makes a batch, its names in either spelling.

    Raises `BadRequest` naming the field.
    """
    model, _, method = target.rpartition(":")
    try:
        batch = _below(read_fields(body), "batch")
        config = _below(batch, "inputConfig")
        for name in batch:
            if name not in _KNOWN:
                raise BadRequest(f"expected only {', '.join(_KNOWN)} in `batch`", param="batch")
        if "fileName" in config:
            raise BadRequest(
                "a batch is read here before it is made, and a file of Gemini's is not: send its lines inline, in"
                " `batch.inputConfig.requests`",
                param="batch.inputConfig.fileName",
            )
        pairs = [_request(raw, model) for raw in _raws.decode(_below(config, "requests").get("requests", b"[]"))]
        display_name = _text.decode(batch["displayName"]) if "displayName" in batch else ""
    except UNREADABLE as error:
        raise bad_request(error) from None
    if not pairs:
        raise BadRequest("expected at least one request in `requests`", param="batch.inputConfig.requests")
    wire, one = METHODS[method], f"{model}:{METHODS[method].path(model, stream=False).rpartition(':')[2]}"
    asked = tuple(Asked(str(place), wire, request, one) for place, (request, _) in enumerate(pairs))
    more = {name: batch[name] for name in _PASSED if name in batch}
    return Wish(asked, tuple(metadata for _, metadata in pairs), display_name, more)


def _below(fields: Fields, name: str) -> Fields:
    found = named(fields)
    if name not in found:
        raise BadRequest(f"expected an object in `{name}`", param=name)
    return named(read_fields(found[name]))


def _request(raw: msgspec.Raw, model: str) -> tuple[bytes, msgspec.Raw | None]:
    """Return what is asked by one of the requests, and what belongs to it. Raises `BadRequest`."""
    fields = named(read_fields(raw))
    if "request" not in fields:
        raise BadRequest("expected an object in `request`", param="request")
    own = named(read_fields(fields["request"])).get("model")
    if own is not None and _text.decode(own).removeprefix("models/") != model:
        raise BadRequest("expected the model of the batch in `model`: make a batch of each", param="model")
    return bytes(fields["request"]), fields.get("metadata")


def write_wish(wish: Wish, bodies: Sequence[bytes], name: str) -> bytes:
    """Return a batch as it is sent, each field once, its requests as they were checked, behind its name our own."""
    requests: list[Any] = []
    for body, metadata in zip(bodies, wish.metadata, strict=True):
        request = {"request": msgspec.Raw(body)}
        requests.append(request if metadata is None else {**request, "metadata": metadata})
    shown = f"{wish.display_name} [bursar_batch {name}]".lstrip()
    batch = {**wish.more, "displayName": shown, "inputConfig": {"requests": {"requests": requests}}}
    return write_fields({"batch": batch})


def shown(answer: bytes) -> bytes:
    """Return what a provider says of a batch as its owner is to see it."""
    if b"[bursar_batch " not in answer:
        return answer
    fields: dict[str, Any] = dict(read_fields(answer))
    about: dict[str, Any] = dict(read_fields(fields.get("metadata", b"{}")))
    if "displayName" in about:
        about["displayName"] = _OWN.sub("", _text.decode(about["displayName"]))
    return write_fields({**fields, "metadata": about})


GEMINI_BATCH: Final = GeminiBatch()
