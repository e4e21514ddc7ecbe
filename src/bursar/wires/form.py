"""Read a request that is a form with files, as images and recordings are sent in; write it again with another value."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib import import_module
from typing import Any, Final

import msgspec

from bursar.core.errors import BadRequest

PARTS_MAX: Final = 100

# By name: a package of the same name may lie beside it, hand over to it, and hide its types.
_multipart: Any = import_module("multipart")
_ERRORS: Final[tuple[type[Exception], ...]] = (_multipart.MultipartError, UnicodeError)
_HEAD_END: Final = b"\r\n\r\n"
_HOW: Final = "send it as the official clients do"
# What RFC 2046 allows, and nothing that could be read otherwise where it stands in a header.
_BOUNDARY: Final = re.compile(rb"--([0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?])\r\n")


class Part(msgspec.Struct, frozen=True):
    """Hold one part of a form: a field, or with a file's name a file."""

    name: str
    data: bytes
    file_name: str | None = None
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    start: int = 0  # where its content begins in the form's bytes


class Place(msgspec.Struct, frozen=True, gc=False):
    """Say where the content of one part stands in a form's bytes."""

    name: str
    file_name: str | None
    start: int
    end: int


class Layout(msgspec.Struct, frozen=True, gc=False):
    """Say where each part of a form stands, so that what was read once is not read again. It holds no content."""

    places: tuple[Place, ...]

    def digest(self, body: bytes) -> bytes:
        """Return a digest of what the form says, the same however its parts are divided."""
        view = memoryview(body)
        said = [
            (each.name, each.file_name or "", sha256(view[each.start : each.end]).hexdigest()) for each in self.places
        ]
        return sha256(msgspec.json.encode(said)).digest()

    def with_field(self, body: bytes, name: str, value: str) -> bytes:
        """Write the form with another value of a field that stands in it once."""
        (place,) = (each for each in self.places if each.name == name and each.file_name is None)
        view = memoryview(body)
        return b"".join((view[: place.start], value.encode(), view[place.end :]))


class Form(msgspec.Struct, frozen=True):
    """Hold a form as it came."""

    boundary: bytes
    parts: tuple[Part, ...]

    @property
    def layout(self) -> Layout:
        """Return where its parts stand in the bytes it was read from."""
        return Layout(
            tuple(Place(part.name, part.file_name, part.start, part.start + len(part.data)) for part in self.parts)
        )

    def field(self, name: str, default: str | None = None) -> str:
        """Return a field's value, which stands in the form once. Raises `BadRequest` naming it."""
        found = [part for part in self.parts if part.name == name and part.file_name is None]
        if not found:
            if default is None:
                raise BadRequest(f"expected a field `{name}` in the form", param=name)
            return default
        if len(found) > 1:
            raise BadRequest(f"`{name}` stands in the form {len(found)} times", param=name)
        try:
            return found[0].data.decode()
        except UnicodeDecodeError:
            raise BadRequest(f"expected text in UTF-8 in `{name}`", param=name) from None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a field's value as an integer. Raises `BadRequest` naming the field and its bounds."""
        text = self.field(name, "").strip()
        if not text:
            return default
        if not (text.isascii() and text.isdecimal() and least <= int(text[:10]) <= most):
            raise BadRequest(f"expected an integer from {least} to {most} in `{name}`", param=name)
        return int(text)

    def flag(self, name: str) -> bool:
        """Tell whether a field says true. Raises `BadRequest` where it stands in the form twice."""
        return self.field(name, "false").strip().lower() == "true"

    def files(self, *names: str) -> list[Part]:
        """Return the files under some names; `image[]` is `image`, as lists are spelled in forms."""
        return [part for part in self.parts if part.file_name is not None and part.name.removesuffix("[]") in names]

    def with_fields(self, changes: Mapping[str, str]) -> bytes:
        """Write the form with other values of some fields; those it did not have come last."""
        marker = b"--" + self.boundary + b"\r\n"
        pieces: list[bytes] = []
        for part in self.parts:
            changed = part.file_name is None and part.name in changes
            pieces += marker, _head(part), changes[part.name].encode() if changed else part.data, b"\r\n"
        known = {part.name for part in self.parts if part.file_name is None}
        for name in changes.keys() - known:
            pieces += marker, _disposition(name), changes[name].encode(), b"\r\n"
        return b"".join((*pieces, b"--", self.boundary, b"--\r\n"))

    def with_content(self, file: Part, content: bytes) -> "Form":
        """Return the form with other content of one of its files."""
        changed = msgspec.structs.replace(file, data=content)
        return Form(self.boundary, tuple(changed if part is file else part for part in self.parts))


def boundary_of(body: bytes) -> bytes:
    """Return what parts a form, as its first line says. Raises `BadRequest` where there is none."""
    found = _BOUNDARY.match(body)
    if found is None:
        raise BadRequest(f"expected multipart/form-data: {_HOW}")
    return found[1]


def content_type_of(boundary: bytes) -> bytes:
    """Return the content type of a form that is parted so."""
    return b'multipart/form-data; boundary="%b"' % boundary


def read_form(body: bytes) -> Form:
    """Read a form. Raises `BadRequest` when it is none, or ends early."""
    boundary = boundary_of(body)
    try:
        with _multipart.PushMultipartParser(boundary, max_segment_count=PARTS_MAX) as parser:
            parts = _parts(body, (*parser.parse(body), *parser.parse(b"")))
    except _ERRORS:  # whose words may hold a file's name
        raise BadRequest(
            f"the form cannot be read: it ends early, or a part of it has no proper head; {_HOW}"
        ) from None
    return Form(boundary, parts)


def _parts(body: bytes, events: Iterable[Any]) -> tuple[Part, ...]:
    """Put the parser's events together: of each part its head, its content in pieces, and None."""
    parts: list[Part] = []
    pieces: list[bytes] = []
    end = 0
    for event in events:
        if event is None:
            parts[-1] = msgspec.structs.replace(parts[-1], data=b"".join(pieces))
            end = parts[-1].start + len(parts[-1].data)
        elif isinstance(event, bytes | bytearray):
            pieces.append(bytes(event))
        else:
            pieces, start = [], body.index(_HEAD_END, end) + len(_HEAD_END)
            told = (event.name or "", b"", event.filename, event.content_type or "", tuple(event.headerlist))
            parts.append(Part(*told, start))
    return tuple(parts)


def _head(part: Part) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in part.headers).encode() + b"\r\n"


def _disposition(name: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
