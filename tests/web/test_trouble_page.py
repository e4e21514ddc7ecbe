"""What cannot be shown is answered with a page that says why and leads on; programs are answered with JSON."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from litestar import Litestar, get
from litestar.testing import TestClient
from playwright.sync_api import Browser, Page, expect
from structlog.testing import capture_logs

from bench.harness import LocalBursar, free_port
from bursar.api.doctor.doctor import Doctor
from bursar.api.doctor.examine import Place
from bursar.api.plan import Planner
from bursar.web.app import control_plane
from bursar.web.pages import Pages
from bursar.web.trouble import trouble
from tests.asking import fetch
from tests.web.viewing import VIEWS, outside, view_id

BROWSER = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def spender(shared_bursar: LocalBursar) -> str:
    """Have the Bursar run before the browser does."""
    assert shared_bursar.ready()
    return ""


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/prices?search=%00", 400, "search: expected a text without a NUL character"),
        ("/prices?offset=-1", 400, "offset: Expected `int` &gt;= 0"),
        ("/prices/%00", 404, "no price for model"),
        ("/prices/a/b", 404, "no price for model &#39;a/<wbr>b&#39;"),
        ("/spend?by=bogus", 400, "by: expected model, key, account, provider or tag:NAME, got &#39;bogus&#39;"),
        ("/spend?by=tag:%00", 400, "by: expected model"),
        ("/spend?days=many", 400, "days: Expected `int"),
        ("/spend?since=2026-01-02&until=2026-01-01", 400, "since: expected a moment before until"),
        ("/spend?since=%00", 400, "since: expected a date"),
        ("/calls?status=zzz", 400, "status: expected ok, failed"),
        ("/calls?model=%00", 400, "model: expected a text without a NUL character"),
        ("/calls?before=x", 400, "before: expected a call id"),
        ("/calls/nonsense", 400, "expected a call id"),
        ("/calls/%00", 400, "expected a call id"),
        (f"/calls/call_{'0' * 32}", 404, "a call shows here a moment after it has ended"),
        ("/compare?task=%00", 400, "expected TOML"),
    ],
)
def test_a_page_says_what_is_wrong_with_what_was_asked_and_leads_on(
    shared_bursar: LocalBursar, path: str, status: int, told: str
) -> None:
    answer = fetch(shared_bursar, "GET", path)
    text = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "content-security-policy" in answer.headers
    assert told in text
    assert '<nav aria-label="Pages">' in text
    root = "/" + path.split("?")[0].split("/")[1]
    assert f'<a href="{root}"' in text.partition("<main")[2] or root == "/compare"


@pytest.mark.parametrize("path", ["/nothing", "/v1/chat/completions/none", "/keys/x/revoke", "/static/none.css"])
def test_an_address_there_is_none_of_is_a_page_for_a_browser_here_and_json_for_a_program(
    shared_bursar: LocalBursar, path: str
) -> None:
    shown = fetch(shared_bursar, "GET", path, accept=BROWSER)
    assert shown.status == (405 if "revoke" in path else 404)
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert b'<a href="/">Overview</a>' in shown.body
    for told in (
        fetch(shared_bursar, "GET", path),
        fetch(shared_bursar, "GET", path, accept=BROWSER, x_forwarded_for="203.0.113.9"),
    ):
        assert told.status in (shown.status, 403)
        assert told.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/calls?status=zzz", 400),
        ("/api/calls?model=%00", 400),
        ("/api/calls/nonsense", 400),
        ("/api/budgets/x", 404),
    ],
)
def test_the_api_answers_a_browser_with_json_too(shared_bursar: LocalBursar, path: str, status: int) -> None:
    answer = fetch(shared_bursar, "GET", path, accept=BROWSER)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["status_code"] == status


def test_the_form_of_a_page_is_answered_with_a_page(shared_bursar: LocalBursar) -> None:
    answer = fetch(shared_bursar, "POST", "/keys", b"name=x", origin=shared_bursar.url, content_type="text/plain")
    assert (answer.status, answer.headers["content-type"]) == (415, "text/html; charset=utf-8")
    assert b"content-type: expected application/<wbr>x-www-form-urlencoded" in answer.body


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the style all handlers are declared in
@pytest.mark.parametrize("path", ["/", "/calls", "/spend", "/keys", "/budgets"])
def test_a_database_that_is_away_is_said_with_the_way_out(tmp_path: Path, path: str) -> None:
    url = f"postgresql://127.0.0.1:{free_port()}/none"
    doctor = Doctor(None, Place(tmp_path, url, own=False))
    app = control_plane(url, Planner(None, tmp_path / "prices.toml"), doctor)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get(path, headers={"x-bursar-local": "yes"})
        told = client.get("/api/calls", headers={"x-bursar-local": "yes"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "the database does not answer: `bursar doctor` tells why" in answer.text
    assert answer.headers["retry-after"] == "1"
    assert (told.status_code, told.headers["content-type"]) == (503, "application/json")


@pytest.mark.parametrize(("path", "kind"), [("/broken", "text/html"), ("/api/broken", "application/json")])
def test_a_defect_is_logged_with_its_place_and_answered_without_it(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "page.html").write_text("{{ told[0] }}")

    @get(path, media_type=kind, sync_to_thread=False)
    def broken() -> str:
        raise LookupError("what only the log is told")

    app = Litestar([broken], exception_handlers={Exception: trouble(Pages(tmp_path, {}))})
    with TestClient(app, raise_server_exceptions=False) as client, capture_logs() as logs:
        answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (500, kind)
    assert "what only the log" not in answer.text
    assert [(each["event"], each["error"], str(each["exc_info"])) for each in logs] == [
        ("request.failed", "LookupError", "what only the log is told")
    ]


@pytest.fixture(params=VIEWS, ids=view_id)
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Give a page: one that is refused is told on the console by the browser itself."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield context.new_page()
    context.close()


def test_the_page_can_be_read_by_all_and_left_by_keyboard(page: Page, shared_bursar: LocalBursar) -> None:
    page.goto(f"{shared_bursar.url}/calls?status=" + "zz/" * 60)
    assert outside(page) == []
    assert [each["id"] for each in Axe().run(page).response["violations"]] == []
    page.get_by_role("main").get_by_role("link", name="Calls").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_title("Calls · Bursar")
