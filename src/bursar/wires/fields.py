"""Take a JSON object apart field by field, so that a field nobody took is noticed and named."""

import re
from collections.abc import Mapping
from typing import Any, Final, Self, cast

from bursar.core.errors import BadRequest
from bursar.wires.neutral import CannotBeCarried, Image, JsonObject, Sound
from bursar.wires.sounds import KINDS

Silent = Mapping[str, tuple[Any, ...]]
"""Fields that may be left behind, and the values they may have then; none: any."""

_NAME_CHARS_MAX: Final = 64
_DATA_URI: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w-]+=[^;,]*)*)(;base64)?,(.*)", re.DOTALL)


class Fields:
    """Hold an object's fields that are not taken yet. Null is as if not given.

    Each method takes one field and raises `BadRequest`, naming its path, for a value of another kind.
    """

    __slots__ = ("_left", "_silent", "path")

    def __init__(self, value: object, path: str, silent: Silent) -> None:
        if not isinstance(value, dict):
            raise BadRequest(f"expected an object in `{path or 'body'}`", param=path or None)
        self.path = path
        self._left = self.spelled(cast(JsonObject, value))
        self._silent = silent

    def spelled(self, given: JsonObject) -> JsonObject:
        """Return the fields that are given, by the names they are taken by."""
        return {name: each for name, each in given.items() if each is not None}

    def at(self, name: str) -> str:
        """Return the path of a field; of a name that its client made up, what can be shown."""
        shown = name if name.isprintable() and len(name) <= _NAME_CHARS_MAX else ascii(name)[:_NAME_CHARS_MAX]
        return f"{self.path}.{shown}" if self.path else shown

    def has(self, name: str) -> bool:
        """Tell whether a field is given and not taken."""
        return name in self._left

    def any(self, name: str) -> Any:
        """Take a value of any kind."""
        return self._left.pop(name, None)

    def text(self, name: str, default: str | None = None) -> str:
        """Take a text; without a default it must be given."""
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def word(self, name: str, words: tuple[str, ...]) -> str:
        """Take one of some words; empty when not given."""
        value = self.text(name, "")
        if value and value not in words:
            raise CannotBeCarried(self.at(name), f"the value is none of {', '.join(words)}")
        return value

    def whole(self, name: str) -> int | None:
        """Take a whole number."""
        value = self._left.pop(name, None)
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise self.wrong(name, "an integer")
        return value

    def number(self, name: str) -> float | None:
        """Take a number."""
        value = self._left.pop(name, None)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise self.wrong(name, "a number")
        return value

    def flag(self, name: str) -> bool | None:
        """Take true or false."""
        value = self._left.pop(name, None)
        if not isinstance(value, bool | None):
            raise self.wrong(name, "true or false")
        return value

    def list(self, name: str) -> list[Any]:
        """Take a list; empty when not given."""
        value: object = self._left.pop(name, [])
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        return cast("list[Any]", value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of texts, or one text alone."""
        value: object = self._left.pop(name, [])
        found = cast("list[object]", value) if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in found):
            raise self.wrong(name, "a text or a list of texts")
        return cast("tuple[str, ...]", tuple(found))

    def plain(self, name: str) -> JsonObject | None:
        """Take an object that is carried as it is."""
        value: object = self._left.pop(name, None)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return cast("JsonObject | None", value)

    def object(self, name: str) -> "Self | None":
        """Take an object."""
        value = self._left.pop(name, None)
        return None if value is None else type(self)(value, self.at(name), self._silent)

    def objects(self, name: str) -> "list[Self]":
        """Take a list of objects."""
        found = enumerate(self.list(name))
        return [type(self)(each, f"{self.at(name)}[{index}]", self._silent) for index, each in found]

    def content(self, name: str) -> "str | list[Self]":
        """Take content, which is a text or a list of parts; none of them when not given."""
        if isinstance(self._left.get(name), str):
            return self.text(name)
        if not isinstance(self._left.get(name, []), list):
            raise self.wrong(name, "a text or a list of parts")
        return self.objects(name)

    def leave(self, *names: str) -> None:
        """Leave fields behind that say nothing here."""
        for name in names:
            self._left.pop(name, None)

    def end(self) -> None:
        """Refuse the first field that was not taken and may not be left behind."""
        for name, value in self._left.items():
            values = self._silent.get(name)
            if values is None or (values and value not in values):
                raise CannotBeCarried(self.at(name))

    def wrong(self, name: str, expected: str) -> BadRequest:
        """Return the refusal of a field that is missing or of another kind."""
        return BadRequest(f"expected {expected} in `{self.at(name)}`", param=self.at(name))


def media_of(uri: str, field: str) -> tuple[str, str]:
    """Split a data URI into media type and base64. Raises `BadRequest` when it is none."""
    match = _DATA_URI.fullmatch(uri)
    if match is None or match[3] is None:
        raise BadRequest(f"expected an address or a base64 data URI in `{field}`", param=field)
    return match[1] or "text/plain", match[4]


def data_uri(media_type: str, data: str) -> str:
    """Join media type and base64 to a data URI."""
    return f"data:{media_type};base64,{data}"


def image_of(url: str, detail: str, field: str) -> Image:
    """Read an image that is given by its address or as a data URI. Raises `BadRequest` when it is neither."""
    if url.startswith(("https://", "http://", "gs://")):
        return Image(url=url, detail=detail)
    media_type, data = media_of(url, field)
    if not media_type.startswith("image/"):
        raise CannotBeCarried(field, f"{media_type} is no image")
    return Image(data=data, media_type=media_type, detail=detail)


def sound_kind(name: str, field: str) -> str:
    """Return the kind of a recording by one of its names. Raises `CannotBeCarried` for one that no other has."""
    kind = KINDS.get(name.lower())
    if kind is None:
        raise CannotBeCarried(field, f"a recording is none of {', '.join(dict.fromkeys(KINDS.values()))}")
    return kind.lower()


def read_input_audio(part: Fields) -> Sound:
    """Read OpenAI's `input_audio`."""
    given = part.object("input_audio")
    if given is None:
        raise part.wrong("input_audio", "an object")
    sound = Sound(given.text("data"), sound_kind(given.text("format"), given.at("format")), given.at("format"))
    given.end()
    return sound


def write_input_audio(part: Sound) -> JsonObject:
    """Write OpenAI's `input_audio`. Raises `CannotBeCarried` for a kind it does not hear."""
    if part.kind not in _HEARD:
        raise CannotBeCarried(part.where, f"OpenAI hears WAV and MP3, and this recording is {part.kind.upper()}")
    return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.kind}}


_HEARD: Final = ("wav", "mp3")
"""What `input_audio.format` may be ("Create chat completion", checked 2026-11-23)."""
