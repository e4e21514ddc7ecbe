"""`bursar doctor`: look at everything calls depend on, and say what to do about what is not well."""

import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.markup import escape

from bursar.api.doctor.examine import Place, examine
from bursar.api.doctor.findings import Finding, State
from bursar.cli.common import Data, Json, config_file, console, data_folder, print_json, run
from bursar.store.database import database_url

_COLOURS: Final = {State.ok: "green", State.warn: "yellow", State.fail: "red"}


def doctor(
    *,
    config: Annotated[Path | None, Parameter(help="The bursar.toml to look at; the sandbox without one.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Check configuration, database, clocks, prices, disk, workers and each provider. Exit 1 if anything fails.

    Nothing is changed, nothing is started, and no provider is asked for anything that costs.
    """
    folder = data_folder(data)
    place = Place(folder.path, *database_url(folder.url))
    findings = run(examine(config_file(config), place))
    well = all(each.state is not State.fail for each in findings)
    if json:
        print_json({"ok": well, "findings": msgspec.to_builtins(findings)})
    else:
        _print(findings)
    sys.exit(0 if well else 1)


def _print(findings: list[Finding]) -> None:
    out = console()
    for each in findings:
        out.print(f"[{_COLOURS[each.state]}]{each.state:4}[/]  {each.check:20}  {escape(each.text)}", soft_wrap=True)
        if each.remedy:
            out.print(f"{'':28}→ {escape(each.remedy)}", soft_wrap=True)
    counts = {state: sum(each.state is state for each in findings) for state in State}
    out.print(f"{counts[State.ok]} ok, {counts[State.warn]} to look at, {counts[State.fail]} failed")
