"""The page of providers says what the presets say."""

from tests.docs.make_providers import PAGE, page


def test_the_page_of_providers_is_what_the_presets_say() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.docs.make_providers"
