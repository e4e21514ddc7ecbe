"""Write docs/reference/providers.md from the presets themselves.

python -m tests.docs.make_providers
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bursar.gateway.presets import Preset, presets

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "providers.md"
_INTRODUCTION: Final = """# Providers

What Bursar knows of providers is data: `preset = "NAME"` in a [`[providers]`](config.md#providers) table stands for the
settings below, and whatever the table says itself comes first. `bursar providers add NAME` writes such a table, see
[connect providers](../how-to/providers.md). Usage is read as each one reports it, and priced by the
[price book](prices.md) under the name given; where that is "yours", `price` says it.

<!-- Made by `python -m tests.docs.make_providers`. -->
"""
_HEAD: Final = "| preset | provider | address | key | prices |\n|---|---|---|---|---|"


def page() -> str:
    """Return the page's text."""
    found = presets().values()
    table = "\n".join([_HEAD, *(_row(preset) for preset in found)])
    return "\n".join([_INTRODUCTION, table, "", *(line for preset in found for line in _section(preset))])


def _row(preset: Preset) -> str:
    key = preset.settings.get("api_key_env")
    about = (f"`{preset.settings['base_url']}`", f"`{key}`" if key else "", preset.priced_by or "yours")
    return f"| [`{preset.name}`](#{preset.name}) | {preset.title} | {' | '.join(about)} |"


def _section(preset: Preset) -> Iterator[str]:
    yield from (f"## {preset.name}", "", "| | |", "|---|---|")
    for setting, value in preset.settings.items():
        yield f"| `{setting}` | {_text(value)} |"
    for word, what in preset.fill.items():
        yield f"| `--set {word}=` | {what} |"
    if preset.extra:
        yield f"| needs | the extra `{preset.extra}` |"
    yield f"| usage | {preset.usage} |"
    yield f"| errors | {preset.errors} |"
    yield f"| limits | {preset.limits} |"
    if preset.note:
        yield f"| note | {preset.note} |"
    yield f"| a target | `{preset.name}/{preset.model}` |"
    yield f"| source | {preset.source}, checked {preset.checked.isoformat()} |"
    yield ""


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"`{each}`" for each in value)
    if isinstance(value, dict):
        return "<br>".join(f"`{name}`: `{each}`" for name, each in value.items())
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page())
