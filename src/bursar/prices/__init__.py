"""Keep the price book: find a model's dated price, quote a call's worst case, charge its usage line by line."""

from importlib.metadata import version

from bursar.prices.book import Book


def load() -> Book:
    """Compile the book from the installed genai-prices package. Takes about half a second: keep the result."""
    from genai_prices.data import providers

    from bursar.prices.catalogue import compile_catalogue

    return compile_catalogue(providers, version("genai-prices"))
