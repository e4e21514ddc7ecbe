"""Keep files at providers for a key, each its own; a batch's input is read while it passes, request by request."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from bursar.core.errors import BadRequest, NotFound, Refusal
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import Question, ask_whole
from bursar.gateway.batches.ending import Ending, headers_of
from bursar.gateway.batches.own_files import OwnFiles, id_in
from bursar.gateway.batches.requests import TURN, Checked, Checker
from bursar.gateway.batches.visit import Reception, Visit, check_route, page_of, pass_on, send_json
from bursar.gateway.routes import Routes
from bursar.gateway.signpost import ELSEWHERE
from bursar.store.batches import FilePage, KeptFile, open_batches_of
from bursar.wires.batch import Asked, lines_of, read_line, write_line
from bursar.wires.form import Form, content_type_of, read_form

PATH: Final = "/v1/files"
BATCH: Final = "batch"
PURPOSES: Final = (BATCH, "user_data", "vision", "assistants")
"""What files are taken for: what else there is leads to routes that have no meter here."""

_FIELDS: Final = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
_OPEN_MAX: Final = 20
_PROTOCOL: Final = Protocol.openai_batch


class Files:
    """Serve OpenAI's files."""

    def __init__(self, reception: Reception, routes: Routes, ending: Ending) -> None:
        self._reception = reception
        self._routes = routes
        self._ending = ending
        self._own = OwnFiles(reception, routes, _PROTOCOL, "OpenAI's")

    async def serve(self, visit: Visit) -> None:
        """Answer one request for files."""
        check_route(visit.key, _PROTOCOL)
        match (visit.method, visit.path):
            case ("POST", ()):
                await self._upload(visit)
            case ("GET", ()):
                await self._list(visit)
            case ("GET", (file_id,)):
                await self._show(visit, file_id)
            case ("GET", (file_id, "content")):
                await self._content(visit, file_id)
            case ("DELETE", (file_id,)):
                await self._delete(visit, file_id)
            case _:
                raise NotFound(f"no route {visit.method} {visit.scope['path']}: {ELSEWHERE}", code="no_route")

    async def _upload(self, visit: Visit) -> None:
        form = read_form(await self._reception.body(visit))
        check_fields(form, _FIELDS)
        files, purpose = form.files("file"), form.field("purpose")
        if len(files) != 1:
            raise BadRequest("expected one file in the form's field `file`", param="file")
        if purpose not in PURPOSES:
            raise BadRequest(f"expected one of {', '.join(PURPOSES)} in `purpose`", param="purpose")
        content, upstream = files[0].data, self._own.usual()
        file = KeptFile("", "", purpose, len(content))
        if purpose == BATCH:
            content, checked = await self._check(visit, content)
            upstream = checked.upstream
            file = KeptFile("", "", purpose, len(content), requests=checked.costs, models=checked.models)
        # Written anew, under its own boundary: whoever reads it finds the file that was checked, and no other.
        body = form.with_content(files[0], content).with_fields({})
        content_type = content_type_of(form.boundary).decode()
        protocol = headers_of(upstream, _PROTOCOL)
        response = await ask_whole(upstream, Question("POST", "/files", protocol, body, content_type))
        if response.status < 300:
            file_id, digest = id_in(response, upstream), hashlib.sha256(content).digest()
            file = msgspec.structs.replace(file, provider=upstream.name, file_id=file_id, sha256=digest)
            await self._own.keep(visit, file)
        await pass_on(visit.send, response, response.body, [])

    async def _check(self, visit: Visit, content: bytes) -> tuple[bytes, Checked]:
        """Check a batch's input; returns it as it is sent."""
        lines, calls = list(lines_of(content)), self._reception.calls

        def place_of(number: int) -> str:
            return f"line {number + 1}"

        asked: list[Asked] = []
        for number, line in enumerate(lines):
            try:
                asked.append(read_line(line))
            except Refusal as refusal:
                refusal.message = f"{place_of(number)}: {refusal.message}"
                raise
        if len({id(each.wire) for each in asked}) > 1:
            raise BadRequest("expected the same `url` on every line", param="url")
        checker = Checker(self._routes, visit.key, self._reception.settings.output_cap, calls.clock_us())
        checked = await checker.check(asked, place_of)
        written: list[bytes] = []
        for line, body in zip(lines, checked.bodies, strict=True):
            if len(written) % TURN == TURN - 1:
                await asyncio.sleep(0)
            written.append(write_line(line, body))
        return b"\n".join(written) + b"\n", checked

    async def find(self, visit: Visit, file_id: str) -> KeptFile:
        """Find a key's own file. Raises `NotFound`, as the provider does for what it has not.

        It may be the results of a batch whose end nobody has seen yet: then that is charged first.
        """
        key, file = visit.key, await self._own.find(visit, file_id)
        if file is None:
            batches = await self._reception.books(
                lambda connection: open_batches_of(connection, key.tenant, key.key_id, _PROTOCOL, _OPEN_MAX)
            )
            for batch in batches:
                await self._ending.try_look(batch)
            if batches:
                file = await self._own.find(visit, file_id)
        if file is None:
            raise NotFound(f"No such File object: {file_id}", code="file_not_found", param="id")
        return file

    async def _show(self, visit: Visit, file_id: str) -> None:
        response = await self._own.ask(visit, await self.find(visit, file_id), "GET")
        await pass_on(visit.send, response, response.body, [])

    async def _content(self, visit: Visit, file_id: str) -> None:
        await self._own.pour(visit, await self.find(visit, file_id), "/content")

    async def _delete(self, visit: Visit, file_id: str) -> None:
        response = await self._own.delete(visit, await self.find(visit, file_id))
        await pass_on(visit.send, response, response.body, [])

    async def _list(self, visit: Visit) -> None:
        """List a key's own files, as their providers describe them."""
        after, limit = page_of(visit.query)
        page = FilePage(limit, after, purpose=visit.query.get("purpose", ""))
        found, said, more = await self._own.page(visit, page)
        shown = {"object": "list", "data": [msgspec.Raw(each) for each in said], "has_more": more}
        await send_json(visit.send, shown | ends_of(found))


def check_fields(form: Form, fields: Sequence[str]) -> None:
    """Check that a form has what a file needs, each once, and nothing besides. Raises `BadRequest`."""
    names = [part.name for part in form.parts]
    for name in names:
        if name not in fields:
            raise BadRequest(f"expected only {', '.join(fields)} in the form", param="form")
        if names.count(name) > 1:
            raise BadRequest(f"`{name}` stands in the form {names.count(name)} times", param=name)


def ends_of(files: Sequence[KeptFile]) -> dict[str, str | None]:
    """Return the first and the last id of a list, as OpenAI and Anthropic tell them."""
    return {
        "first_id": files[0].file_id if files else None,
        "last_id": files[-1].file_id if files else None,
    }
