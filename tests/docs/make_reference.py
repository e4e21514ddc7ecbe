"""Write docs/reference/cli.md from the commands themselves.

python -m tests.docs.make_reference
"""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final

from cyclopts import App

from bursar.cli.app import app

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
_INTRODUCTION: Final = """# Commands

Every command takes `--help`. Exit code 0 means done, 1 refused or failed with one clear line, 2 wrong usage. `--json`
prints JSON for machines. `--data`, else the environment's `BURSAR_DATA`, names the data folder; without either it is
`bursar` in the user's own data directory.

<!-- Made by `python -m tests.docs.make_reference`. -->
"""


def reference() -> str:
    """Return the page's text."""
    return "\n".join([_INTRODUCTION, *_sections(app, ("bursar",))])


def _sections(command: App, path: tuple[str, ...]) -> Iterator[str]:
    """Write a command, then those below it, in the order they were registered."""
    if command.default_command is not None:
        yield _section(command, " ".join(path))
    for name in command:
        if not name.startswith("-"):
            yield from _sections(command[name], (*path, name))


def _section(command: App, path: str) -> str:
    found = command.assemble_argument_collection(parse_docstring=True)
    arguments = [argument for argument in found if not argument.children]  # a group of options is no option itself
    positional = [argument for argument in arguments if argument.index is not None]
    named = [(argument.names[0].strip("-").upper(), argument.required) for argument in positional]
    words = [name if required else f"[{name}]" for name, required in named]
    needed = [argument.names[0] for argument in arguments if argument.required and argument.index is None]
    words += [f"{option} {option.strip('-').upper()}" for option in needed]
    lines = [f"## {path}", "", "```text", " ".join([path, *words, "[OPTIONS]"]), "```", "", str(command.help), ""]
    lines += ["| | default | |", "|---|---|---|"]
    lines += [_row(argument) for argument in arguments]
    return "\n".join([*lines, ""])


def _row(argument: Any) -> str:
    names = " ".join(f"`{name}`" for name in argument.names)
    choices = argument.get_choices()
    about = argument.parameter.help + (f" One of {', '.join(choices)}." if choices else "")
    return f"| {names} | {_default(argument)} | {about.replace('|', '&#124;')} |"


def _default(argument: Any) -> str:
    if argument.required:
        return "required"
    value = argument.field_info.default
    if value is None or value is False:
        return ""
    return f"`{value.value if isinstance(value, Enum) else value}`"


if __name__ == "__main__":
    PAGE.write_text(reference())
