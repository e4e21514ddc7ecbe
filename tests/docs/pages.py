"""Read Markdown pages: their blocks of code, their headings and links, and what a block of commands expects."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_FENCE: Final = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^()\s]+)(?: \"[^\"]*\")?\)|(?:href|src)=\"([^\"]+)\"")
_HEADING: Final = re.compile(r"^#{1,6} (.+?) *$", re.MULTILINE)


class Block(NamedTuple):
    """Hold a fenced block: what stands behind its fence, its text, and the line its text begins in."""

    info: str
    text: str
    line: int


class Command(NamedTuple):
    """Hold one command of a block and the output the page shows for it."""

    text: str
    expected: str


def blocks(page: str) -> list[Block]:
    """Return a page's fenced blocks."""
    found = []
    for match in _FENCE.finditer(page):
        text = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        found.append(Block(match[2].strip(), text, page.count("\n", 0, match.start(3)) + 1))
    return found


def links(page: str) -> list[str]:
    """Return where a page's links and images lead, without those in code."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page))
    return [match[1] or match[2] for match in _LINK.finditer(prose)]


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    names = set()
    for match in _HEADING.finditer(_FENCE.sub("", page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def commands(block: Block) -> Iterator[Command]:
    """Split a block into commands, which begin with `$ `, and the output below each."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = 1
        while lines[end - 1].endswith("\\"):
            end += 1
        yield Command("\n".join(lines[:end]), "\n".join(lines[end:]))


def matches(expected: str, output: str) -> bool:
    """Tell whether an output is as a page shows it: `...` is anything within a line, or alone any lines."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*"
        else:
            pattern += "[^\n]*".join(re.escape(part) for part in line.rstrip().split("...")) + " *\n"
    text = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return re.fullmatch(pattern, text) is not None
