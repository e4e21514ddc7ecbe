"""Show keys, and make, limit, rotate, freeze and revoke them."""

import time
from collections.abc import Callable
from typing import Any, Final, Literal

from litestar import MediaType, Response, get

from bursar.api.acts import changing, make_key, put_scope, scope_changes
from bursar.api.answers import now_us
from bursar.api.changes import Name
from bursar.api.sessions import Session
from bursar.api.shapes.holders import KeyRequest, RotateRequest, ScopeRequest
from bursar.api.views import read_branches, read_keys
from bursar.core.times import to_datetime
from bursar.store.database import Pool, borrow
from bursar.store.holders import set_frozen
from bursar.store.keys import Key, find_key, revoke_key, rotate_key
from bursar.store.scopes import read_overlap
from bursar.web.administration import AnyRequest, Change, Fields, Unsure, done, form, is_sure, show
from bursar.web.forms import Problem, key_request, rotate_request, scope_request
from bursar.web.pages import Page, Pages

_PAGE: Final = Page("keys.html", "Keys · Bursar", "/api/keys", script="admin")
_DONE: Final = {
    "scope": "The key is limited otherwise.",
    "rotate": "The key has a new secret.",
    "revoke": "The key is revoked.",
    "freeze": "The key is frozen: its calls are refused.",
    "thaw": "The key is thawed.",
}

Deed = Literal["scope", "rotate", "revoke", "freeze", "thaw"]


async def _show(request: AnyRequest, pages: Pages, pool: Pool, problem: Problem | None = None) -> Response[str]:
    async with borrow(pool) as connection:
        now = now_us()
        found, tree = await read_keys(connection, now), await read_branches(connection, now)
    keys = sorted(found, key=lambda key: key.revoked)
    values: dict[str, Any] = {"keys": keys, "holders": {branch.name: branch for branch in tree}}
    parents = [branch for branch in tree if not branch.match and not branch.each]
    return await show(request, pages, _PAGE, problem, parents=parents, **values)


@get("/keys", include_in_schema=False, media_type=MediaType.HTML)
async def keys_page(request: AnyRequest, pool: Pool, pages: Pages) -> Response[str]:
    """Show keys, and to who is signed in the forms that change them."""
    return await _show(request, pages, pool)


@form("/keys")
async def create_form(request: AnyRequest, pool: Pool, pages: Pages) -> Response[str]:
    """Create a key."""

    async def act(fields: Fields, session: Session) -> str:
        data = key_request(fields)
        async with changing(pool, request, KeyRequest.__struct_fields__) as connection:
            key, secret = await make_key(connection, data)
        session.tell(f"Key {key.name} is made.", time.monotonic(), secret)
        return "/keys"

    return await done(request, pages, "create", act, lambda problem: _show(request, pages, pool, problem))


@form("/keys/{key_id:str}/{deed:str}")
async def change_form(request: AnyRequest, pool: Pool, pages: Pages, key_id: Name, deed: Deed) -> Response[str]:
    """Limit, rotate, revoke, freeze or thaw a key."""

    async def act(fields: Fields, session: Session) -> str | Unsure:
        secret = ""
        data = rotate_request(fields) if deed == "rotate" else RotateRequest()
        scope = scope_request(fields) if deed == "scope" else ScopeRequest()
        names = (*RotateRequest.__struct_fields__, *ScopeRequest.__struct_fields__)
        async with changing(pool, request, names) as connection:
            if deed == "scope":
                key = await find_key(connection, key_id)
                if not is_sure(fields):
                    return Unsure(f"Limit key {key.name}?", scope_words(key, scope), "Limit it so", f"/keys#{key_id}")
                await put_scope(connection, key_id, scope)
            elif deed == "rotate":
                overlap_us = read_overlap(data.overlap, "overlap")
                secret = (await rotate_key(connection, key_id, overlap_us, now_us()))[1]
            elif deed == "revoke":
                await revoke_key(connection, key_id, now_us())
            else:
                await set_frozen(connection, key_id, now_us(), frozen=deed == "freeze")
        session.tell(_DONE[deed], time.monotonic(), secret)
        return "/keys" if secret else f"/keys#{key_id}"

    return await done(request, pages, f"{key_id} {deed}", act, lambda problem: _show(request, pages, pool, problem))


def scope_words(key: Key, data: ScopeRequest) -> list[Change]:
    """Say what of a key's scope would change. Raises `OperatorError` naming the field that cannot be."""
    wanted = scope_changes(data)
    before = {name: getattr(key, name) for name in wanted}
    return [
        Change(words, told(before[name]), told(wanted[name]))
        for name, (words, told) in _SCOPE.items()
        if name in wanted and told(before[name]) != told(wanted[name])
    ]


def _moment(at_us: int | None) -> str:
    return "never" if at_us is None else to_datetime(at_us).strftime("%Y-%m-%d %H:%M:%SZ")


_SCOPE: Final[dict[str, tuple[str, Callable[[Any], str]]]] = {
    "models": ("models", lambda models: ", ".join(models) or "all"),
    "routes": ("routes", lambda routes: ", ".join(routes) or "all"),
    "addresses": ("addresses", lambda addresses: ", ".join(addresses) or "anywhere"),
    "tags": ("tags of its calls", lambda tags: ", ".join(f"{name}={value}" for name, value in tags.items()) or "none"),
    "output_cap": ("output cap, tokens", lambda cap: "none" if cap is None else f"{cap:,}"),
    "expires_us": ("expires", _moment),
}

KEYS: Final = (keys_page, create_form, change_form)
