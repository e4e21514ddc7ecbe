"""Keys and budgets are administered in a browser: by pointer and keyboard, narrow and wide, and the gateway follows."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

import openai
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from bench.harness import LocalBursar
from tests.asking import ask_until, fetch
from tests.web.viewing import VIEWS, outside

LONG = "a-key-with-a-name-as-long-as-nobody-should-give-it-but-somebody-will-do-so"


class Administered(NamedTuple):
    """Hold a Bursar and the secrets of an admin key and of a key."""

    local: LocalBursar
    admin: str
    secret: str


@pytest.fixture(scope="module")
def administered() -> Iterator[LocalBursar]:
    """Run a Bursar of their own: in one that others share, hundreds of keys stand on a page."""
    local = LocalBursar()
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()


@pytest.fixture(scope="module")
def spender(administered: LocalBursar) -> Administered:
    """Have what the pages show before the browser runs."""
    local = administered
    admin = local.command("admin", "create", "--name", "pages-admin").strip()
    local.command("budget", "create", "pages-team", "50.00/month", "--zone", "Europe/Berlin", "--alerts", "50,100")
    scope = {"models": ["gpt-4o-mini", "claude-*"], "routes": ["/v1/chat/completions"], "addresses": ["127.0.0.0/8"]}
    secret = local.create_key(LONG, "5.00/day", "600 requests/minute", parent="pages-team", **scope)
    return Administered(local, admin, secret)


def signed_in(browser: Browser, spender: Administered, path: str, width: int = 1440, scheme: Any = "light") -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{spender.local.url}{path}")
    page.get_by_role("link", name="Sign in to change anything").click()
    page.get_by_label("Admin key").fill(spender.admin)
    page.keyboard.press("Enter")
    expect(page.get_by_text("signed in as pages-admin")).to_be_visible()
    assert page.url == f"{spender.local.url}{path}"
    return page


@pytest.fixture
def keys_page(browser: Browser, spender: Administered) -> Iterator[Page]:
    page = signed_in(browser, spender, "/keys")
    yield page
    page.context.close()


@pytest.fixture
def budgets_page(browser: Browser, spender: Administered) -> Iterator[Page]:
    page = signed_in(browser, spender, "/budgets")
    yield page
    page.context.close()


def test_a_key_is_made_used_and_revoked(keys_page: Page, spender: Administered) -> None:
    keys_page.get_by_text("Make a key").click()
    keys_page.get_by_label("Name").fill("made by page")
    keys_page.locator("#create-limits").fill("lots")
    keys_page.locator("#create-tags").fill("team=blue")
    keys_page.get_by_role("button", name="Make the key").click()
    wrong = keys_page.locator("#create-limits")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_value("lots")
    expect(keys_page.locator("#create-limits-says")).to_contain_text("expected USD")
    expect(keys_page.get_by_role("alert")).to_have_text("Nothing was changed: look at limits.")
    expect(keys_page.get_by_label("Name")).to_have_value("made by page")
    expect(keys_page.locator("#create-tags")).to_have_value("team=blue")
    wrong.fill("1.00/day")
    keys_page.get_by_role("button", name="Make the key").click()
    secret = keys_page.locator("#secret").inner_text()
    assert secret.startswith("bk_")
    keys_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    keys_page.get_by_role("button", name="Copy").click()
    expect(keys_page.get_by_role("button", name="Copied")).to_be_visible()
    assert keys_page.evaluate("navigator.clipboard.readText()") == secret
    client = openai.OpenAI(base_url=f"{spender.local.url}/v1", api_key=secret, max_retries=0)
    asked: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[output=10]] hi"}]}
    assert client.chat.completions.create(**asked).choices[0].message.content
    keys_page.reload()
    expect(keys_page.locator("#secret")).to_have_count(0)
    keys_page.goto(f"{spender.local.url}/budgets")
    keys_page.go_back()
    assert secret not in keys_page.content() + keys_page.url
    keys_page.locator("summary", has_text="Revoke made by page").click()
    keys_page.get_by_role("button", name="Revoke it for good").locator("visible=true").click()
    expect(keys_page.get_by_role("status")).to_have_text("The key is revoked.")
    row = keys_page.locator("tr", has=keys_page.get_by_text("made by page", exact=True))
    expect(row.last).to_contain_text("revoked")
    ask_until(spender.local, secret, 401)
    with pytest.raises(openai.AuthenticationError, match="revoked"):
        client.chat.completions.create(**asked)


def test_a_limit_set_by_page_holds_and_what_it_does_not_name_stays(budgets_page: Page, spender: Administered) -> None:
    expect(budgets_page.locator("li li", has_text=LONG)).to_have_count(1)  # it stands below its team
    budgets_page.locator("summary", has_text=f"Limits {LONG}").click()
    limits = budgets_page.get_by_label("Limits", exact=True).locator("visible=true")
    expect(limits).to_have_value("5.00/day, 600 requests/minute")
    limits.fill("0.0000001/day")
    budgets_page.get_by_role("button", name="Set the limits").locator("visible=true").click()
    expect(budgets_page.get_by_role("row", name="limits")).to_contain_text("5.00/day, 600 requests/minute")
    assert Axe().run(budgets_page).response["violations"] == []
    budgets_page.get_by_role("link", name="Leave it as it is").click()
    budgets_page.locator("summary", has_text=f"Limits {LONG}").click()
    limits.fill("0.0000001/day")
    budgets_page.get_by_role("button", name="Set the limits").locator("visible=true").click()
    expect(budgets_page.get_by_role("button", name="Set them")).to_be_focused()
    budgets_page.keyboard.press("Enter")
    expect(budgets_page.get_by_role("status")).to_have_text("The limits are set.")
    assert ask_until(spender.local, spender.secret, 402).json()["error"]["code"] == "budget_exhausted"
    budgets_page.locator("summary", has_text="Limits pages-team").click()
    expect(budgets_page.get_by_label("Time zone").locator("visible=true")).to_have_value("Europe/Berlin")
    budgets_page.get_by_label("Limits", exact=True).locator("visible=true").fill("60.00/month")
    budgets_page.get_by_role("button", name="Set the limits").locator("visible=true").click()
    budgets_page.get_by_role("button", name="Set them").click()
    expect(budgets_page.get_by_role("status")).to_have_text("The limits are set.")
    tree = fetch(spender.local, "GET", "/api/budgets/tree").json()
    team = next(branch for branch in tree if branch["name"] == "pages-team")
    assert (team["limits"][0]["limit"], team["zone"]) == ("60.00/month", "Europe/Berlin")
    assert team["alerts_percent"] == [50, 100]


def test_a_keys_scope_is_changed_by_page_and_the_gateway_follows(keys_page: Page, spender: Administered) -> None:
    made = ("--name", "scoped by page", "--model", "gpt-4o-mini", "--from", "127.0.0.0/8", "--tags", "team=blue")
    secret = spender.local.command("keys", "create", *made, "--output-cap", "64").strip()
    keys_page.reload()
    keys_page.locator("summary", has_text="Scope scoped by page").click()
    models = keys_page.get_by_label("Models").locator("visible=true")
    expect(models).to_have_value("gpt-4o-mini")
    models.fill("claude-*")
    keys_page.get_by_label("Output cap").locator("visible=true").fill("")
    keys_page.get_by_role("button", name="Limit it so").locator("visible=true").click()
    rows = keys_page.locator("table.changes tbody tr")
    expect(rows).to_have_text(["models gpt-4o-mini claude-*", "output cap, tokens 64 none"], use_inner_text=True)
    assert Axe().run(keys_page).response["violations"] == []
    keys_page.get_by_role("button", name="Limit it so").click()
    expect(keys_page.get_by_role("status")).to_have_text("The key is limited otherwise.")
    assert ask_until(spender.local, secret, 403).json()["error"]["code"] == "out_of_scope"
    key = next(key for key in fetch(spender.local, "GET", "/api/keys").json() if key["name"] == "scoped by page")
    shown = {field: key[field] for field in ("models", "addresses", "tags", "output_cap")}
    assert shown == {"models": ["claude-*"], "addresses": ["127.0.0.0/8"], "tags": {"team": "blue"}, "output_cap": None}


def test_money_is_moved_by_page_after_it_was_asked(budgets_page: Page, spender: Administered) -> None:
    for name in ("gives", "gets"):
        spender.local.command("budget", "create", name, "8.00/month")
    budgets_page.reload()
    budgets_page.locator("summary", has_text="Move money gives").click()
    budgets_page.get_by_label("Amount, USD").locator("visible=true").fill("3.00")
    budgets_page.get_by_label("To whose budget").locator("visible=true").fill("gets")
    budgets_page.get_by_role("button", name="Move it").locator("visible=true").click()
    rows = budgets_page.locator("table.changes tbody tr")
    expect(rows.first).to_contain_text("5.00 USD")
    expect(rows.last).to_contain_text("11.00 USD")
    budgets_page.get_by_role("button", name="Move it").click()
    expect(budgets_page.get_by_role("status")).to_have_text("The money is moved.")
    tree = {each["name"]: each for each in fetch(spender.local, "GET", "/api/budgets/tree").json()}
    assert [tree[name]["limits"][0]["left_usd"] for name in ("gives", "gets")] == ["5.00", "11.00"]


def test_a_budget_says_when_it_runs_out_and_how_sure_that_is(budgets_page: Page, spender: Administered) -> None:
    local = spender.local
    local.command("budget", "create", "runs out", "10.00", "--alerts", "90")
    secret = local.command("keys", "create", "--name", "below runs out", "--parent", "runs out").strip()
    charge = b'{"id": "runs out", "kind": "tool", "amount_usd": "8.00"}'
    bearer = f"Bearer {secret}"
    fetch(local, "POST", "/api/charges", charge, authorization=bearer, content_type="application/json")
    ago = "extract(epoch from now() - make_interval(days => day)) * 1000000"
    sample = f"1, holder_id, 'total', ({ago})::bigint, (20 - day) * 400000000::bigint"
    days = "cross join generate_series(20, 1, -1) as day"
    plant_samples(local, f"insert into spending_samples select {sample} from holders {days} where name = 'runs out'")
    budgets_page.reload()
    row = budgets_page.locator("li", has_text="runs out").locator("tr", has_text="10.00").first
    expect(row).to_contain_text(re.compile(r"runs out \d{4}-\d\d-\d\d \d\d:\d\d, .* at the earliest, .* at the latest"))
    tree = fetch(local, "GET", "/api/budgets/tree").json()
    found = next(each for each in tree if each["name"] == "runs out")["limits"][0]["runs_out"]
    assert found["earliest_at"] <= found["at"] <= found["latest_at"]
    days_left = (datetime.fromisoformat(found["at"]) - datetime.now(UTC)).total_seconds() / 86_400
    assert 4.5 < days_left < 5.5  # 2.00 USD at 0.40 a day


def plant_samples(local: LocalBursar, text: str) -> None:
    """Change the books behind a browser's back: in a thread, which has no event loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(local.query, text).result()


def test_a_budget_is_made_and_frozen_by_keyboard_alone(budgets_page: Page, spender: Administered) -> None:
    def reach(text: str) -> None:
        """Go on by Tab until what has the focus says a text, or has it as its label."""
        told = """() => { const at = document.activeElement;
            return (at.labels?.length ? [...at.labels] : [at]).map((each) => each.textContent).join() }"""
        for _ in range(400):
            budgets_page.keyboard.press("Tab")
            if budgets_page.evaluate(told).strip() == text:
                return
        raise AssertionError(f"no way by keyboard to {text}")

    reach("Make a budget")
    budgets_page.keyboard.press("Enter")
    reach("Name")
    budgets_page.keyboard.type("by keyboard")
    reach("Limits")
    budgets_page.keyboard.type("3.00/day")
    reach("Make the budget")
    budgets_page.keyboard.press("Space")
    expect(budgets_page.get_by_role("status")).to_have_text("Budget by keyboard is made.")
    reach("Freeze by keyboard")
    budgets_page.keyboard.press("Enter")
    reach("Freeze it")
    budgets_page.keyboard.press("Enter")
    expect(budgets_page.get_by_role("status")).to_contain_text("The budget is frozen")
    tree = fetch(spender.local, "GET", "/api/budgets/tree").json()
    assert next(branch["frozen"] for branch in tree if branch["name"] == "by keyboard")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_nothing_sticks_out_and_no_rule_of_accessibility_is_broken_with_all_forms_open(
    browser: Browser, spender: Administered, width: int, scheme: Any
) -> None:
    page = signed_in(browser, spender, "/keys", width, scheme)
    told: list[Any] = []
    for path in ("/keys", "/budgets", "/sign-in"):
        page.goto(f"{spender.local.url}{path}")
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert outside(page) == []
        found = Axe().run(page).response["violations"]
        told += [(path, each["id"], each["help"], [node["target"] for node in each["nodes"]]) for each in found]
    page.context.close()
    assert told == []


def test_the_forms_work_without_a_script(browser: Browser, spender: Administered) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{spender.local.url}/sign-in?to=/keys")
    page.get_by_label("Admin key").fill(spender.admin)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Make a key").click()
    page.get_by_label("Name").fill("made without a script")
    page.get_by_role("button", name="Make the key").click()
    assert page.locator("#secret").inner_text().startswith("bk_")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in to change anything")).to_be_visible()
    context.close()
