"""Give the command line: nouns, then verbs, one file a noun."""


def main() -> None:
    """Run the command line; the entry point of `bursar`."""
    from bursar.cli.app import run  # a child process must not load what only a person needs

    run()
