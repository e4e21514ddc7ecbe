"""Show keys, and make, rotate, freeze and revoke them."""

import time
from typing import Any, Final, Literal

from litestar import MediaType, Response, get

from bursar.api.acts import changing, make_key
from bursar.api.answers import now_us
from bursar.api.changes import Name
from bursar.api.sessions import Session
from bursar.api.shapes.holders import KeyRequest, RotateRequest
from bursar.api.views import read_branches, read_keys
from bursar.store.database import Pool, borrow
from bursar.store.holders import set_frozen
from bursar.store.keys import revoke_key, rotate_key
from bursar.store.scopes import read_overlap
from bursar.web.administration import AnyRequest, Fields, done, form, show
from bursar.web.forms import Problem, key_request, rotate_request
from bursar.web.pages import Page, Pages

_PAGE: Final = Page("keys.html", "Keys · Bursar", "/api/keys", script="admin")
_DONE: Final = {
    "rotate": "The key has a new secret.",
    "revoke": "The key is revoked.",
    "freeze": "The key is frozen: its calls are refused.",
    "thaw": "The key is thawed.",
}

Deed = Literal["rotate", "revoke", "freeze", "thaw"]


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

    return await done(request, "create", act, lambda problem: _show(request, pages, pool, problem))


@form("/keys/{key_id:str}/{deed:str}")
async def change_form(request: AnyRequest, pool: Pool, pages: Pages, key_id: Name, deed: Deed) -> Response[str]:
    """Rotate, revoke, freeze or thaw a key."""

    async def act(fields: Fields, session: Session) -> str:
        secret = ""
        data = rotate_request(fields) if deed == "rotate" else RotateRequest()
        async with changing(pool, request, RotateRequest.__struct_fields__) as connection:
            if deed == "rotate":
                overlap_us = read_overlap(data.overlap, "overlap")
                secret = (await rotate_key(connection, key_id, overlap_us, now_us()))[1]
            elif deed == "revoke":
                await revoke_key(connection, key_id, now_us())
            else:
                await set_frozen(connection, key_id, now_us(), frozen=deed == "freeze")
        session.tell(_DONE[deed], time.monotonic(), secret)
        return "/keys" if secret else f"/keys#{key_id}"

    return await done(request, f"{key_id} {deed}", act, lambda problem: _show(request, pages, pool, problem))


KEYS: Final = (keys_page, create_form, change_form)
