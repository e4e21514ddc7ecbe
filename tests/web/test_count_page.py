"""The page of tokens shows pieces and prices of what is pasted, and of an image by its size alone."""

import io
import json
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from bench.harness import LocalBursar
from tests.web.viewing import VIEWS, opened, view_id
from tests.wires.recorded import wav

WORDS = "It was opened in 1894.\n<b>bold</b>"
COUNTED_MS = 30_000  # the first time vocabularies are loaded


@pytest.fixture(scope="module")
def spender(shared_bursar: LocalBursar) -> str:
    """Have the Bursar run before the browser does."""
    assert shared_bursar.ready()
    return ""


@pytest.fixture(params=VIEWS, ids=view_id)
def page(browser: Browser, shared_bursar: LocalBursar, request: pytest.FixtureRequest) -> Iterator[Page]:
    yield from opened(browser, f"{shared_bursar.url}/count", request.param)


def test_a_text_is_shown_in_pieces_with_what_each_model_charges(page: Page) -> None:
    page.get_by_label("Text").fill(WORDS)
    rows = page.locator("#models tr")
    expect(rows.first).to_be_visible(timeout=COUNTED_MS)
    assert "".join(page.locator("#pieces span").all_text_contents()) == WORDS
    assert rows.count() == 12
    assert "12" not in page.locator("#told").text_content()
    expect(rows.filter(has_text="openai/gpt-4o-mini")).to_contain_text("$0.0000")
    expect(rows.filter(has_text="anthropic/claude-opus-5-5")).to_contain_text("±")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.get_by_label("Text").fill("")
    expect(page.locator("#models-card")).to_be_hidden()


@pytest.mark.parametrize("page", [(1440, "light")], indirect=True)
def test_of_an_image_only_its_size_is_sent(page: Page) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1024, 1024)).save(file, "PNG")
    with page.expect_request("**/api/count") as sent:
        page.locator("#image").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()})
    assert json.loads(sent.value.post_data) == {"width_px": 1024, "height_px": 1024, "detail": "high"}
    expect(page.locator("#told")).to_have_text("1024 x 1024 pixels", timeout=COUNTED_MS)
    expect(page.get_by_role("row", name="openai/gpt-4o 765")).to_be_visible()
    page.get_by_label("detail").select_option("low")
    expect(page.get_by_role("row", name="openai/gpt-4o 85")).to_be_visible()
    page.locator("#image").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.locator("#told")).to_have_text("this is no image the browser can read")


@pytest.mark.parametrize("page", [(1440, "light")], indirect=True)
def test_of_a_recording_only_its_length_is_sent(page: Page) -> None:
    with page.expect_request("**/api/count") as sent:
        page.locator("#image").set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": wav(2_500)})
    assert json.loads(sent.value.post_data) == {"milliseconds": 2_500, "detail": "high"}
    expect(page.locator("#told")).to_have_text("2.5 s", timeout=COUNTED_MS)
    expect(page.get_by_role("row", name="openai/gpt-audio 25")).to_contain_text("$0.000800")
    expect(page.get_by_role("row", name="google/gemini-2.5-flash 80")).to_contain_text("$0.0000800")
    page.locator("#image").set_input_files({"name": "a.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
    expect(page.locator("#told")).to_have_text("this is no recording the browser can read")
