"""Serve Gemini's batches: of generateContent and of embedContent, made of a model, with their requests inline."""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from bursar.core.errors import Conflict, NotFound
from bursar.core.ids import call_name
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import Question, ask_whole
from bursar.gateway.batches.ending import Ending, headers_of
from bursar.gateway.batches.making import Making
from bursar.gateway.batches.own import OwnBatches
from bursar.gateway.batches.requests import Checker
from bursar.gateway.batches.visit import Reception, Visit, check_route, headers_for, page_of, pass_on, send_json
from bursar.gateway.connection import Response
from bursar.gateway.routes import Routes
from bursar.store.batches import Batch
from bursar.wires.batch_gemini import GEMINI_BATCH, METHODS, read_wish, shown, write_wish

PATH: Final = "/v1beta/batches"
MODELS: Final = "/v1beta/models"
CALLS: Final = tuple(f":{method}" for method in METHODS)
_PROTOCOL: Final = Protocol.gemini_batch


class GeminiBatches:
    """Make, show, list, cancel and delete a key's own batches."""

    def __init__(self, reception: Reception, routes: Routes, making: Making, ending: Ending) -> None:
        self._reception = reception
        self._routes = routes
        self._making = making
        self._ending = ending
        self._own = OwnBatches(reception, ending, _PROTOCOL, "There is no batch batches/{} here.", "name")

    async def serve(self, visit: Visit) -> None:
        """Answer one request for batches."""
        check_route(visit.key, _PROTOCOL)
        match (visit.method, visit.path):
            case ("GET", ()):
                await self._list(visit)
            case ("GET", (batch_id,)):
                await self._answer(visit, await self._own.find(visit, batch_id))
            case ("POST", (name,)) if name.endswith(":cancel"):
                await self._cancel(visit, await self._own.find(visit, name.removesuffix(":cancel")))
            case ("DELETE", (batch_id,)):
                await self._delete(visit, await self._own.find(visit, batch_id))
            case _:
                raise _no_route(visit)

    async def make(self, visit: Visit) -> None:
        """Make a batch of the model that a path names."""
        check_route(visit.key, _PROTOCOL)
        if visit.method != "POST":
            raise _no_route(visit)
        body, reception = await self._reception.body(visit), self._reception
        target = "/".join(visit.path)
        wish = read_wish(body, target)
        call = reception.call(visit, _PROTOCOL, "", body)
        if (before := await self._making.made_before(call)) is not None:
            await self._answer(visit, before)
            return
        checker = Checker(self._routes, visit.key, reception.settings.output_cap, call.opened_us)
        checked = await checker.check(wish.asked, lambda number: f"requests.{number}")
        call, method = msgspec.structs.replace(call, model=checked.models[0].name), target.rpartition(":")[2]
        batch = await self._making.hold(call, visit.key, checked, method, visit.headers.max_cost_usd)
        sent = write_wish(wish, checked.bodies, call_name(batch.batch_id))
        protocol = headers_of(checked.upstream, _PROTOCOL)
        path = f"/models/{quote(checked.models[0].served, safe='')}:{method}"
        question = Question("POST", path, protocol, sent, forwarded=visit.headers.forwarded)
        response = await self._making.send(batch, GEMINI_BATCH, checked, question)
        await self._pass_on(visit, response, batch)

    async def _answer(self, visit: Visit, batch: Batch) -> None:
        await self._pass_on(visit, *await self._own.look(visit, batch))

    async def _pass_on(self, visit: Visit, response: Response, batch: Batch) -> None:
        body = shown(response.body) if response.status < 300 else response.body
        await pass_on(visit.send, response, body, headers_for(batch))

    async def _cancel(self, visit: Visit, batch: Batch) -> None:
        """Cancel a batch, and charge it if that has ended it. What the provider says to that is nothing."""
        response = await self._ask(visit, batch, "POST", ":cancel")
        if response.status < 300:
            await self._ending.try_look(batch)
        batch = await self._own.find(visit, batch.provider_id or "")
        await pass_on(visit.send, response, response.body, headers_for(batch))

    async def _delete(self, visit: Visit, batch: Batch) -> None:
        """Delete a batch that is charged: of one that has not ended nobody could tell any more what it came to."""
        batch = await self._own.latest(visit, batch)
        if batch.ended_us is None:
            raise Conflict(
                f"batches/{batch.provider_id} has not ended: cancel it before it is deleted", code="batch_open"
            )
        response = await self._ask(visit, batch, "DELETE", "")
        await pass_on(visit.send, response, response.body, [])

    async def _ask(self, visit: Visit, batch: Batch, method: str, action: str) -> Response:
        upstream = self._ending.upstream(batch)
        path = GEMINI_BATCH.path(batch.provider_id or "") + action
        protocol, body = headers_of(upstream, _PROTOCOL), b"{}" if method == "POST" else b""
        return await ask_whole(upstream, Question(method, path, protocol, body, forwarded=visit.headers.forwarded))

    async def _list(self, visit: Visit) -> None:
        after, limit = page_of(visit.query, "pageSize", "pageToken")
        found, said, more = await self._own.page(visit, after, limit)
        page: dict[str, Any] = {"operations": [msgspec.Raw(shown(answer.body)) for _, answer in said]}
        await send_json(visit.send, page | ({"nextPageToken": found[-1].provider_id} if more else {}))


def _no_route(visit: Visit) -> NotFound:
    return NotFound(f"no route {visit.method} {visit.scope['path']}", code="no_route")
