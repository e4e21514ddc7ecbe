"""Keep files and batches as providers do, in memory: a batch ends when it is asked for, and is played then.

The text of its requests steers it as it steers calls, and beside that:

    looks=N             the batch has ended the Nth time it is asked for; 1 by default
    expires             the second half of its requests is not answered in time
    [[fault=500]]       the request fails; `silent` answers without usage

An OpenAI batch's metadata may say `sandbox`: `refuse` refuses it, `stall` takes it and gives no answer, `lost` neither.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest, NotFound, Refusal
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.batch import WIRE_OF_URL, lines_of
from bursar.wires.form import read_form
from bursar.wires.wire import Wire

Play = Callable[[Wire, bytes, str], bytes]
"""Plays one request of a protocol, whose target its path would name, and returns the answer. Raises a `Refusal`."""

_LOOKS: Final = re.compile(rb"\blooks=(\d+)")
_KEPT_S: Final = 30 * 86_400


class Stored(msgspec.Struct):
    """Hold a batch: what it asks, how often it was asked for, and how it ended."""

    batch_id: str
    requests: Sequence[Any]
    looks: int  # until it has ended
    expires: bool
    fields: dict[str, Any]
    results: list[tuple[Any, bytes | Refusal | None]] | None = None  # none: not asked any more
    cancelled: bool = False


class Batches:
    """Hold the batches of one protocol."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._batches: dict[str, Stored] = {}
        self._made = 0

    def make(self, requests: Sequence[Any], text: bytes, fields: dict[str, Any]) -> Stored:
        """Take a batch in."""
        found = _LOOKS.search(text)
        self._made += 1
        name, looks = f"{self._prefix}{self._made:08d}", int(found[1]) if found else 1
        batch = Stored(name, requests, looks, b"expires" in text, fields)
        self._batches[batch.batch_id] = batch
        return batch

    def find(self, batch_id: str) -> Stored:
        """Return a batch. Raises `NotFound`."""
        if batch_id not in self._batches:
            raise NotFound(f"No batch found with id '{batch_id}'.")
        return self._batches[batch_id]

    def look(self, batch: Stored, play: Callable[[Any], bytes]) -> None:
        """Ask for a batch: it may have ended by now."""
        batch.looks -= 1
        if batch.looks <= 0 and batch.results is None:
            self._end(batch, play, len(batch.requests) // 2 if batch.expires else len(batch.requests))

    def cancel(self, batch: Stored, play: Callable[[Any], bytes]) -> None:
        """End a batch early: half of its requests have been answered."""
        if batch.results is None:
            batch.cancelled = True
            self._end(batch, play, len(batch.requests) // 2)

    def forget(self, batch_id: str) -> None:
        """Delete a batch."""
        del self._batches[batch_id]

    def latest(self) -> list[Stored]:
        """Return all batches, the newest first."""
        return list(reversed(self._batches.values()))

    @staticmethod
    def _end(batch: Stored, play: Callable[[Any], bytes], answered: int) -> None:
        batch.results = []
        for number, request in enumerate(batch.requests):
            result: bytes | Refusal | None = None
            if number < answered:
                try:
                    result = play(request)
                except Refusal as refusal:
                    result = refusal
            batch.results.append((request, result))


class OpenAIStore:
    """Be OpenAI's files and batches."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._batches = Batches("batch_")

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        """Answer a request to a path from `/files` or `/batches` on. Raises a `Refusal`."""
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("POST", "files"):
                return self._upload(body)
            case ("GET", "files", file_id):
                return _json(self._file(file_id)[0])
            case ("GET", "files", file_id, "content"):
                return self._file(file_id)[1]
            case ("DELETE", "files", file_id):
                self._file(file_id)
                del self._files[file_id]
                return _json({"id": file_id, "object": "file", "deleted": True})
            case ("POST", "batches"):
                return self._make(msgspec.json.decode(body))
            case ("GET", "batches"):
                data = [self._shown(each) for each in self._batches.latest()]
                return _json({"object": "list", "data": data[:100], "has_more": len(data) > 100})
            case ("GET", "batches", batch_id):
                batch = self._batches.find(batch_id)
                self._batches.look(batch, self._answered)
                return _json(self._shown(batch))
            case ("POST", "batches", batch_id, "cancel"):
                batch = self._batches.find(batch_id)
                self._batches.cancel(batch, self._answered)
                return _json(self._shown(batch))
            case _:
                raise NotFound(f"the sandbox has no {method} {path}")

    def _upload(self, body: bytes) -> bytes:
        form = read_form(body)
        file = form.files("file")[0]
        return _json(self._keep(file.data, form.field("purpose"), file.file_name or ""))

    def _keep(self, content: bytes, purpose: str, filename: str) -> dict[str, Any]:
        file_id, now_s = f"file-{len(self._files) + 1:08d}{time.time_ns() % 1000:03d}", int(time.time())
        about = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": now_s,
            "expires_at": now_s + _KEPT_S,
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self._files[file_id] = about, content
        return about

    def _file(self, file_id: str) -> tuple[dict[str, Any], bytes]:
        if file_id not in self._files:
            raise NotFound(f"No such File object: {file_id}")
        return self._files[file_id]

    def _make(self, wanted: dict[str, Any]) -> bytes:
        _, content = self._file(wanted["input_file_id"])
        lines = [json.loads(line) for line in lines_of(content)]
        if any(line["url"] != wanted["endpoint"] for line in lines):
            raise BadRequest("the url of a line is not the batch's endpoint")
        if (wanted.get("metadata") or {}).get("sandbox") == "refuse":
            raise BadRequest("the sandbox was told to refuse")
        fields = {"input_file_id": wanted["input_file_id"], "endpoint": wanted["endpoint"]}
        fields |= {"completion_window": wanted["completion_window"], "metadata": wanted.get("metadata")}
        return _json(self._shown(self._batches.make(lines, content, fields | {"created_at": int(time.time())})))

    def _answered(self, line: dict[str, Any]) -> bytes:
        return self._play(WIRE_OF_URL[line["url"]], msgspec.json.encode(line["body"]), "")

    def _shown(self, batch: Stored) -> dict[str, Any]:
        results = batch.results
        counts = {"total": len(batch.requests), "completed": 0, "failed": 0}
        if results is not None:
            counts["completed"] = sum(isinstance(result, bytes) for _, result in results)
            counts["failed"] = sum(not isinstance(result, bytes) for _, result in results)
            if "output_file_id" not in batch.fields:
                self._write(batch, results)
        ended = "cancelled" if batch.cancelled else "expired" if batch.expires else "completed"
        status = "in_progress" if results is None else ended
        return {"id": batch.batch_id, "object": "batch", "status": status, "request_counts": counts} | batch.fields

    def _write(self, batch: Stored, results: Sequence[tuple[Any, bytes | Refusal | None]]) -> None:
        """Write the files of results: what was answered, and what was not."""
        good, bad = list[bytes](), list[bytes]()
        for number, (line, result) in enumerate(results):
            about: dict[str, Any] = {"id": f"batch_req_{number}", "custom_id": line["custom_id"], "error": None}
            if isinstance(result, bytes):
                about["response"] = {"status_code": 200, "request_id": f"req_{number}", "body": msgspec.Raw(result)}
                good.append(_json(about))
            elif result is None:
                code = "batch_cancelled" if batch.cancelled else "batch_expired"
                bad.append(_json(about | {"response": None, "error": {"code": code, "message": "not answered"}}))
            else:
                body = {"error": {"message": result.message, "code": result.code}}
                response = {"status_code": result.status, "request_id": f"req_{number}", "body": body}
                bad.append(_json(about | {"response": response}))
        for name, lines in (("output_file_id", good), ("error_file_id", bad)):
            content = b"".join(line + b"\n" for line in lines)
            batch.fields[name] = self._keep(content, "batch_output", f"{name}.jsonl")["id"] if lines else None


class MessageStore:
    """Be Anthropic's message batches."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._batches = Batches("msgbatch_")

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        """Answer a request to a path from `/messages/batches` on. Raises a `Refusal`."""
        _, _, *parts = path.strip("/").split("/")
        match (method, *parts):
            case ("POST",):
                requests, now = msgspec.json.decode(body)["requests"], datetime.now(UTC).isoformat()
                return _json(self._shown(self._batches.make(requests, body, {"created_at": now})))
            case ("GET",):
                data = [self._shown(each) for each in self._batches.latest()]
                return _json({"data": data[:100], "has_more": len(data) > 100, "first_id": None, "last_id": None})
            case ("GET", batch_id):
                batch = self._batches.find(batch_id)
                self._batches.look(batch, self._answered)
                return _json(self._shown(batch))
            case ("POST", batch_id, "cancel"):
                batch = self._batches.find(batch_id)
                self._batches.cancel(batch, self._answered)
                return _json(self._shown(batch))
            case ("GET", batch_id, "results"):
                return b"".join(self._line(*each) + b"\n" for each in self._batches.find(batch_id).results or ())
            case ("DELETE", batch_id):
                self._batches.find(batch_id)
                self._batches.forget(batch_id)
                return _json({"id": batch_id, "type": "message_batch_deleted"})
            case _:
                raise NotFound(f"the sandbox has no {method} {path}")

    def _answered(self, request: dict[str, Any]) -> bytes:
        return self._play(ANTHROPIC_MESSAGES, msgspec.json.encode(request["params"]), "")

    def _shown(self, batch: Stored) -> dict[str, Any]:
        results, total = batch.results, len(batch.requests)
        ended = results is not None
        good = sum(isinstance(result, bytes) for _, result in results or ())
        bad = sum(isinstance(result, Refusal) for _, result in results or ())
        rest = total - good - bad if ended else 0
        counts = {"processing": 0 if ended else total, "succeeded": good, "errored": bad}
        counts |= {"canceled": rest if batch.cancelled else 0, "expired": 0 if batch.cancelled else rest}
        url = f"https://api.anthropic.com/v1/messages/batches/{batch.batch_id}/results"
        about = {"id": batch.batch_id, "type": "message_batch", "request_counts": counts}
        about |= {"processing_status": "ended" if ended else "in_progress", "results_url": url if ended else None}
        nothing = dict.fromkeys(("archived_at", "cancel_initiated_at", "ended_at"))
        return about | nothing | batch.fields | {"expires_at": batch.fields["created_at"]}

    def _line(self, request: dict[str, Any], result: bytes | Refusal | None) -> bytes:
        said: dict[str, Any] = {"type": "expired"}
        if isinstance(result, bytes):
            said = {"type": "succeeded", "message": msgspec.Raw(result)}
        elif isinstance(result, Refusal):
            error = {"type": "error", "error": {"type": "api_error", "message": result.message}, "request_id": None}
            said = {"type": "errored", "error": error}
        return _json({"custom_id": request["custom_id"], "result": said})


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
