"""Keep Gemini's batches in memory as `sandbox.batches` does others', with their answers in what is said of a batch."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from bursar.core.errors import NotFound, Refusal
from bursar.sandbox.batches import Batches, Play, Stored
from bursar.sandbox.play import read_direction, tokens_of
from bursar.wires.batch_gemini import METHODS
from bursar.wires.wire import edit_body

_PREFIX: Final = "gemini-"
_LIST: Final = b"pageSize="
_CALLS: Final = tuple(f":{method}" for method in METHODS)
_OUTPUTS: Final = {
    "batchGenerateContent": "inlinedResponses",
    "asyncBatchEmbedContent": "inlinedEmbedContentResponses",
}


def is_geminis(path: str, query: bytes) -> bool:
    """Tell whether what is asked is of Gemini's batches: they share their path with OpenAI's."""
    return path.endswith(_CALLS) or f"/batches/{_PREFIX}" in path or (path.endswith("/batches") and _LIST in query)


class GeminiStore:
    """Be Gemini's batches."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._batches = Batches(_PREFIX)

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        """Answer a request to a path of models or of batches. Raises a `Refusal`."""
        if path.endswith(_CALLS):
            return self._make(path.partition("/models/")[2], body)
        name, _, action = path.partition("/batches/")[2].partition(":")
        match (method, name, action):
            case ("GET", "", ""):
                operations = [self._shown(each) for each in self._batches.latest()]
                return msgspec.json.encode({"operations": operations[:100]})
            case ("GET", _, ""):
                batch = self._batches.find(name)
                self._batches.look(batch, lambda request: self._answered(batch, request))
                return msgspec.json.encode(self._shown(batch))
            case ("POST", _, "cancel"):
                batch = self._batches.find(name)
                self._batches.cancel(batch, lambda request: self._answered(batch, request))
                return b"{}"
            case ("DELETE", _, ""):
                self._batches.find(name)
                self._batches.forget(name)
                return b"{}"
            case _:
                raise NotFound(f"the sandbox has no {method} {path}")

    def _make(self, target: str, body: bytes) -> bytes:
        model, _, method = target.rpartition(":")
        wanted = msgspec.json.decode(body)["batch"]
        fields = {"model": f"models/{model}", "displayName": wanted["displayName"], "method": method}
        fields["createTime"] = datetime.now(UTC).isoformat()
        batch = self._batches.make(wanted["inputConfig"]["requests"]["requests"], body, fields)
        return msgspec.json.encode(self._shown(batch))

    def _answered(self, batch: Stored, request: dict[str, Any]) -> bytes:
        wire, model = METHODS[batch.fields["method"]], batch.fields["model"].removeprefix("models/")
        method = wire.path(model, stream=False).rpartition(":")[2]
        asked = request["request"]
        answer = self._play(wire, msgspec.json.encode(asked), f"{model}:{method}")
        text = "".join(str(part.get("text", "")) for part in asked.get("content", {}).get("parts", ()))
        if "content" not in asked or read_direction(text).fault == "silent":
            return answer
        return edit_body(
            answer, {"tokenCount": str(tokens_of(len(text.encode())))}
        )  # told in a batch, and nowhere else

    def _shown(self, batch: Stored) -> dict[str, Any]:
        results, kept = batch.results, dict(batch.fields)
        good = sum(isinstance(result, bytes) for _, result in results or ())
        stats = {"requestCount": str(len(batch.requests))}  # numbers of 64 bits are texts, and what is none is left out
        if good:
            stats["successfulRequestCount"] = str(good)
        if results is not None and good < len(results):
            stats["failedRequestCount"] = str(len(results) - good)
        ended = "CANCELLED" if batch.cancelled else "EXPIRED" if batch.expires else "SUCCEEDED"
        state = "BATCH_STATE_" + ("RUNNING" if results is None else ended)
        output = _OUTPUTS[kept.pop("method")]
        about: dict[str, Any] = {**kept, "state": state, "batchStats": stats}
        shown: dict[str, Any] = {"name": f"batches/{batch.batch_id}", "metadata": about}
        if results is None:
            return shown
        about["output"] = {output: {"inlinedResponses": [_result(*each) for each in results]}}
        return shown | {"done": True, "response": about["output"]}


def _result(request: dict[str, Any], result: bytes | Refusal | None) -> dict[str, Any]:
    said: dict[str, Any] = {"metadata": request["metadata"]} if "metadata" in request else {}
    if isinstance(result, bytes):
        return said | {"response": msgspec.Raw(result)}
    if result is None:
        return said | {"error": {"code": 1, "message": "not answered"}}
    return said | {"error": {"code": 13, "message": result.message}}
