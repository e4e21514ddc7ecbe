"""Pages may be used by keyboard and read aloud: axe-core's rules find nothing, at two widths, light and dark."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from bench.harness import LocalBursar
from tests.asking import ask, wait_booked
from tests.web.viewing import VIEWS


@pytest.fixture(scope="module")
def spender(shared_bursar: LocalBursar) -> str:
    """Have what the pages show before the browser runs."""
    secret = shared_bursar.create_key("read aloud", "5.00")
    wait_booked(shared_bursar, ask(shared_bursar, secret, "hello").headers["x-bursar-call-id"])
    return secret


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_no_page_breaks_a_rule_of_accessibility(
    shared_bursar: LocalBursar, browser: Browser, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(shared_bursar.url)
    links = page.locator("nav a").all()
    paths = [link.get_attribute("href") for link in links]
    assert {"/", "/savings"} <= set(paths)
    told: list[Any] = []
    for path in paths:
        page.goto(f"{shared_bursar.url}{path}")
        found = Axe().run(page).response["violations"]
        told += [(path, each["id"], each["help"], [node["target"] for node in each["nodes"]]) for each in found]
    context.close()
    assert told == []
