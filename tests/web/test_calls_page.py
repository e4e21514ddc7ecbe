"""The pages of calls show them as they come, narrow them by links, and show one with all it was charged for."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.harness import LocalBursar
from bursar.core.money import usd_to_nano
from bursar.web.format import milliseconds, usd
from tests.asking import ask, ask_and_wait, fetch, wait_booked
from tests.web.viewing import VIEWS, opened, outside, view_id

HARM = "<script>document.title='owned'</script>"
LIVE_MS = 15_000


@pytest.fixture(scope="module")
def spender(shared_bursar: LocalBursar) -> str:
    """Make calls of two models, in a run, and one that fails, before the browser runs."""
    secret = shared_bursar.create_key(HARM + "long-name-" * 4, "5.00", tags={"team": "calls"})
    for model in ("gpt-4o-mini", "gpt-5-mini"):
        ask_and_wait(shared_bursar, secret, "[[output=30 reasoning=4]] hi", model=model, x_bursar_run="calls run")
    failed = ask(shared_bursar, secret, "[[fault=500]] hi")
    wait_booked(shared_bursar, failed.headers["x-bursar-call-id"])
    return secret


@pytest.fixture(params=VIEWS, ids=view_id)
def page(browser: Browser, shared_bursar: LocalBursar, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from opened(browser, f"{shared_bursar.url}/calls", request.param)


@pytest.fixture
def wide(browser: Browser, shared_bursar: LocalBursar) -> Iterator[Page]:
    yield from opened(browser, f"{shared_bursar.url}/calls")


def test_the_calls_are_those_of_the_books_and_one_is_shown_in_full(page: Page, shared_bursar: LocalBursar) -> None:
    calls = fetch(shared_bursar, "GET", "/api/calls?limit=100").json()
    rows = page.locator("table.calls tbody tr")
    assert [row.get_attribute("data-id") for row in rows.all()] == [call["id"] for call in calls]
    assert outside(page) == []
    answered = next(call for call in calls if call["run"] == "calls run")
    page.locator(f'tr[data-id="{answered["id"]}"] a').click()
    shown = fetch(shared_bursar, "GET", f"/api/calls/{answered['id']}").json()
    expect(page.locator(".figure").first).to_have_text(usd(shown["cost_usd"]))
    expect(page.locator(".figure").nth(1)).to_have_text(milliseconds(shown["duration_ms"]))
    (attempt,) = shown["attempts"]
    amounts = page.locator("table.lines .money").all_inner_texts()
    assert amounts == [*(line["amount_usd"] for line in attempt["lines"]), attempt["cost_usd"]]
    assert page.get_by_role("img").last.get_attribute("aria-label")
    assert outside(page) == []
    assert page.locator("main script").count() == 0


def test_links_narrow_the_calls_and_lead_back(wide: Page, shared_bursar: LocalBursar) -> None:
    wide.get_by_role("group", name="run").get_by_role("link", name="calls run").click()
    expect(wide.locator("table.calls tbody tr")).to_have_count(2)
    wide.get_by_role("group", name="model").get_by_role("link", name="gpt-5-mini").click()
    expect(wide.locator("table.calls tbody tr")).to_have_count(1)
    wide.evaluate("() => { last = ''; return refresh(); }")
    expect(wide.locator("table.calls tbody tr")).to_have_count(1)
    wide.get_by_role("group", name="run").get_by_role("link").click()
    wide.get_by_role("group", name="model").get_by_role("link").click()
    wide.get_by_role("group", name="status").get_by_role("link", name="failed").click()
    assert set(wide.locator("table.calls tbody .warn:visible").all_inner_texts()) == {"failed"}
    assert fetch(shared_bursar, "GET", "/api/calls?status=failed").json()[0]["status"] == "failed"


def test_a_call_shows_while_somebody_looks(wide: Page, shared_bursar: LocalBursar, spender: str) -> None:
    call_id = ask_and_wait(shared_bursar, spender, "[[output=5]] hi", stream=True)
    row = wide.locator(f'tr[data-id="{call_id}"]')
    expect(row).to_be_visible(timeout=LIVE_MS)
    expect(row).to_have_class("new")


def test_older_calls_are_a_page_further(shared_bursar: LocalBursar, spender: str) -> None:
    newest = fetch(shared_bursar, "GET", "/api/calls?limit=2").json()
    page = fetch(shared_bursar, "GET", f"/calls?before={newest[0]['id']}").body.decode()
    assert f'data-id="{newest[1]["id"]}"' in page
    assert f'data-id="{newest[0]["id"]}"' not in page
    assert '<a href="/calls">latest</a>' in page


def test_what_cannot_be_sought_is_said(shared_bursar: LocalBursar) -> None:
    for query, detail in (("status=fine", "status: expected ok, failed"), ("before=x", "before: expected a call id")):
        answer = fetch(shared_bursar, "GET", f"/api/calls?{query}")
        assert (answer.status, answer.json()["detail"][: len(detail)]) == (400, detail)
    assert b"Show all" in fetch(shared_bursar, "GET", "/calls?model=none-such").body


def test_overage_is_what_a_lease_lacked_not_what_a_hold_did(shared_bursar: LocalBursar) -> None:
    for name, limit, lacked in (("purse that lacks", "0.0001", True), ("purse that has", "5.00", False)):
        secret = shared_bursar.command("keys", "create", "--name", name, "--budget", limit).strip()
        call_id = ask_and_wait(shared_bursar, secret, "[[output=900 fault=overrun]]", max_tokens=10)
        call = fetch(shared_bursar, "GET", f"/api/calls/{call_id}").json()
        assert usd_to_nano(call["cost_usd"]) > usd_to_nano(call["held_usd"])
        assert (call["overage_usd"] != "0.00") is lacked
        page = fetch(shared_bursar, "GET", f"/calls/{call_id}").body.decode()
        assert (f"${call['overage_usd']} overage, which its lease lacked" in page) is lacked
        assert ("overage" in page) is lacked
