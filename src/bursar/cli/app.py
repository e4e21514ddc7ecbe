"""Assemble the commands, and turn outcomes into exit codes: 0 done, 1 refused or failed, 2 wrong usage."""

import os
import sys

from cyclopts import App, CycloptsError

from bursar import __version__
from bursar.cli.admin import app as admin
from bursar.cli.alerts import app as alerts
from bursar.cli.audit import audit
from bursar.cli.books import app as books
from bursar.cli.budget import app as budget
from bursar.cli.calls import app as calls
from bursar.cli.demo import demo
from bursar.cli.doctor import doctor
from bursar.cli.gateways import app as gateways
from bursar.cli.keys import app as keys
from bursar.cli.prices import price, prices
from bursar.cli.reconcile import reconcile
from bursar.cli.runs import app as runs
from bursar.cli.sandbox import sandbox
from bursar.cli.statement import statement
from bursar.cli.up import up
from bursar.core.errors import BursarError

app = App(
    name="bursar",
    help="The treasurer for AI: exact token prices, budgets nobody can overspend, books that balance.",
    version=__version__,
)
app.command(up)
app.command(keys)
app.command(budget)
app.command(alerts)
app.command(admin)
app.command(audit)
app.command(calls)
app.command(runs)
app.command(statement)
app.command(doctor)
app.command(gateways)
app.command(books)
app.command(reconcile)
app.command(price)
app.command(prices)
app.command(demo)
app.command(sandbox)


def run(arguments: list[str] | None = None) -> None:
    """Run one command line and exit."""
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
