"""Keep Anthropic's files for a key, each its own; a message names one in place of what it holds."""

import hashlib
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from bursar.core.errors import BadRequest, Forbidden, NotFound
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import Question, ask_whole
from bursar.gateway.batches.ending import headers_of
from bursar.gateway.batches.files import check_fields, ends_of
from bursar.gateway.batches.own_files import OwnFiles, id_in, plain_kind
from bursar.gateway.batches.visit import Reception, Visit, page_of, pass_on, send_json
from bursar.gateway.routes import Routes
from bursar.gateway.signpost import ELSEWHERE
from bursar.store.batches import FilePage, KeptFile
from bursar.store.keys import Key
from bursar.wires.anthropic_messages import ANTHROPIC_MESSAGES
from bursar.wires.batch import is_id, read_by
from bursar.wires.form import content_type_of, read_form
from bursar.wires.protocols import BATCH_ROUTES

_FIELDS: Final = ("file", "expires_in_seconds")
_PROTOCOL: Final = Protocol.anthropic_batch
_ROUTES: Final = (ANTHROPIC_MESSAGES.route, BATCH_ROUTES[_PROTOCOL])
_PAGE: Final = "page_"  # what the cursor of a list begins with
_IDS_MAX: Final = 100


class _Described(msgspec.Struct):
    mime_type: str = ""


_described = msgspec.json.Decoder(_Described)


class MessageFiles:
    """Serve Anthropic's files."""

    def __init__(self, reception: Reception, routes: Routes) -> None:
        self._reception = reception
        self._own = OwnFiles(reception, routes, _PROTOCOL, "Anthropic's")

    async def serve(self, visit: Visit) -> None:
        """Answer one request for files."""
        _check_routes(visit.key)
        match (visit.method, visit.path):
            case ("POST", ()):
                await self._upload(visit)
            case ("GET", ()):
                await self._list(visit)
            case ("GET", (file_id,)):
                response = await self._own.ask(visit, await self._find(visit, file_id), "GET")
                await pass_on(visit.send, response, response.body, [])
            case ("GET", (file_id, "content")):
                await self._own.pour(visit, await self._find(visit, file_id), "/content")
            case ("DELETE", (file_id,)):
                response = await self._own.delete(visit, await self._find(visit, file_id))
                await pass_on(visit.send, response, response.body, [])
            case _:
                raise NotFound(f"no route {visit.method} {visit.scope['path']}: {ELSEWHERE}", code="no_route")

    async def _find(self, visit: Visit, file_id: str) -> KeptFile:
        file = await self._own.find(visit, file_id)
        if file is None:
            raise NotFound(f"File not found: {file_id}", code="file_not_found", param="file_id")
        return file

    async def _upload(self, visit: Visit) -> None:
        form = read_form(await self._reception.body(visit))
        check_fields(form, _FIELDS)
        files = form.files("file")
        if len(files) != 1:
            raise BadRequest("expected one file in the form's field `file`", param="file")
        upstream, content = self._own.usual(), files[0].data
        # Written anew, under its own boundary: whoever reads it finds the file that is kept, and no other.
        body, content_type = form.with_fields({}), content_type_of(form.boundary).decode()
        protocol, forwarded = headers_of(upstream, _PROTOCOL), visit.headers.forwarded
        response = await ask_whole(upstream, Question("POST", "/files", protocol, body, content_type, forwarded))
        if response.status < 300:
            digest = hashlib.sha256(content).digest()
            kind = plain_kind(content, read_by(_described, response.body).mime_type)
            about = {"sha256": digest, "protocol": _PROTOCOL, "media_type": kind}
            file = KeptFile(upstream.name, id_in(response, upstream), "message", len(content), **about)
            await self._own.keep(visit, file)
        await pass_on(visit.send, response, response.body, [])

    async def _list(self, visit: Visit) -> None:
        """List a key's own files: a page of them, or those of some ids."""
        asked = parse_qsl(visit.scope["query_string"].decode("latin-1"))
        if any(name == "scope_id" for name, _ in asked):
            raise BadRequest("no file here has a scope: leave `scope_id` out", param="scope_id")
        ids = list(dict.fromkeys(value for name, value in asked if name in ("ids", "ids[]")))
        if ids:
            if len(ids) > _IDS_MAX or not all(map(is_id, ids)):
                raise BadRequest(f"expected at most {_IDS_MAX} ids of files in `ids`", param="ids")
            found, more = await self._own.some(visit, ids), False
            said = await self._own.described(visit, found)
        else:
            page = _page_of(visit.query)
            found, said, more = await self._own.page(visit, page)
        goes_on = f"{_PAGE}{found[-1].file_id}" if more and found else None
        shown: dict[str, Any] = {"data": [msgspec.Raw(each) for each in said], "has_more": more, "next_page": goes_on}
        await send_json(visit.send, shown | ends_of(found))


def _page_of(query: dict[str, str]) -> FilePage:
    """Read which files are wanted: after or before one, or from a cursor on. Raises `BadRequest`."""
    _, limit = page_of({name: value for name, value in query.items() if name == "limit"})
    given = {name: query[name] for name in ("page", "after_id", "before_id") if query.get(name)}
    if len(given) > 1:
        raise BadRequest(f"expected one of {', '.join(given)}", param=next(iter(given)))
    for name, value in given.items():
        cursor = value.removeprefix(_PAGE) if name == "page" else value
        if not is_id(cursor) or (name == "page" and not value.startswith(_PAGE)):
            raise BadRequest(f"expected what an earlier list gave in `{name}`", param=name)
        return FilePage(limit, before=cursor) if name == "before_id" else FilePage(limit, cursor)
    return FilePage(limit)


def _check_routes(key: Key) -> None:
    """Check that a key may ask messages, which may name files, or make batches of them. Raises `Forbidden`."""
    if key.routes and not set(_ROUTES) & set(key.routes):
        raise Forbidden(f"key {key.name!r} may not keep files: it may use {', '.join(key.routes)}")
