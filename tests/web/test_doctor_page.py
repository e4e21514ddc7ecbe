"""What the doctor finds is on a page, the worst first, and the same as JSON."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from bench.harness import LocalBursar, free_port
from tests.asking import fetch

CONFIG = """
[providers.sandbox]
kind = "sandbox"

[providers.gone]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "BURSAR_TEST_NO_SUCH_KEY"
prices = "openai"

[models."gpt-4o-mini"]
targets = ["sandbox/gpt-4o-mini"]
"""


@pytest.fixture(scope="module")
def ill() -> Iterator[LocalBursar]:
    local = LocalBursar(CONFIG.format(port=free_port()))
    local.environment["BURSAR_TEST_NO_SUCH_KEY"] = "sk-doctor-canary"
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def spender(ill: LocalBursar) -> LocalBursar:
    """Have what the page shows before the browser runs."""
    return ill


def test_what_fails_comes_first_with_the_way_out(ill: LocalBursar, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{ill.port}/doctor")
    rows = page.locator("table.checks tbody tr")
    expect(rows.first).to_contain_text("failed")
    expect(rows.first).to_contain_text("provider gone")
    expect(rows.first).to_contain_text("connect failed: connection refused")
    expect(rows.first.locator(".remedy")).to_contain_text("look at base_url, the network")
    states = [text.strip() for text in rows.locator(".state").all_inner_texts()]
    assert states == sorted(states, key=["failed", "to look at", "ok"].index)
    expect(page.locator(".figures .figure").first).to_have_text("1")
    assert "sk-doctor-canary" not in page.content()
    page.close()


def test_the_same_is_json_and_kept_for_a_moment(ill: LocalBursar) -> None:
    first = fetch(ill, "GET", "/api/doctor")
    found = first.json()
    assert (first.status, found["ok"]) == (200, False)
    states = {each["check"]: each["state"] for each in found["findings"]}
    assert states["provider gone"] == "fail"
    assert {states[name] for name in ("configuration", "database", "books", "workers", "provider sandbox")} == {"ok"}
    assert b"sk-doctor-canary" not in first.body
