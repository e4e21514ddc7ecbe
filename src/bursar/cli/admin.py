"""`bursar admin`: create, list and revoke the keys of those who administer."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, revoke_named, run
from bursar.core.times import to_datetime
from bursar.store.admins import AdminKey, admin_keys, create_admin, revoke_admin
from bursar.store.scopes import read_expiry

app = App(name="admin", help="Create, list and revoke admin keys, which the control API is changed with.")


@app.command
def create(
    *,
    name: Annotated[str, Parameter(help="Whose it is: a name, unique among admin keys. The audit log shows it.")],
    expires: Annotated[str | None, Parameter(help="A date, or a span of time such as 30d or 12h.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Create an admin key and print it once: it is stored as a digest only. Works beside a running server."""
    expires_us = read_expiry(expires, now_us(), "--expires")

    async def work() -> tuple[AdminKey, str]:
        async with open_books(data) as connection:
            return await create_admin(connection, name, expires_us, now_us())

    key, secret = run(work())
    if json:
        print_json(_shown(key) | {"key": secret})
    else:
        print(secret)


@app.command(name="list")
def list_(*, data: Data = None, json: Json = False) -> None:
    """List admin keys."""

    async def work() -> list[AdminKey]:
        async with open_books(data) as connection:
            return await admin_keys(connection)

    found = [_shown(key) for key in run(work())]
    if json:
        print_json(found)
        return
    rows = [[each["name"], each["id"], each["expires_at"] or "never", each["status"]] for each in found]
    print_table(["name", "id", "expires", "status"], rows)


@app.command
def revoke(
    name: Annotated[str, Parameter(help="The admin key's name or id.")], /, *, data: Data = None, json: Json = False
) -> None:
    """Revoke an admin key by name or id. It is refused within a second."""
    revoke_named(revoke_admin, name, data, as_json=json)


def _shown(key: AdminKey) -> dict[str, Any]:
    return {
        "id": key.admin_id,
        "name": key.name,
        "created_at": to_datetime(key.created_us).isoformat(),
        "expires_at": to_datetime(key.expires_us).isoformat() if key.expires_us is not None else None,
        "status": key.status_at(now_us()),
    }
