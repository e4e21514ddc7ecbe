"""`bursar gateways`: which gateways serve this database, and what becomes of the leases of dead ones."""

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, run
from bursar.core.money import nano_to_usd
from bursar.core.times import SECOND_US, to_datetime
from bursar.ledger.chart import Unit
from bursar.store.database import Connection
from bursar.store.gateways import GatewayState, all_gateways, leases_set_aside, settle_dead

app = App(name="gateways", help="Show the gateways of a database, and settle dead ones.")


@app.command(name="list")
def list_(*, data: Data = None, json: Json = False) -> None:
    """List all gateways that ever served this database, with what is set aside of those that were given up."""

    async def work() -> list[dict[str, Any]]:
        async with open_books(data) as connection:
            return [await _shown(connection, state) for state in await all_gateways(connection)]

    found = run(work())
    if json:
        print_json(found)
        return
    rows = [[each["name"], each["host"], each["state"], each["seen_at"][:19], each["undecided_usd"]] for each in found]
    print_table(["gateway", "host", "state", "last seen", "undecided USD"], rows, right=(4,))


@app.command
def settle(
    name: Annotated[str, Parameter(help="The gateway's name.")],
    outcome: Annotated[Literal["spent", "returned"], Parameter(help="What became of its leases.")],
    /,
    *,
    data: Data = None,
    json: Json = False,
) -> None:
    """Decide what became of the leases of a gateway that was given up and will not be back.

    Should it come back all the same, what its spool says was spent is charged, as overage where need be.
    """

    async def work() -> int:
        async with open_books(data) as connection:
            leases = await settle_dead(connection, name, now_us(), spent=outcome == "spent")
            return sum(lease.available_nano for lease in leases if lease.unit is Unit.usd)

    amount = nano_to_usd(run(work()))
    if json:
        print_json({"gateway": name, "outcome": outcome, "amount_usd": amount})
    else:
        print(f"{amount} USD of {name} counted as {outcome}")


async def _shown(connection: Connection, state: GatewayState) -> dict[str, Any]:
    leases = await leases_set_aside(connection, state.gateway) if state.reaped_us is not None else []
    word = "given up" if state.reaped_us is not None else "stopped" if state.closed_us is not None else "serving"
    if word == "serving" and state.now_us - state.seen_us > 5 * SECOND_US:
        word = "not seen"
    return {
        "name": state.name,
        "host": state.host,
        "state": word,
        "started_at": to_datetime(state.started_us).isoformat(),
        "seen_at": to_datetime(max(state.seen_us, state.started_us)).isoformat(),
        "undecided_usd": nano_to_usd(sum(lease.available_nano for lease in leases if lease.unit is Unit.usd)),
    }
