"""`bursar demo`."""


def demo() -> None:
    """Demo."""
