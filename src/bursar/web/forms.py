"""Read the forms of pages into what the API takes, and say which field is wrong with what was typed kept."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar.exceptions import HTTPException

from bursar.api.shapes.holders import (
    BudgetRequest,
    KeyRequest,
    LimitsRequest,
    MoveRequest,
    PolicyRequest,
    RotateRequest,
    ScopeRequest,
)

T = TypeVar("T")

_FIELDS_MAX: Final = 100
_AT: Final = re.compile(r"(.*) - at `\$\.?([a-z_]*).*`$")
_OF_CODE: Final = {"name_taken": "name", "not_found": "parent"}
_NUMBERS: Final = ("output_cap", "depth", "repeats")
_NO_BOUND: Final[dict[str, Any]] = {"models": [], "routes": [], "addresses": [], "tags": {}, "output_cap": None}
NEVER: Final = "never"
_NOTHING: Final = (None, "", [], {})


class Problem(msgspec.Struct, frozen=True):
    """Say what is wrong with a form: which form, which of its fields (empty: none of them), and what was typed."""

    form: str
    field: str
    text: str
    status: int
    values: dict[str, str]


class FormError(Exception):
    """Name a field of a form that cannot be read."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def read_form(body: bytes) -> dict[str, str]:
    """Read the fields of a form. Raises `FormError` when it is none."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise FormError("", f"the form cannot be read: {error}") from None
    return {name: value.strip() for name, value in pairs}


def key_request(fields: Mapping[str, str]) -> KeyRequest:
    """Read what key is to be made. Raises `FormError`, `msgspec.ValidationError`."""
    return _convert(fields, KeyRequest, lists=("limits", "models", "routes", "addresses"), pairs="tags")


def scope_request(fields: Mapping[str, str]) -> ScopeRequest:
    """Read what a key is limited to from now on; a field that is emptied bounds nothing, but of when it expires.

    Raises `FormError`, `msgspec.ValidationError`.
    """
    found = _convert(fields, ScopeRequest, lists=("models", "routes", "addresses"), pairs="tags")
    emptied = {name: _NO_BOUND[name] for name in _NO_BOUND if name in fields and not fields[name]}
    if fields.get("expires") == NEVER:
        emptied["expires"] = None
    return msgspec.structs.replace(found, **emptied)


def move_request(fields: Mapping[str, str]) -> MoveRequest:
    """Read how much money is to be moved, and to whose budget. Raises `FormError`, `msgspec.ValidationError`."""
    for name, wanted in (("to", "expected whose budget gets it"), ("amount_usd", "expected an amount such as 5.00")):
        if not fields.get(name):
            raise FormError(name, wanted)
    return _convert(fields, MoveRequest)


def rotate_request(fields: Mapping[str, str]) -> RotateRequest:
    """Read how long the present secret stays good. Raises `FormError`, `msgspec.ValidationError`."""
    return _convert(fields, RotateRequest)


def budget_request(fields: Mapping[str, str]) -> BudgetRequest:
    """Read what budget is to be made. Raises `FormError`, `msgspec.ValidationError`."""
    return _convert(fields, BudgetRequest, lists=("limits", "alerts"), pairs="match")


def limits_request(fields: Mapping[str, str]) -> LimitsRequest:
    """Read the limits a budget is to have. Raises `FormError`, `msgspec.ValidationError`."""
    if not fields.get("limits"):
        raise FormError("limits", 'expected a limit such as 5.00/day, or "unlimited"')
    return _convert(fields, LimitsRequest, lists=("limits",))


def policy_request(fields: Mapping[str, str]) -> PolicyRequest:
    """Read how calls are to be treated. Raises `FormError`, `msgspec.ValidationError`."""
    request = _convert(fields, PolicyRequest, lists=("alerts",))
    if "alerts" in fields and request.alerts is None:
        return msgspec.structs.replace(request, alerts=[])  # an emptied field: alerts at nothing
    return request


def problem_of(form: str, error: Exception, fields: Mapping[str, str]) -> Problem:
    """Say what is wrong with a form, of an error of reading it or of doing what it asks."""
    typed = {name: value for name, value in fields.items() if name != "admin_key"}
    if isinstance(error, FormError):
        return Problem(form, error.field, str(error), 400, typed)
    if isinstance(error, HTTPException):
        extra: Any = error.extra
        told: dict[str, str] = extra if isinstance(extra, dict) else {}
        field = told.get("param") or (_OF_CODE.get(told.get("code", ""), "") if form == "create" else "")
        return Problem(form, field, error.detail.removeprefix(f"{field}: "), error.status_code, typed)
    match = _AT.match(str(error))
    text, field = (match[1], match[2]) if match else (str(error), "")
    return Problem(form, field, text, 400, typed)


def _convert(fields: Mapping[str, str], wanted: type[T], lists: tuple[str, ...] = (), pairs: str = "") -> T:
    values: dict[str, Any] = {}
    for name in msgspec.structs.fields(wanted):  # pyright: ignore[reportArgumentType]
        text = fields.get(name.name, "")
        if name.name in lists:
            value: Any = [part.strip() for part in text.split(",") if part.strip()]
            values[name.name] = [_number(name.name, each) for each in value] if name.name == "alerts" else value
        elif name.name == pairs:
            values[name.name] = _pairs(name.name, text)
        elif name.name in _NUMBERS and text:
            values[name.name] = _number(name.name, text)
        else:
            values[name.name] = True if name.name == "soft" and text else text
    # What is left empty is what it is without the form.
    given = {name: value for name, value in values.items() if value not in _NOTHING or name == "name"}
    return msgspec.convert(given, wanted)


def _number(field: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise FormError(field, f"expected a whole number, got {text[:40]!r}")
    return int(text)


def _pairs(field: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise FormError(field, f"expected name=value, got {part[:40]!r}")
        found[name.strip()] = value.strip()
    return found
