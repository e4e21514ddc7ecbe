"""The page shows the books as they are, to everybody: narrow or wide, light or dark, by pointer or by keyboard."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.harness import LocalBursar
from bursar.web.format import count, usd
from tests.asking import ask, ask_and_wait, fetch, wait_booked
from tests.web.viewing import VIEWS, WIDE, opened, outside, view_id

SCRIPT = "<script>document.title='owned'</script><b>bold</b>"
LIVE_MS = 15_000


@pytest.fixture(scope="session")
def spender(shared_bursar: LocalBursar) -> str:
    """Make calls of every kind the page shows, and return the secret of the key that made them."""
    secret = shared_bursar.create_key("page-" + "long-name-" * 6, "0.50/day")
    other = shared_bursar.create_key(SCRIPT, "1.00/day")
    prompt = "[[output=20 reasoning=7]] " + "x" * 6_000
    for _ in range(2):
        ask_and_wait(shared_bursar, secret, prompt, model="gpt-5-mini")
    ask_and_wait(shared_bursar, other, "[[output=40]] hi", stream=True)
    failed = ask(shared_bursar, secret, "[[fault=500]] hi")
    wait_booked(shared_bursar, failed.headers["x-bursar-call-id"])
    return secret


@pytest.fixture(params=VIEWS, ids=view_id)
def page(browser: Browser, shared_bursar: LocalBursar, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from opened(browser, shared_bursar.url, request.param)


wide_only = pytest.mark.parametrize("page", [WIDE], indirect=True)


def overview_of(local: LocalBursar) -> dict[str, Any]:
    return fetch(local, "GET", "/api/overview").json()


def test_it_shows_the_numbers_of_the_books(page: Page, shared_bursar: LocalBursar) -> None:
    overview = overview_of(shared_bursar)
    for heading, total in (("Today", overview["today"]), ("This month", overview["month"])):
        section = page.locator("section", has=page.get_by_role("heading", name=heading, exact=True))
        expect(section.locator(".figure")).to_have_text(usd(total["cost_usd"]))
        expect(section.locator(".figure")).to_have_attribute("title", f"${total['cost_usd']}")
        expect(section.locator(".quiet").first).to_contain_text(f"{count(total['calls'])} calls")
    for title, lines in (("By model", overview["by_model"]), ("By key", overview["by_key"])):
        rows = page.locator("section", has=page.get_by_role("heading", name=title)).locator("tbody tr")
        expect(rows).to_have_count(min(8, len(lines)))
        for index, line in enumerate(lines[:8]):
            row = rows.nth(index)
            expect(row.locator(".name")).to_have_text(line["name"])
            expect(row.locator(".money")).to_have_text(usd(line["cost_usd"]))
            expect(row.locator(".money")).to_have_attribute("title", f"${line['cost_usd']}")
    kinds = page.locator("dl.legend div")
    assert kinds.locator("dd").first.get_attribute("title") == f"{overview['month']['input_tokens']:,}"
    expect(kinds).to_have_count(5)


def test_the_latest_calls_are_those_of_the_books(page: Page, shared_bursar: LocalBursar) -> None:
    calls = overview_of(shared_bursar)["calls"]
    rows = page.locator("table.calls tbody tr")
    assert [row.get_attribute("data-id") for row in rows.all()] == [call["id"] for call in calls]
    for index, call in enumerate(calls[:5]):
        expect(rows.nth(index).locator(".name").first).to_have_text(call["key"])
        expect(rows.nth(index).locator(".money")).to_have_attribute(
            "title", f"${call['cost_usd']}, usage {call['usage_source']}"
        )
    failed = next(index for index, call in enumerate(calls) if call["status"] == "failed")
    expect(rows.nth(failed).locator(".warn:visible")).to_have_text("failed")


def test_nothing_sticks_out(page: Page) -> None:
    assert outside(page) == []


def test_text_can_be_told_from_its_ground(page: Page) -> None:
    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    paper = luminance(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (paper < 0.05) == dark
    for selector in ("body", ".quiet", "h2", ".warn"):
        ink = luminance(page.evaluate("name => getComputedStyle(document.querySelector(name)).color", selector))
        contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
        assert contrast >= 4.5, selector


def test_a_name_is_text_whatever_it_holds(page: Page) -> None:
    expect(page.locator("table.budgets")).to_contain_text(SCRIPT)
    assert page.title() == "Bursar"
    assert page.locator("main b, main script").count() == 0


@wide_only
def test_a_call_shows_while_somebody_looks(page: Page, shared_bursar: LocalBursar, spender: str) -> None:
    before = Decimal(overview_of(shared_bursar)["today"]["cost_usd"])
    call_id = ask_and_wait(shared_bursar, spender, "[[output=500]] hi")
    row = page.locator(f'tr[data-id="{call_id}"]')
    expect(row).to_be_visible(timeout=LIVE_MS)
    expect(row).to_have_class("new")
    today = overview_of(shared_bursar)["today"]["cost_usd"]
    assert Decimal(today) > before
    expect(page.locator(".figure").first).to_have_attribute("title", f"${today}")
    expect(page.locator("#pulse")).to_have_text("live")


@wide_only
def test_everything_that_leads_somewhere_is_reached_by_the_keyboard_and_seen(page: Page) -> None:
    wanted = page.locator("a[href]").count()
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => { const here = document.activeElement;
                return [here.getAttribute("href"), getComputedStyle(here).outlineStyle]; }"""
        )
        reached.append(focused)
    assert [href for href, _ in reached] == [link.get_attribute("href") for link in page.locator("a[href]").all()]
    assert "none" not in [outline for _, outline in reached]


@wide_only
def test_what_is_held_by_the_keyboard_stays_held_when_the_page_is_brought_up_to_date(page: Page) -> None:
    link = page.locator("table.calls tbody tr a").first
    href = link.get_attribute("href")
    link.focus()
    page.evaluate("() => { last = ''; return refresh(); }")
    assert page.evaluate("() => document.activeElement.getAttribute('href')") == href


@wide_only
def test_the_row_of_a_call_leads_to_its_record(page: Page, shared_bursar: LocalBursar) -> None:
    link = page.locator("table.calls tbody tr a").first
    call_id = link.locator("xpath=ancestor::tr").get_attribute("data-id") or ""
    link.click()
    expect(page.get_by_role("heading", level=2, name=call_id)).to_be_visible()
    href = page.get_by_role("link", name="JSON").get_attribute("href") or ""
    assert href == f"/api/calls/{call_id}"
    assert fetch(shared_bursar, "GET", href).json()["attempts"]


@wide_only
def test_headings_tables_and_pictures_say_what_they_are(page: Page) -> None:
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    for table in page.locator("table").all():
        assert table.locator("thead th").count() == table.locator("tbody tr").first.locator("td").count()
        assert table.evaluate("table => table.closest('section').querySelector('h2') !== null")
        assert table.evaluate("table => [...table.querySelectorAll('th')].every((head) => head.scope === 'col')")
        assert table.evaluate("table => !!(table.getAttribute('aria-labelledby') || table.caption)")
    for picture in page.locator("[role=img]").all():
        assert picture.get_attribute("aria-label")
    for picture in page.locator("img").all():
        assert picture.get_attribute("alt") is not None


def test_a_gateway_that_is_away_is_said(browser: Browser, shared_bursar: LocalBursar) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(shared_bursar.url)
    page.route("**/*", lambda route: route.fulfill(status=503, body="away"))
    expect(page.locator("#pulse")).to_have_text("not connected", timeout=LIVE_MS)
    page.unroute("**/*")
    expect(page.locator("#pulse")).to_have_text("live", timeout=LIVE_MS)
    context.close()


def test_the_page_forbids_what_it_does_not_need(shared_bursar: LocalBursar) -> None:
    headers = fetch(shared_bursar, "GET", "/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")


def test_a_fragment_is_the_changing_part_alone(shared_bursar: LocalBursar) -> None:
    fragment = fetch(shared_bursar, "GET", "/", x_fragment="1").body.decode()
    whole = fetch(shared_bursar, "GET", "/").body.decode()
    assert "<html" in whole
    assert "<html" not in fragment
    assert "Latest calls" in fragment


@pytest.mark.parametrize("page", [(390, "light"), (390, "dark")], indirect=True)
def test_on_a_phone_the_names_of_models_are_shown_whole(page: Page) -> None:
    names = page.locator(".name > span:not(.bar)").filter(has_text=re.compile("gpt"))
    assert names.count() > 4
    for name in names.all():
        room, needed = name.evaluate("e => [[e.clientWidth, e.clientHeight], [e.scrollWidth, e.scrollHeight]]")
        assert needed <= room, name.inner_text()
