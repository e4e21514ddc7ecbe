"""The page of spend draws what the API tells, in every width and scheme, and says it in words and numbers too."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.harness import LocalBursar
from bursar.web.format import count, usd
from tests.asking import ask_and_wait, fetch
from tests.web.viewing import VIEWS, opened, outside, view_id

HARM = "</title><script>document.title='owned'</script>"
CONFIG = """
[providers.sandbox]
kind = "sandbox"

[models.small]
targets = ["sandbox/gpt-4o-mini"]

[models.thinks]
targets = ["sandbox/gpt-5-mini"]
"""


@pytest.fixture(scope="module")
def spent() -> Iterator[LocalBursar]:
    """Run a Bursar whose calls are of several models, keys and tags, one of them named to do harm."""
    local = LocalBursar(CONFIG)
    local.start()
    for name, tags in ((HARM, {"team": "search"}), ("app", {}), ("batch-of-the-night-" * 3, {"team": "support"})):
        secret = local.create_key(name, "5.00", tags=tags)
        ask_and_wait(local, secret, "[[output=90]] hi", model="small", stream=name == "app")
        ask_and_wait(local, secret, "[[output=20 reasoning=7]] " + "x" * 900, model="thinks")
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def spender(spent: LocalBursar, shared_bursar: LocalBursar) -> LocalBursar:
    """Have what the pages show before the browser runs."""
    assert shared_bursar.ready()
    return spent


@pytest.fixture(params=VIEWS, ids=view_id)
def by_key(spent: LocalBursar, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from opened(browser, f"{spent.url}/spend?by=key", request.param)


@pytest.fixture
def wide(spent: LocalBursar, browser: Browser) -> Iterator[Page]:
    yield from opened(browser, f"{spent.url}/spend")


def series(local: LocalBursar, query: str) -> Any:
    return fetch(local, "GET", f"/api/series/{query}").json()


def test_it_shows_the_numbers_of_the_books(by_key: Page, spent: LocalBursar) -> None:
    found = series(spent, "spend?by=key")
    expect(by_key.locator(".figure").first).to_have_attribute("title", f"${found['cost_usd']}")
    rows = by_key.locator("table[aria-labelledby=spent] tbody tr")
    assert len(found["groups"]) == 3
    for place, group in enumerate(found["groups"]):
        expect(rows.nth(place).locator(".name")).to_have_text(group["name"])
        expect(rows.nth(place).locator(".money")).to_have_text(usd(group["cost_usd"]))
    kinds = series(spent, "tokens")["kinds"]
    told = by_key.locator(".kinds dd")
    assert [told.nth(n).get_attribute("title") for n in range(len(kinds))] == [f"{kind['tokens']:,}" for kind in kinds]
    expect(by_key.locator("table[aria-labelledby=latency] tbody tr")).to_have_count(3)


def test_each_picture_is_drawn_once_for_this_width_and_says_what_it_shows(by_key: Page, spent: LocalBursar) -> None:
    found = series(spent, "spend?by=key")
    pictures = by_key.get_by_role("img").filter(has=by_key.locator("svg"))
    assert pictures.count() == by_key.locator(".chart svg:visible").count() == 4  # spend, tokens, latency, first token
    assert usd(found["cost_usd"]) in (pictures.first.get_attribute("aria-label") or "")
    marks = by_key.locator(".chart").first.locator("svg:visible path:has(title)")
    assert marks.count() == sum(cost != "0.00" for group in found["groups"] for cost in group["costs_usd"])
    assert {group["cost_usd"] for group in found["groups"]} == {
        (text or "").rpartition("$")[2] for text in marks.locator("title").all_text_contents()
    }
    fills = {mark.evaluate("mark => getComputedStyle(mark).fill") for mark in marks.all()}
    assert len(fills) == 3
    for text in by_key.locator(".chart svg:visible text").all():
        height = text.evaluate("text => text.getBoundingClientRect().height")
        assert height >= 10, text.inner_html()


def test_a_name_is_text_whatever_it_holds(by_key: Page) -> None:
    expect(by_key).to_have_title("Spend · Bursar")
    assert by_key.locator("main script").count() == 0
    expect(by_key.locator("table[aria-labelledby=spent]")).to_contain_text(HARM)


def test_nothing_sticks_out_when_the_numbers_are_shown(by_key: Page) -> None:
    for summary in by_key.locator("summary").all():
        summary.click()
    assert by_key.locator("details[open]").count() == 3
    assert outside(by_key) == []


def test_all_that_is_drawn_is_there_as_numbers(wide: Page, spent: LocalBursar) -> None:
    found = series(spent, "spend")
    table = wide.locator("#spend-numbers table")
    wide.locator("#spend-numbers summary").click()
    assert table.locator("thead th").all_inner_texts() == ["from", *(each["name"] for each in found["groups"]), "all"]
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(len(found["times"]))
    assert rows.last.locator("td").all_inner_texts() == [
        *(each["costs_usd"][-1] for each in found["groups"]),
        found["costs_usd"][-1],
    ]


def test_what_is_shown_is_chosen_by_links_that_a_keyboard_reaches(wide: Page) -> None:
    by = wide.get_by_role("group", name="by")
    expect(by.locator("[aria-current]")).to_have_text("model")
    by.get_by_role("link", name="tag team").focus()
    wide.keyboard.press("Enter")
    expect(by.locator("[aria-current]")).to_have_text("tag team")
    names = wide.locator("table[aria-labelledby=spent] .name")
    assert sorted(names.all_inner_texts()) == ["search", "support", "without team"]
    wide.get_by_role("group", name="period").get_by_role("link", name="7 days").click()
    expect(by.locator("[aria-current]")).to_have_text("tag team")
    expect(wide.locator(".figure").first).not_to_have_text("$0.00")
    wide.get_by_role("group", name="period").get_by_role("link", name="earlier").click()
    expect(wide.locator(".figure").first).to_have_text("$0.00")
    expect(wide.locator(".empty").first).to_contain_text("bursar keys create")
    wide.get_by_role("group", name="period").get_by_role("link", name="later").click()
    expect(wide.locator(".figure").first).not_to_have_text("$0.00")


def test_what_is_open_stays_open_when_the_page_is_brought_up_to_date(wide: Page) -> None:
    summary = wide.locator("#tokens-numbers summary")
    summary.focus()
    wide.keyboard.press("Enter")
    wide.evaluate("() => { last = ''; return refresh(); }")
    expect(wide.locator("details[open]")).to_have_id("tokens-numbers")
    assert wide.evaluate("document.activeElement.closest('details').id") == "tokens-numbers"


def test_a_figure_stands_for_calls_and_tokens(wide: Page, spent: LocalBursar) -> None:
    expect(wide.locator(".figure").nth(2)).to_have_text(count(series(spent, "spend")["calls"]))
    assert re.search(r"tokens$", wide.locator(".figures .quiet").last.inner_text())
