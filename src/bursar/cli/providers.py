"""`bursar providers`: the providers Bursar knows how to reach, and their place in bursar.toml."""

import json as json_text
import os
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from bursar.cli.common import Json, config_file, print_json, print_table
from bursar.core.errors import ConfigError, NameTaken, OperatorError
from bursar.gateway.config import read_config
from bursar.gateway.presets import KEY_PLACES, Preset, preset_of, presets
from bursar.gateway.provider import read_provider
from bursar.gateway.tables import table_of

app = App(name="providers", help="Show the providers there are presets of, and add them to bursar.toml.")

Config = Annotated[Path | None, Parameter(name="--config", help="The bursar.toml; the current folder's without.")]
Name = Annotated[str, Parameter(help="A preset's name, as `bursar providers list` shows it.")]

_FILE: Final = "bursar.toml"
_PROVIDER: Final = re.compile(r"\s*\[\s*providers\s*\.")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


@app.command(name="list")
def list_(*, config: Config = None, json: Json = False) -> None:
    """List the presets, and under which names bursar.toml has them."""
    used = _used(config_file(config))
    if json:
        print_json([_shown(preset) | {"configured": used.get(preset.name, [])} for preset in presets().values()])
        return
    rows = [
        [
            each.name,
            each.title,
            each.settings["base_url"],
            each.priced_by or "yours",
            ", ".join(used.get(each.name, [])),
        ]
        for each in presets().values()
    ]
    print_table(["preset", "provider", "address", "prices", "configured as"], rows)


@app.command
def show(name: Name, /, *, json: Json = False) -> None:
    """Show what a preset stands for, and what is to be known of its provider."""
    preset = preset_of(name, "providers show")
    if json:
        print_json(_shown(preset))
        return
    settings = [[setting, _text(value)] for setting, value in preset.settings.items()]
    facts = [["--set", f"{word}: {what}"] for word, what in preset.fill.items()]
    facts += [["needs", f"the extra {preset.extra}"]] if preset.extra else []
    facts += [[word, getattr(preset, word)] for word in ("usage", "errors", "limits", "note") if getattr(preset, word)]
    facts += [["target", f"{preset.name}/{preset.model}"], ["source", f"{preset.source}, checked {preset.checked}"]]
    print_table([preset.title, ""], [*settings, *facts])


@app.command
def add(
    name: Name,
    /,
    *,
    as_: Annotated[str | None, Parameter(name="--as", help="The name targets use; the preset's without.")] = None,
    set_: Annotated[
        tuple[str, ...], Parameter(name="--set", help="WORD=VALUE for what the preset leaves open; repeat for more.")
    ] = (),
    base_url: Annotated[str | None, Parameter(help="Another address than the preset's.")] = None,
    api_key_env: Annotated[str | None, Parameter(help="The environment variable that holds its key.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Add a provider to bursar.toml from a preset. Comments and all else stay as they are; a missing file is made."""
    preset, key = preset_of(name, "providers add"), as_ or name
    if not key or "/" in key or not key.isprintable():
        raise OperatorError(f"--as: expected a name without / for targets to begin with, got {key!r}")
    own = {"base_url": base_url, "api_key_env": api_key_env}
    given = {setting: value for setting, value in own.items() if value is not None}
    table = {"preset": name, **_filled(preset, _words(set_), given), **given}
    read_provider(key, table)
    file = config or Path(_FILE)
    _write(file, _added(_read(file), key, table, file))
    variable = api_key_env or preset.settings.get("api_key_env", "")
    if json:
        print_json({"name": key, "config": str(file), "settings": table, "api_key_env": variable})
        return
    print(f"{file}: added [providers.{key}], {preset.title}")
    if variable:
        print(f"its key is read from {variable}" + ("" if os.environ.get(variable) else ", which is not set here"))
    print(f'a target there is called "{key}/{preset.model}"')


def _words(texts: tuple[str, ...]) -> dict[str, str]:
    words: dict[str, str] = {}
    for text in texts:
        word, equals, value = text.partition("=")
        if not equals or not word or not value.strip():
            raise OperatorError(f"--set: expected WORD=VALUE, such as region=us-east-1, got {text!r}")
        words[word] = value.strip()
    return words


def _filled(preset: Preset, words: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    """Fill in what a preset leaves open, unless every such setting is given as a whole."""
    if not words and preset.open_settings().keys() <= given.keys():
        return {}
    return preset.filled(words)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read {file}: it is not UTF-8") from None


def _added(text: str, name: str, table: dict[str, str], file: Path) -> str:
    """Return a configuration's text with one more provider, every line it had in its place. Raises `OperatorError`."""
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from None
    providers = table_of(before, "providers")
    if name in providers:
        raise NameTaken(f"{file} has a provider {name!r} already: give another name by --as")
    expected = {**before, "providers": {**providers, name: table}}
    lines, end = text.removesuffix("\n").split("\n") if text else [], "\r" if "\r\n" in text else ""
    written = [f"[providers.{name if _BARE.fullmatch(name) else _quoted(name)}]{end}"]
    written += [f"{setting} = {_quoted(value)}{end}" for setting, value in table.items()]
    for place in (_behind_providers(lines), len(lines)):
        above, below = lines[:place], lines[place:]
        before_it = [end] if above and above[-1].strip() else []
        after_it = [end] if below and below[0].strip() else []
        found = "\n".join((*above, *before_it, *written, *after_it, *below, ""))
        if _reads_as(found, expected):
            return found
    raise OperatorError(f"{file} is written in a way that cannot be added to: write [providers.{name}] by hand")


def _behind_providers(lines: list[str]) -> int:
    """Return where the last provider's table ends, without what stands above the next table and is about it."""
    headers = [place for place, line in enumerate(lines) if _PROVIDER.match(line)]
    if not headers:
        return len(lines)
    tables = (place for place, line in enumerate(lines) if place > headers[-1] and line.lstrip().startswith("["))
    end = next(tables, len(lines))
    while lines[end - 1].lstrip().startswith("#") or not lines[end - 1].strip():
        end -= 1
    return end


def _reads_as(text: str, expected: dict[str, Any]) -> bool:
    """Tell whether a text says what is expected: a line that looks like a table may be part of a longer text."""
    try:
        return tomllib.loads(text) == expected
    except tomllib.TOMLDecodeError:
        return False


def _quoted(text: str) -> str:
    """Write a text as TOML does: as JSON, but for one character that has to be escaped."""
    return json_text.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(file: Path, text: str) -> None:
    """Put a text in the file's place in one step, with the rights the file has."""
    try:
        target = file.resolve()
        with tempfile.NamedTemporaryFile("wb", dir=target.parent, prefix=".bursar-", delete=False) as fresh:
            fresh.write(text.encode())
        made = Path(fresh.name)
        made.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        made.replace(target)
    except OSError as error:
        raise OperatorError(f"cannot write {file}: {error.strerror}") from None


def _used(file: Path | None) -> dict[str, list[str]]:
    """Return under which names a configuration has each preset."""
    used: dict[str, list[str]] = {}
    if file is not None:
        for name, provider in read_config(file).providers.items():
            used.setdefault(provider.preset, []).append(name)
    return used


def _shown(preset: Preset) -> dict[str, Any]:
    return {
        "preset": preset.name,
        "title": preset.title,
        "settings": preset.settings,
        "set": preset.fill,
        "needs_extra": preset.extra or None,
        "key": next((preset.settings[place] for place in KEY_PLACES if place in preset.settings), None),
        "model": preset.model,
        "usage": preset.usage,
        "errors": preset.errors,
        "limits": preset.limits,
        "note": preset.note or None,
        "source": preset.source,
        "checked": preset.checked.isoformat(),
    }


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
