"""Turn the schemas Gemini has of its own into JSON schemas."""

from typing import Any, Final, cast

from bursar.wires.neutral import JsonObject

_NUMBERS: Final = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_LEFT_OUT: Final = ("nullable", "propertyOrdering", "property_ordering", "example")
_NAMES: Final = {
    "any_of": "anyOf",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "additional_properties": "additionalProperties",
}


def json_schema(schema: JsonObject) -> JsonObject:
    """Return the JSON schema of one written in Google's subset of OpenAPI 3.0.

    There types are in capitals, null is a mark of its own, and whole numbers may be written as texts. The order of
    properties and examples, which only guide, are left out.
    """
    written: JsonObject = {}
    for given, value in schema.items():
        name = _NAMES.get(given, given)
        if value is not None and name not in _LEFT_OUT:
            written[name] = _value(name, value)
    if schema.get("nullable") is True and isinstance(written.get("type"), str):
        written["type"] = [written["type"], "null"]
        if isinstance(written.get("enum"), list):
            written["enum"] = [*written["enum"], None]
    return written


def _value(name: str, value: Any) -> Any:
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name == "properties" and isinstance(value, dict):
        return {each: _schema(inner) for each, inner in cast(JsonObject, value).items()}
    if name in ("items", "additionalProperties"):
        return _schema(value)
    if name == "anyOf" and isinstance(value, list):
        return [_schema(inner) for inner in cast("list[Any]", value)]
    if name in _NUMBERS and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:18])
    return value


def _schema(value: Any) -> Any:
    return json_schema(cast(JsonObject, value)) if isinstance(value, dict) else value
