"""Make up a value that a JSON schema describes, so that structured answers can be tried."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

_DEPTH_MAX: Final = 8
_SIMPLE: Final[Mapping[str, Any]] = {"string": "owed", "integer": 7, "number": 7.5, "boolean": True, "null": None}


def scripted_answer(schema: Any) -> str:
    """Write a JSON text that a schema describes; empty without one."""
    if not isinstance(schema, dict):
        return ""
    definitions: dict[str, Any] = schema.get("$defs") or schema.get("definitions") or {}
    return msgspec.json.encode(_value(schema, definitions, _DEPTH_MAX)).decode("ascii", "replace")


def _value(schema: Any, definitions: Mapping[str, Any], depth: int) -> Any:
    """Make up a value; what is nested beyond `depth` is null."""
    if not isinstance(schema, dict) or depth == 0:
        return None
    named = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2])
    if named is not None:
        return _value(named, definitions, depth - 1)
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        return _value(choices[0], definitions, depth - 1)
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [_value(schema.get("items"), definitions, depth - 1)]
    if kind == "object":
        properties: dict[str, Any] = schema.get("properties") or {}
        return {name: _value(each, definitions, depth - 1) for name, each in properties.items()}
    return _SIMPLE.get(kind)
