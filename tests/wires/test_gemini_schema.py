"""Schemas in Google's own words become JSON schemas that other providers read."""

from typing import Any

import pytest

from bursar.wires.gemini_schema import json_schema


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({}, {}),
        ({"type": "STRING", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        ({"type": "INTEGER", "nullable": False, "example": 4}, {"type": "integer"}),
        ({"type": "STRING", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        (
            {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "1", "max_items": 3},
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3},
        ),
        ({"minLength": "many"}, {"minLength": "many"}),
        ({"any_of": [{"type": "STRING"}, {"type": "NULL"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"type": "OBJECT", "properties": {"type": {"type": "STRING"}}, "propertyOrdering": ["type"], "title": None},
            {"type": "object", "properties": {"type": {"type": "string"}}},
        ),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
    ],
)
def test_a_schema_of_googles_becomes_a_json_schema(given: dict[str, Any], written: dict[str, Any]) -> None:
    assert json_schema(given) == written
