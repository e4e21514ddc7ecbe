"""The pages of prices show what the API and the command say, to the digit, with and without a script."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from bench.harness import LocalBursar
from bursar.api.shapes.prices import StepView
from bursar.core.times import moment_from_text
from bursar.web.steps import HEIGHT, WIDTH, price_steps
from tests.asking import fetch
from tests.web.viewing import VIEWS, WIDE, opened, view_id
from tests.work import WORK

PATHS = (
    "/prices?search=gpt-4o",
    "/prices/deepseek/deepseek-v4-pro",
    f"/compare?task={quote(WORK)}",
)


@pytest.fixture(scope="module")
def spender(shared_bursar: LocalBursar) -> str:
    """Have the Bursar run before the browser does."""
    assert shared_bursar.ready()
    return ""


@pytest.fixture(params=VIEWS, ids=view_id)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page."""
    yield from opened(browser, view=request.param)


wide_only = pytest.mark.parametrize("page", [WIDE], indirect=True)


def test_nothing_sticks_out_and_all_may_be_read_aloud(page: Page, shared_bursar: LocalBursar) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    for path in PATHS:
        page.goto(f"{shared_bursar.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert [(path, each["id"]) for each in Axe().run(page).response["violations"]] == []
        for table in page.locator("table").all():
            assert table.locator("thead th").count() == table.locator("tbody tr").first.locator("td").count()


@wide_only
def test_the_list_shows_what_the_api_says_and_leads_on(page: Page, shared_bursar: LocalBursar) -> None:
    page.goto(f"{shared_bursar.url}/prices")
    page.get_by_label("search").fill("gpt-4")
    page.get_by_label("order").select_option("output")
    page.get_by_role("button", name="Show").click()
    told = fetch(shared_bursar, "GET", "/api/prices?search=gpt-4&order=output&limit=50").json()
    rows = page.locator("table.rates tbody tr")
    expect(rows).to_have_count(50)
    expect(page.locator(".note")).to_contain_text(f"{told['total']} prices")
    for index, each in enumerate(told["prices"]):
        shown = rows.nth(index).locator("td").all_text_contents()
        assert shown[0].split()[0] == f"{each['provider']}/{each['model']}"
        rates = each["usd_per_million"]
        assert shown[1:5] == [rates.get(unit, "") for unit in ("input", "cache_read", "cache_write", "output")]
    page.get_by_role("link", name="more").click()
    expect(rows).to_have_count(told["total"] - 50)
    page.get_by_role("link", name="before").click()
    expect(rows).to_have_count(50)
    rows.first.get_by_role("link").click()
    expect(page.locator(".title")).to_have_text(f"{told['prices'][0]['provider']}/{told['prices'][0]['model']}")


@wide_only
def test_a_price_is_shown_with_its_history_and_spread(page: Page, shared_bursar: LocalBursar) -> None:
    path = "/prices/openrouter/z-ai/glm-5.3-flash"
    page.goto(f"{shared_bursar.url}{path}")
    one = fetch(shared_bursar, "GET", f"/api{path}").json()
    expect(page.locator(".example strong")).to_have_text(f"${one['example']['usd']}")
    history = page.locator("table[aria-labelledby=history] tbody tr")
    assert history.count() == len(one["history"]) > 2
    newest, oldest = one["history"][-1], one["history"][0]
    expect(history.first).to_contain_text(newest["since"])
    expect(history.first).to_contain_text(f"{newest['usd_per_million']['input']} {newest['change_percent']['input']} %")
    expect(history.last).to_contain_text(f"before input {oldest['usd_per_million']['input']}", use_inner_text=True)
    assert page.locator("svg.steps path").count() == 2
    offers = page.locator("table[aria-labelledby=spread] tbody tr")
    assert [row.locator("td").nth(1).text_content() for row in offers.all()] == [
        each["blended_usd"] for each in one["spread"]["offers"]
    ]
    expect(page.locator("[aria-current=true]")).to_have_text("openrouter/z-ai/glm-5.3-flash")


@wide_only
def test_work_costs_on_the_page_what_it_costs_by_the_command(
    page: Page, shared_bursar: LocalBursar, tmp_path: Path
) -> None:
    file = tmp_path / "work.toml"
    file.write_text(WORK)
    command = [sys.executable, "-m", "bursar", "prices", "--compare", "--task", str(file), "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    page.goto(f"{shared_bursar.url}/compare")
    page.locator("#file").set_input_files(file)
    expect(page.get_by_label("Work")).to_have_value(WORK)
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    page.get_by_role("button", name="Compare").click()
    rows = page.locator("table.compared tbody tr")
    expect(rows).to_have_count(len(told))
    shown = [[row.locator("td").nth(place).text_content() for place in (1, 2, 3, 4)] for row in rows.all()]
    usage = [each["usage"] for each in told]
    assert [row[3] for row in shown] == [each["total_usd"] for each in told]
    assert [row[1] for row in shown] == [f"{each['cache_read_tokens']:,}" for each in usage]
    expect(rows.last).to_contain_text("115 % of the work's input")
    assert "task=calls" in page.url


def test_without_a_script_all_of_it_works(browser: Browser, shared_bursar: LocalBursar) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{shared_bursar.url}/prices")
    page.get_by_label("search").fill("openai/gpt-6-sol")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="openai/gpt-6-sol").first.click()
    assert "more than 272,000 input tokens" in page.content()
    page.goto(f"{shared_bursar.url}/compare")
    page.get_by_label("others").fill("claude-haiku-4-5, openai/gpt-6-sol")
    page.get_by_role("button", name="Compare").click()
    assert page.locator("table.compared tbody tr").count() == 6
    context.close()


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/prices/nobody/at-all", 404, "no price for model"),
        ("/prices?search=nobody+sells+this", 200, "No price holds all of these words"),
        ("/prices?offset=-1", 400, "offset"),
        ("/compare?task=calls", 400, "expected TOML such as calls = 12"),
        ("/compare?task=a%3D" + "[" * 2_900, 400, "expected TOML"),
        ("/compare?task=input_tokens%3D1%0Aoutput_tokens%3D1", 400, "models: expected at least one"),
        ("/compare?task=input_tokens%3D1%0Aoutput_tokens%3D1&more=nobody", 400, "models: no price for model"),
        ("/compare?task=input_tokens%3D1%0Aoutput_tokens%3D-1&more=gpt-4o", 400, "output_tokens: expected an integer"),
        ("/compare?task=" + "x" * 3_001, 400, "at most 3,000 characters"),
        ("/compare?task=models%3D1%0Ainput_tokens%3D1%0Aoutput_tokens%3D1", 400, "$.models"),
    ],
)
def test_what_cannot_be_shown_is_said(shared_bursar: LocalBursar, path: str, status: int, why: str) -> None:
    answer = fetch(shared_bursar, "GET", path)
    assert (answer.status, why in answer.body.decode()) == (status, True), answer.body.decode()[-2_000:]


def test_what_is_written_in_an_address_is_text_and_is_not_logged(shared_bursar: LocalBursar) -> None:
    script = "<script>canary-5120</script>"
    for path in ("/compare?task=", "/prices?search=", "/compare?task=calls%3D1&more="):
        assert script not in fetch(shared_bursar, "GET", path + quote(script)).body.decode()
    assert "canary-5120" not in shared_bursar.last_words()


def steps(*entries: tuple[str | None, dict[str, str]]) -> list[StepView]:
    return [StepView(since, rates, {}, {}) for since, rates in entries]


NOW = moment_from_text("2026-11-23")


@pytest.mark.parametrize(
    ("history", "paths"),
    [
        (steps((None, {"input": "1.00"})), {}),
        (steps((None, {"input": "1.00"}), ("2027-01-01", {"input": "2.00"})), {}),
        (steps((None, {"input": "0.00"}), ("2026-01-01", {"input": "0.00"})), {}),
        (
            steps((None, {"input": "1.00"}), ("2026-01-01", {"input": "2.00", "output": "4.00"})),
            {"input": "M0.0 81.5H72.0L72.0 55.0H600.0", "output": "M72.0 2.0H600.0"},
        ),
    ],
)
def test_a_history_is_drawn_to_scale_and_only_where_something_changed(
    history: list[StepView], paths: dict[str, Any]
) -> None:
    assert (WIDTH, HEIGHT) == (600, 110)
    assert {line.unit: line.path for line in price_steps(history, NOW)} == paths
