"""The page of savings says what each lever saves and what routes choose, or what to do before it can."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.harness import LocalBursar
from bursar.web.format import count, usd
from tests.asking import ask, fetch, wait_booked
from tests.web.viewing import VIEWS, opened, outside, view_id

CONFIG = """
[providers.sandbox]
kind = "sandbox"

[models.small]
targets = ["sandbox/gpt-4o-mini"]

[models."<b>big</b>"]
targets = ["sandbox/gpt-4o"]

[routes.auto]
by = "rule"
models = ["small", "<b>big</b>"]
rules = [{ model = "small" }]
holdout_percent = 50
"""
RUNS = 90


@pytest.fixture(scope="module")
def dividing() -> Iterator[LocalBursar]:
    """Run a Bursar whose route holds half of its runs out, with enough runs to tell."""
    local = LocalBursar(CONFIG)
    local.start()
    secret = local.create_key("divided", "5.00")
    answers = [ask(local, secret, "[[output=20]] hi", model="auto", x_bursar_run=f"run {run}") for run in range(RUNS)]
    for number, answer in enumerate(answers[-4:]):
        name = answer.headers["x-bursar-call-id"]
        wait_booked(local, name)
        outcome = json.dumps({"id": name, "kind": "score", "value": number / 4, "call": name}).encode()
        told = fetch(
            local, "POST", "/api/outcomes", outcome, authorization=f"Bearer {secret}", content_type="application/json"
        )
        assert told.status == 201, told.body
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def spender(dividing: LocalBursar, shared_bursar: LocalBursar) -> LocalBursar:
    """Have what the pages show before the browser runs."""
    assert shared_bursar.ready()
    return dividing


@pytest.fixture(params=VIEWS, ids=view_id)
def savings_page(dividing: LocalBursar, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from opened(browser, f"{dividing.url}/savings", request.param)


@pytest.fixture
def empty_page(shared_bursar: LocalBursar, browser: Browser) -> Iterator[Page]:
    yield from opened(browser, f"{shared_bursar.url}/savings", (390, "light"))


def test_a_lever_is_shown_with_its_arms_and_its_verdict(savings_page: Page, dividing: LocalBursar) -> None:
    (found,) = fetch(dividing, "GET", "/api/savings").json()
    assert found["verdict"].startswith("saves 94")
    lever = savings_page.locator(".lever")
    expect(lever.locator("h3")).to_have_text("route auto, 50 % held out")
    expect(lever.locator(".verdict")).to_have_text(f"{found['verdict']}.")
    rows = lever.locator("tbody tr")
    for row, name in ((rows.nth(0), "treatment"), (rows.nth(1), "holdout")):
        expect(row.locator(".money").first).to_have_attribute("title", f"${found[name]['cost_usd']}")
        expect(row.locator(".n").first).to_have_text(count(found[name]["units"]))
    assert found["treatment"]["units"] + found["holdout"]["units"] == RUNS
    bar, track = lever.locator(".interval i").bounding_box(), lever.locator(".interval").bounding_box()
    assert bar is not None
    assert track is not None
    assert bar["x"] > track["x"] + 0.9 * track["width"]  # nearly all of it is saved


def test_a_route_is_shown_with_its_choices_and_how_they_turned_out(savings_page: Page, dividing: LocalBursar) -> None:
    (route,) = fetch(dividing, "GET", "/api/routes").json()["routes"]
    assert {(each["model"], each["how"]) for each in route["choices"]} == {("small", "rule"), ("<b>big</b>", "holdout")}
    assert sum(each["share"] for each in route["choices"]) == pytest.approx(1)
    assert sum(each["told_calls"] for each in route["choices"]) == 4
    section = savings_page.locator("section", has=savings_page.get_by_role("heading", name="Route auto, 30 days"))
    rows = section.locator("tbody tr")
    for number, choice in enumerate(route["choices"]):
        expect(rows.nth(number).locator(".name")).to_have_text(choice["model"])
        expect(rows.nth(number).locator(".money")).to_have_text(usd(choice["cost_usd"]))
        if choice["good"] is not None:
            expect(rows.nth(number)).to_contain_text(f"{100 * choice['good']:.0f} %")
    assert savings_page.locator("main b").count() == 1  # the mark in the bar: names are no markup


def test_nothing_of_the_savings_sticks_out_and_all_says_what_it_is(savings_page: Page) -> None:
    assert outside(savings_page) == []
    assert savings_page.title() == "Savings · Bursar"
    expect(savings_page.get_by_role("link", name="Savings")).to_have_attribute("aria-current", "page")
    for table in savings_page.locator("table").all():
        assert table.locator("thead th").count() == table.locator("tbody tr").first.locator("td").count()
        assert table.get_attribute("aria-labelledby")
    for picture in savings_page.locator("[role=img]").all():
        assert picture.get_attribute("aria-label")


def test_before_there_is_anything_the_page_says_what_to_do(empty_page: Page) -> None:
    empty = empty_page.locator(".empty")
    expect(empty).to_have_count(2)
    expect(empty.nth(0)).to_contain_text("holdout_percent")
    expect(empty.nth(1)).to_contain_text("[routes.auto]")


def test_the_savings_are_one_fragment_for_the_script(dividing: LocalBursar) -> None:
    fragment = fetch(dividing, "GET", "/savings", x_fragment="1").body.decode()
    assert "<html" not in fragment
    assert "What levers save" in fragment
