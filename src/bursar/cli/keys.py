"""`bursar keys`: create, list, rotate, revoke."""

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter, validators

from bursar.budgets.budget import limit_text
from bursar.budgets.terms import read_terms
from bursar.cli.budget import LIMIT_HELP, Zone
from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, revoke_named, run
from bursar.core.errors import OperatorError, Refusal
from bursar.core.times import to_datetime
from bursar.gateway.headers import read_tags
from bursar.store.keys import Key, Scope, all_keys, create_key, revoke_key, rotate_key
from bursar.store.scopes import read_addresses, read_expiry, read_models, read_overlap
from bursar.wires.wire import OUTPUT_CAP_MAX

Route = Literal[
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/v1beta/models",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/batches",
    "/v1/messages/batches",
    "/v1beta/batches",
]

app = App(name="keys", help="Create, list, rotate and revoke virtual keys.")


@app.command
def create(
    *,
    name: Annotated[str, Parameter(help="A name, unique among keys.")],
    budget: Annotated[
        list[str] | None, Parameter(negative="", help=LIMIT_HELP + "; repeat for more. Unlimited without.")
    ] = None,
    parent: Annotated[str | None, Parameter(help="Whose key it is: a team's or a person's budget.")] = None,
    zone: Zone = "UTC",
    model: Annotated[
        list[str] | None,
        Parameter(negative="", help="A model it may use, or a beginning such as gpt-4o*; repeat. All without."),
    ] = None,
    route: Annotated[
        list[Route] | None, Parameter(negative="", help="A route it may use; repeat for more. All without.")
    ] = None,
    addresses: Annotated[
        list[str] | None,
        Parameter(
            name="--from", negative="", help="Addresses or networks it may be used from, such as 10.0.0.0/8,::1."
        ),
    ] = None,
    tags: Annotated[str | None, Parameter(help="Tags of its calls, such as team=search,stage=test.")] = None,
    output_cap: Annotated[
        int | None,
        Parameter(
            validator=validators.Number(gte=1, lte=OUTPUT_CAP_MAX), help="Output tokens for a call that sets no cap."
        ),
    ] = None,
    expires: Annotated[str | None, Parameter(help="A date, or a span of time such as 30d or 12h.")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Create a key and print it once: it is stored as a digest only. Works beside a running server."""
    try:
        terms = read_terms(budget or ["unlimited"], zone)
    except OperatorError as error:
        raise OperatorError(f"--budget: {error}") from None
    bounds = (output_cap, read_expiry(expires, now_us(), "--expires"), read_addresses(addresses or [], "--from"))
    scope = Scope(read_models(model or [], "--model"), tuple(route or ()), _tags(tags), *bounds)

    async def work() -> tuple[Key, str]:
        async with open_books(data) as connection:
            return await create_key(connection, name, terms, scope, now_us(), parent)

    key, secret = run(work())
    if json:
        print_json(_shown(key) | {"key": secret})
    else:
        print(secret)


@app.command(name="list")
def list_(*, data: Data = None, json: Json = False) -> None:
    """List keys with their budgets and scopes."""

    async def work() -> list[Key]:
        async with open_books(data) as connection:
            return await all_keys(connection)

    keys, now = run(work()), now_us()
    if json:
        print_json([_shown(key) for key in keys])
        return
    rows = [
        [
            key.name,
            key.key_id,
            limits_text(key),
            ", ".join(key.models) or "all",
            ", ".join(key.addresses) or "anywhere",
            secrets_text(key, now),
        ]
        for key in keys
    ]
    print_table(["name", "id", "budget USD", "models", "from", "status"], rows)


@app.command
def rotate(
    name: Annotated[str, Parameter(help="The key's name or id.")],
    /,
    *,
    overlap: Annotated[str, Parameter(help="How long the present secret stays good: such as 24h, 30m or 0.")] = "24h",
    data: Data = None,
    json: Json = False,
) -> None:
    """Give a key a new secret and print it once. Its id, budget and scope stay, and the old secret for a while."""
    overlap_us = read_overlap(overlap, "--overlap")

    async def work() -> tuple[Key, str]:
        async with open_books(data) as connection:
            return await rotate_key(connection, name, overlap_us, now_us())

    key, secret = run(work())
    if json:
        print_json(_shown(key) | {"key": secret})
    else:
        print(secret)


@app.command
def revoke(
    name: Annotated[str, Parameter(help="The key's name or id.")], /, *, data: Data = None, json: Json = False
) -> None:
    """Revoke a key by name or id. Its budget and its calls stay in the books."""
    revoke_named(revoke_key, name, data, as_json=json)


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "budget": limits_text(key),
        "models": list(key.models),
        "routes": list(key.routes),
        "tags": key.tags,
        "output_cap": key.output_cap,
        "created_at": to_datetime(key.created_us).isoformat(),
        "expires_at": to_datetime(key.expires_us).isoformat() if key.expires_us is not None else None,
        "addresses": list(key.addresses),
        "former_secrets_end_at": [
            to_datetime(each.ends_us).isoformat() for each in key.replaced if each.ends_us > now_us()
        ],
        "status": key.status_at(now_us()),
    }


def limits_text(key: Key) -> str:
    """Write a key's own limits."""
    return ", ".join(limit_text(budget.terms) for budget in key.holder.budgets)


def _tags(text: str | None) -> dict[str, str]:
    try:
        return read_tags(text, "--tags") if text else {}
    except Refusal as error:
        raise OperatorError(str(error)) from None


def secrets_text(key: Key, now: int) -> str:
    """Write what a key and its earlier secrets are good for."""
    status = key.status_at(now)
    ends = [to_datetime(each.ends_us).strftime("%Y-%m-%d %H:%MZ") for each in key.replaced if each.ends_us > now]
    return f"{status}, old secret until {ends[0]}" if ends and status == "active" else status
