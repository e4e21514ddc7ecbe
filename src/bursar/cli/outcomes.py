"""`bursar outcomes`: what was said of answers afterwards."""

from typing import Annotated, Final

from cyclopts import Parameter, validators

from bursar.cli.common import Data, Json, open_books, print_json, print_table, run
from bursar.store.outcomes import recent_outcomes

_LIMIT_MAX: Final = 10_000


def outcomes(
    *,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=_LIMIT_MAX), help="How many.")] = 20,
    key: Annotated[str | None, Parameter(help="Of this key only.")] = None,
    run_: Annotated[str | None, Parameter(name="--run", help="Of this agent run and its calls only.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what became of answers, as told by `POST /api/outcomes`, newest first."""

    async def work() -> list[dict[str, object]]:
        async with open_books(data) as connection:
            return await recent_outcomes(connection, key=key, run=run_, limit=limit)

    found = run(work())
    if json:
        print_json(found)
        return
    columns = ["time", "key", "call or run", "kind", "value", "source"]
    rows = [
        [
            *(str(each["at"])[:19].replace("T", " "), str(each["key"]), str(each["call"] or each["run"])),
            *(str(each["kind"]), f"{each['value']:g}", str(each["source"] or "")),
        ]
        for each in found
    ]
    print_table(columns, rows, right=(4,))
