"""Write a provider's error in the shape of the client's protocol."""

from typing import Any, Final, cast

import msgspec

from bursar.core.records import Protocol
from bursar.wires.anthropic_messages import error_type
from bursar.wires.neutral import JsonObject
from bursar.wires.wire import UNREADABLE

_encode: Final = msgspec.json.Encoder().encode

_OPENAI: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_GOOGLE: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def translate_error(status: int, body: bytes, target: Protocol) -> bytes:
    """Return a provider's error for a client of another protocol.

    Its message is kept, and its own name for the error as `code`; the type is the client's protocol's for the status.
    A body of no known shape is not passed on: it may be a page of a proxy's.
    """
    error = _error_of(body)
    message = _message_of(error) or f"the provider answered with status {status}"
    names = (error.get(name) for name in ("code", "status", "type"))
    code = next((name for name in names if isinstance(name, str) and name), None)
    return write_error(status, message, code, target)


def write_error(status: int, message: str, code: str | None, target: Protocol) -> bytes:
    """Write an error as a protocol does."""
    client_erred = status < 500
    match target:
        case Protocol.anthropic_messages:
            said = {"type": error_type(status), "message": message, "code": code}
            return _encode({"type": "error", "error": said})
        case Protocol.gemini:
            kind = _GOOGLE.get(status, "INVALID_ARGUMENT" if client_erred else "INTERNAL")
            error: JsonObject = {"code": status, "message": message, "status": kind}
            if code:
                info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code}
                error["details"] = [info]
            return _encode({"error": error})
        case _:  # OpenAI's, all alike
            kind = _OPENAI.get(status, "invalid_request_error" if client_erred else "server_error")
            return _encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _error_of(body: bytes) -> JsonObject:
    try:
        value: Any = msgspec.json.decode(body)
    except UNREADABLE:
        return {}
    if isinstance(value, list) and value:  # Google's, of a stream
        value = cast("list[Any]", value)[0]
    error: object = cast(JsonObject, value).get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        return {"message": error}
    if error is None and isinstance(value, dict) and ("message" in value or "detail" in value):
        return cast(JsonObject, value)  # flat, as Mistral, SGLang, older vLLM and AWS write it
    return cast(JsonObject, error) if isinstance(error, dict) else {}


def _message_of(error: JsonObject) -> str:
    """Return what an error says; of a body that was not understood (pydantic's `detail`) where and what; else empty."""
    said: object = error.get("message") or error.get("detail")
    if isinstance(said, dict):
        said = cast(JsonObject, said).get("detail")
    if isinstance(said, list):
        found = [cast(JsonObject, each) for each in cast("list[object]", said) if isinstance(each, dict)]
        return "; ".join(f"{each.get('msg')}{_place_of(each.get('loc'))}" for each in found if each.get("msg"))
    return said if isinstance(said, str) else ""


def _place_of(path: object) -> str:
    """Name the field that a path into a body leads to; empty for none."""
    words = [str(word) for word in cast("list[object]", path) if word != "body"] if isinstance(path, list) else []
    return f" in `{'.'.join(words)}`" if words else ""
