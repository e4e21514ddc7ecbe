"""Answer what is no turn of a model: vectors of texts, and whether a text may be said. All follows from the texts."""

import hashlib
from array import array
from base64 import b64encode
from typing import Any, Final

import msgspec

from bursar.core.usage import Usage
from bursar.sandbox.play import TOKEN_BYTES, read_direction, tokens_of

DIMENSIONS: Final = 64
"""How long a vector is where its request does not say: enough to tell texts apart, and short to send."""

_encode = msgspec.json.Encoder().encode
_CATEGORIES: Final = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
_FORBIDDEN: Final = "kill"


def embedding_answer(request: dict[str, Any], answer_id: str) -> tuple[Usage, bytes]:
    """Return the vectors of a request's texts, and what that used."""
    del answer_id  # an answer of this kind has none
    texts = _inputs(request["input"])
    dimensions = request.get("dimensions") or DIMENSIONS
    spelled = request.get("encoding_format") == "base64"
    vectors = [_vector(text, dimensions) for text in texts]
    data = [
        {"object": "embedding", "index": index, "embedding": b64encode(each).decode() if spelled else list(each)}
        for index, each in enumerate(vectors)
    ]
    tokens = sum(tokens_of(len(text)) for text in texts)
    body: dict[str, Any] = {"object": "list", "data": data, "model": request["model"]}
    if not any(read_direction(text.decode(errors="replace")).fault == "silent" for text in texts):
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Usage(tokens), _encode(body)


def content_embedding(request: dict[str, Any], answer_id: str) -> tuple[Usage, bytes]:
    """Return the vectors of Gemini's contents; like Google it says nothing of what that used."""
    del answer_id
    many = request.get("requests")
    asked: list[dict[str, Any]] = [request] if many is None else many
    texts = ["".join(str(part.get("text", "")) for part in each["content"]["parts"]).encode() for each in asked]
    sizes = [each.get("outputDimensionality") or DIMENSIONS for each in asked]
    found = [{"values": list(_vector(text, size))} for text, size in zip(texts, sizes, strict=True)]
    body = {"embedding": found[0]} if many is None else {"embeddings": found}
    return Usage(sum(tokens_of(len(text)) for text in texts)), _encode(body)


def moderation_answer(request: dict[str, Any], answer_id: str) -> tuple[Usage, bytes]:
    """Return whether each of a request's texts may be said. Nothing is billed for it."""
    results: list[dict[str, Any]] = []
    for text in _inputs(request["input"]):
        flagged = _FORBIDDEN.encode() in text
        scores = {name: float(flagged and name == "violence") for name in _CATEGORIES}
        marks = {name: score > 0.5 for name, score in scores.items()}
        kinds = {name: ["text"] for name in _CATEGORIES}
        results.append(
            {"flagged": flagged, "categories": marks, "category_scores": scores, "category_applied_input_types": kinds}
        )
    return Usage(), _encode({"id": f"modr-{answer_id}", "model": request["model"], "results": results})


def _inputs(given: Any) -> list[bytes]:
    """Return each text as bytes; tokens stand for four bytes each."""
    if isinstance(given, str):
        return [given.encode()]
    if given and isinstance(given[0], int):
        return [b"".join(token.to_bytes(TOKEN_BYTES, "big") for token in given)]
    if given and isinstance(given[0], dict):  # parts of one input
        return ["".join(str(part.get("text", "")) for part in given).encode()]
    return [_inputs(each)[0] for each in given]


def _vector(text: bytes, dimensions: int) -> "array[float]":
    """Return a vector of length 1 that is the same for the same text."""
    stretched = hashlib.shake_128(text).digest(dimensions)
    raw = [byte - 127.5 for byte in stretched]
    length = sum(value * value for value in raw) ** 0.5
    return array("f", (value / length for value in raw))
