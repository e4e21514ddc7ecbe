"""Open pages as people do, wide and narrow, light and dark; what they complain of, or ask of others, is an error."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

View = tuple[int, Any]

VIEWS: Final[list[View]] = [(width, scheme) for width in (1440, 390) for scheme in ("light", "dark")]
WIDE: Final[View] = (1440, "light")
HEIGHT: Final = 900

_OUTSIDE: Final = """width => {
    if (document.documentElement.scrollWidth > width) return ["the page"];
    const all = [...document.querySelectorAll("header *, main *:not(.scrolls *)")];
    return all.filter((each) => each.getBoundingClientRect().right > width + 0.5).map((each) => each.outerHTML);
}"""


def view_id(view: View) -> str:
    """Name a view for a test."""
    return f"{view[0]}-{view[1]}"


def opened(browser: Browser, url: str = "", view: View = WIDE) -> Iterator[Page]:
    """Give a page that is open at an address, if one is given, and close it."""
    context = browser.new_context(viewport={"width": view[0], "height": HEIGHT}, color_scheme=view[1])
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    if url:
        page.goto(url)
    yield page
    context.close()
    assert complaints == []
    assert len({urlsplit(each).netloc for each in asked}) == 1


def outside(page: Page) -> list[str]:
    """Return what sticks out of a page at its right."""
    assert page.viewport_size is not None
    return page.evaluate(_OUTSIDE, page.viewport_size["width"])
