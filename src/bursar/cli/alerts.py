"""`bursar alerts`: show what was told about budgets, and try the webhook."""

import secrets
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter, validators
from rich.markup import escape

from bursar.budgets.webhooks import Event, Outcome
from bursar.cli.common import Data, Json, config_file, now_us, open_books, print_json, print_table, run
from bursar.cli.webhook import send
from bursar.core.errors import OperatorError
from bursar.core.times import to_datetime
from bursar.gateway.config import read_config
from bursar.store.alerts import ALERTS_MAX, ListedAlert, recent_alerts
from bursar.store.holders import TENANT

app = App(name="alerts", help="Show what was told about budgets, and try the webhook.")


@app.command(name="list")
def list_(
    *,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=ALERTS_MAX), help="How many.")] = 50,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show the latest alerts, newest first, and how telling them went."""

    async def work() -> list[ListedAlert]:
        async with open_books(data) as connection:
            return await recent_alerts(connection, limit)

    found = run(work())
    if json:
        print_json(msgspec.to_builtins(found))
        return
    rows = [[each.alert.at[:16].replace("T", " "), escape(each.alert.text), _told(each)] for each in found]
    print_table(["UTC", "alert", "told"], rows)


@app.command(name="test")
def try_(
    *,
    config: Annotated[Path | None, Parameter(help="The bursar.toml with the webhook.")] = None,
    json: Json = False,
) -> None:
    """Send a signed test event to the webhook. Exit 0 when it is taken, 1 when it is not."""
    config = config_file(config)
    alerts = read_config(config).alerts
    if not alerts.webhook:
        raise OperatorError("no webhook is set: see [alerts] in bursar.toml")
    now = now_us()
    answer = run(send(alerts.webhook, alerts.secret(), _test_event(now), now))
    if answer.outcome is not Outcome.delivered:
        raise OperatorError(f"the webhook did not take the event: {answer.problem}")
    if json:
        print_json({"status": answer.status})
    else:
        print(f"the webhook took the event: status {answer.status}")


def _test_event(now: int) -> Event:
    at = to_datetime(now)
    text = "this is a test: team blue: 80 % of 20.00/month used (16.20 USD)"
    figures = ("blue", "team", "USD", "20.00", "16.20", 80, f"{at:%Y-%m}")
    return Event(f"alr_{secrets.token_hex(16)}", "test", TENANT, *figures, None, text, at.isoformat(timespec="seconds"))


def _told(listed: ListedAlert) -> str:
    delivery = listed.delivery
    if delivery is None:
        return "no webhook"
    why = f" after {delivery.last_error}" if delivery.last_error else ""
    return f"{delivery.status.replace('_', ' ')}{why}"
