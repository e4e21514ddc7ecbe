"""Assemble the commands, and turn outcomes into exit codes: 0 done, 1 refused or failed, 2 wrong usage."""

import os
import sys

from cyclopts import App, CycloptsError

from bursar import __version__
from bursar.core.errors import BursarError

app = App(
    name="bursar",
    help="The treasurer for AI: exact token prices, budgets nobody can overspend, books that balance.",
    version=__version__,
)
# By name: a command loads what it needs itself, and nothing of what the others do.
app.command("bursar.cli.up:up")
app.command("bursar.cli.reload:reload")
app.command("bursar.cli.keys:app", name="keys")
app.command("bursar.cli.budget:app", name="budget")
app.command("bursar.cli.alerts:app", name="alerts")
app.command("bursar.cli.admin:app", name="admin")
app.command("bursar.cli.audit:audit")
app.command("bursar.cli.calls:app", name="calls")
app.command("bursar.cli.runs:app", name="runs")
app.command("bursar.cli.outcomes:outcomes")
app.command("bursar.cli.statement:statement")
app.command("bursar.cli.savings:savings")
app.command("bursar.cli.providers:app", name="providers")
app.command("bursar.cli.doctor:doctor")
app.command("bursar.cli.gateways:app", name="gateways")
app.command("bursar.cli.books:app", name="books")
app.command("bursar.cli.reconcile:reconcile")
app.command("bursar.cli.prices:price")
app.command("bursar.cli.prices:prices")
app.command("bursar.cli.count:count")
app.command("bursar.cli.floor:floor")
app.command("bursar.cli.simulate:simulate_command", name="simulate")
app.command("bursar.cli.capacity:capacity")
app.command("bursar.cli.route:app", name="route")
app.command("bursar.cli.compress:compress")
app.command("bursar.cli.mcp:mcp")
app.command("bursar.cli.demo:demo")
app.command("bursar.cli.sandbox:sandbox")


def run(arguments: list[str] | None = None) -> None:
    """Run one command line and exit."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in app.help_flags:
        app.resolved_commands()  # the list of commands says of each what it says of itself
    try:
        try:
            app(arguments, exit_on_error=False, print_error=False)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has enough, as `head` does; the interpreter must not try to write the rest once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except CycloptsError as error:
        command = " ".join(("bursar", *(error.command_chain or ())))
        print(f"bursar: {' '.join(str(error).split())} See `{command} --help`.", file=sys.stderr)
        sys.exit(2)
    except BursarError as error:
        print(f"bursar: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
