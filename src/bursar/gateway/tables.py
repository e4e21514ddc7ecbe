"""Read tables of bursar.toml, strictly: what is wrong is an error naming the setting and what was expected."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec

from bursar.core.addresses import read_address
from bursar.core.errors import ConfigError
from bursar.prices.near import near_names


def convert(value: Any, kind: Any, where: str) -> Any:
    """Turn a table into a struct. Raises `ConfigError`."""
    if isinstance(value, dict):
        only_known(value, kind.__struct_fields__, where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        if message.startswith("Invalid enum value"):
            words = [word for word in _words_of(get_type_hints(kind)[field]) if isinstance(word, str)]
            message = f"expected {' or '.join(words)}, got {value[field]!r}"
        raise ConfigError(f"{where}{'.' + field if field else ''}: {message}") from None


def _words_of(hint: Any) -> list[Any]:
    """List the words a setting may be, be it optional or not."""
    return [word for each in get_args(hint) for word in (get_args(each) or (each,))]


def only_known(table: dict[str, Any], known: Iterable[str], where: str) -> None:
    """Check that a table has known settings only. Raises `ConfigError` naming the nearest one."""
    names = list(known)
    for word in table:
        if word not in names:
            raise ConfigError(f"unknown setting {where + '.' if where else ''}{word}{near_text(word, names)}")


def near_text(word: str, known: Iterable[str]) -> str:
    """Name those words near to one that is not known, or all there are."""
    names = list(known)
    near = near_names(word, names)
    return f"; near: {', '.join(near)}" if near else f"; known: {', '.join(names)}"


def table_of(tables: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table within another; empty without. Raises `ConfigError`."""
    value = tables.get(name, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected a table")
    return value


def is_words(value: Any) -> bool:
    """Tell whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def is_address(text: str) -> bool:
    """Tell whether a text is an address of HTTP that can be asked."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # what it raises for a port or host that is none
        return False
    return usable and text.isascii() and text.isprintable() and " " not in text


def is_here(base_url: str) -> bool:
    """Tell whether an address is on this machine; empty is the sandbox that is started here."""
    try:
        host = urlsplit(base_url).hostname
    except ValueError:
        return False
    address = read_address(host or "")
    return not base_url or host == "localhost" or (address is not None and address.is_loopback)


def read_secret(where: str, variable: str, file: str) -> str:
    """Read a secret from the environment or a file; empty where neither is named. Raises `ConfigError`."""
    if variable:
        value = os.environ.get(variable, "")
        if not value:
            raise ConfigError(f"{where}_env: the environment has no {variable}")
        return value
    if not file:
        return ""
    try:
        value = Path(file).read_text().strip()
    except OSError as error:
        raise ConfigError(f"{where}_file: {file}: {error.strerror}") from None
    if not value:
        raise ConfigError(f"{where}_file: {file} is empty")
    return value
