"""Render templates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


class Pages:
    """Hold the templates of a folder; a name they do not know is an error, not an empty text."""

    def __init__(self, folder: Path, filters: dict[str, Callable[..., Any]]) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(filters)

    def render(self, name: str, **values: Any) -> str:
        """Render one template."""
        return self._environment.get_template(name).render(**values)
