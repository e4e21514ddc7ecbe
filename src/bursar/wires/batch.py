"""Read batches: the requests they ask, how far they are, and their results; one reader a provider's protocol.

A batch's requests and answers are those of an ordinary protocol, each within an envelope of the batch's own.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final, Protocol

import msgspec

from bursar.core import records
from bursar.core.errors import BadRequest, Unmetered
from bursar.wires.protocols import WIRES
from bursar.wires.wire import UNREADABLE, Wire, bad_request, is_report, read_fields, write_fields

OWN_FIELD: Final = "bursar_batch"
"""Where a batch's metadata at OpenAI says which batch of ours it is. Its owner does not see it."""

REQUESTS_MAX: Final = 100_000
METADATA_MAX: Final = 16
_CUSTOM_ID_CHARS_MAX: Final = 512
_ID: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class Asked(msgspec.Struct, frozen=True):
    """Be one request of a batch: its name within it, and what an ordinary call would send."""

    custom_id: str
    wire: Wire
    body: bytes
    target: str = ""  # where a protocol says in its path what others say in the body


class Result(msgspec.Struct, frozen=True):
    """Be what became of one request: its answer, or none where it failed or was not asked any more."""

    custom_id: str
    body: bytes | None


class State(msgspec.Struct, frozen=True):
    """Say how far a batch is: whether it has ended, and where below the provider's address its results are."""

    provider_id: str
    ended: bool
    paths: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # ids of files its owner may fetch
    results: tuple[Result, ...] = ()  # those it brings itself
    own_name: str = ""  # which batch of ours it says it is
    request_count: int = 0
    created: str = ""
    answered: int | None = None  # how many requests its provider says it has answered; none where it does not say
    failed: int = 0  # and how many have failed
    lacks: bool = False  # its results are somewhere they cannot be read


class BatchWire(Protocol):
    """Be the batches of one provider's protocol. Stateless."""

    protocol: ClassVar[records.Protocol]

    def state(self, answer: bytes) -> State:
        """Read what a provider says of a batch. Raises `BadRequest` for what is none."""
        ...

    def states(self, answer: bytes) -> list[State]:
        """Read a provider's list of batches. Raises `BadRequest` for what is none."""
        ...

    def result(self, line: bytes) -> Result:
        """Read a line of a file of results. Raises `BadRequest` for what is none."""
        ...

    def path(self, provider_id: str) -> str:
        """Return where below a provider's address a batch is."""
        ...

    def list_path(self) -> str:
        """Return where below a provider's address its latest batches are listed."""
        ...


class _Line(msgspec.Struct):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


class _Response(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"")


class _ResultLine(msgspec.Struct):
    custom_id: str
    response: _Response | None = None


class _Counts(msgspec.Struct, frozen=True):
    completed: int | None = None
    failed: int | None = None


class _Batch(msgspec.Struct):
    id: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    metadata: dict[str, Any] | None = None
    created_at: int = 0
    request_counts: _Counts | None = None


class _List(msgspec.Struct):
    data: list[_Batch]


_line = msgspec.json.Decoder(_Line)
_result = msgspec.json.Decoder(_ResultLine)
_batch = msgspec.json.Decoder(_Batch)
_list = msgspec.json.Decoder(_List)

_TAKEN: Final = (
    records.Protocol.openai_chat,
    records.Protocol.openai_responses,
    records.Protocol.openai_completions,
    records.Protocol.openai_embeddings,
    records.Protocol.openai_moderations,
)
WIRE_OF_URL: Final[dict[str, Wire]] = {WIRES[each].route: WIRES[each] for each in _TAKEN}
"""What a request of an OpenAI batch may be, by its url."""

_ENDED: Final = ("completed", "failed", "expired", "cancelled")


class OpenAIBatch:
    """Be OpenAI's batches, whose requests and results are files of JSON lines."""

    protocol: ClassVar = records.Protocol.openai_batch

    def state(self, answer: bytes) -> State:
        """Read a batch."""
        return _state(read_by(_batch, answer))

    def states(self, answer: bytes) -> list[State]:
        """Read a list of batches."""
        return [_state(each) for each in read_by(_list, answer).data]

    def result(self, line: bytes) -> Result:
        """Read a line of an output or error file."""
        read = read_by(_result, line)
        answered = read.response is not None and read.response.status_code == 200
        return Result(read.custom_id, bytes(read.response.body) if answered and read.response else None)

    def path(self, provider_id: str) -> str:
        """Return where a batch is."""
        return f"/batches/{provider_id}"

    def list_path(self) -> str:
        """Return where the latest batches are listed."""
        return "/batches?limit=100"


def _state(batch: _Batch) -> State:
    said = [each for each in (batch.output_file_id, batch.error_file_id) if each]
    named = [each for each in said if is_id(each)]
    ended, counts = batch.status in _ENDED, batch.request_counts or _Counts()
    own = (batch.metadata or {}).get(OWN_FIELD)
    return State(
        batch.id,
        ended,
        tuple(f"/files/{each}/content" for each in named) if ended else (),
        tuple(named),
        own_name=own if isinstance(own, str) else "",
        answered=counts.completed,
        failed=counts.failed or 0,
        lacks=len(named) < len(said) or (batch.status == "completed" and counts.completed is None and not said),
    )


def is_id(text: str) -> bool:
    """Tell whether a text can be a provider's id, in an address as it is."""
    return _ID.fullmatch(text) is not None and text not in (".", "..")


def read_line(line: bytes) -> Asked:
    """Read one line of an OpenAI batch's input. Raises `BadRequest` naming the field, `Unmetered` without a meter."""
    try:
        read = _line.decode(line)
    except UNREADABLE as error:
        raise bad_request(error) from None
    if read.method.upper() != "POST":
        raise BadRequest("expected POST in `method`", param="method")
    check_custom_id(read.custom_id)
    wire = WIRE_OF_URL.get(read.url)
    if wire is None:
        known = ", ".join(WIRE_OF_URL)
        raise Unmetered(f"`url` is none there is a meter for within a batch: expected one of {known}", param="url")
    return Asked(read.custom_id, wire, bytes(read.body))


def write_line(line: bytes, body: bytes) -> bytes:
    """Return a line as it was read, with the body that is sent: each field once, and none besides.

    A carriage return can only be white space here, and some readers take it for the end of a line.
    """
    fields = read_fields(line)
    named = {"custom_id": fields["custom_id"], "method": "POST", "url": fields["url"], "body": msgspec.Raw(body)}
    return write_fields(named).replace(b"\r", b" ")


def check_custom_id(custom_id: str) -> None:
    """Check the name of a request within its batch. Raises `BadRequest`."""
    if not 0 < len(custom_id) <= _CUSTOM_ID_CHARS_MAX:
        raise BadRequest(f"expected 1 to {_CUSTOM_ID_CHARS_MAX} characters in `custom_id`", param="custom_id")


def lines_of(content: bytes) -> Iterator[bytes]:
    """Return the lines of a file that are not empty."""
    begin = 0
    while begin < len(content):
        end = content.find(b"\n", begin)
        end = len(content) if end < 0 else end
        if line := content[begin:end].strip():
            yield line
        begin = end + 1


class _Wanted(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


_wanted = msgspec.json.Decoder(_Wanted)


def read_wish(body: bytes) -> tuple[str, str]:
    """Read a request to make a batch: its input file and endpoint. Raises `BadRequest` naming the field."""
    wanted = read_by(_wanted, body)
    if len(wanted.metadata or ()) >= METADATA_MAX:
        raise BadRequest(f"expected at most {METADATA_MAX - 1} keys: one more is Bursar's own", param="metadata")
    if OWN_FIELD in (wanted.metadata or ()):
        raise BadRequest(f"{OWN_FIELD} is Bursar's own: leave it out", param="metadata")
    if not is_id(wanted.input_file_id):
        raise BadRequest("expected the id of a file, such as file-abc123", param="input_file_id")
    return wanted.input_file_id, wanted.endpoint


def with_own_name(body: bytes, name: str) -> bytes:
    """Return a request to make a batch, or a batch's own metadata, that says which batch of ours it is."""
    fields = read_fields(body)
    raw = bytes(fields.get("metadata", b"null"))
    metadata: dict[str, Any] = {} if raw == b"null" else msgspec.json.decode(raw)
    return write_fields({**fields, "metadata": metadata | {OWN_FIELD: name}})


def without_own_name(answer: bytes) -> bytes:
    """Return what a provider says of a batch as its owner is to see it."""
    if OWN_FIELD.encode() not in answer:
        return answer
    fields: dict[str, Any] = dict(read_fields(answer))
    metadata = msgspec.json.decode(fields.get("metadata", b"null"))
    if is_report(metadata):
        metadata.pop(OWN_FIELD, None)
        fields["metadata"] = metadata or None
    return write_fields(fields)


def read_by(decoder: "msgspec.json.Decoder[Any]", text: bytes) -> Any:
    """Read what a client or a provider says of a batch. Raises `BadRequest`."""
    try:
        return decoder.decode(text)
    except UNREADABLE as error:
        raise bad_request(error) from None


def first_duplicate(names: Iterable[str]) -> int | None:
    """Return the place of the first name that was there before, from 0."""
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name in seen:
            return place
        seen.add(name)
    return None


OPENAI_BATCH: Final = OpenAIBatch()
