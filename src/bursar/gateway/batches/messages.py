"""Serve Anthropic's message batches."""

from typing import Final

import msgspec

from bursar.core.errors import NotFound
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import Question, ask, ask_whole
from bursar.gateway.batches.ending import Ending, headers_of
from bursar.gateway.batches.making import Making
from bursar.gateway.batches.own import OwnBatches, ends_of
from bursar.gateway.batches.requests import Checker
from bursar.gateway.batches.visit import (
    Reception,
    Visit,
    check_route,
    headers_for,
    page_of,
    pass_on,
    pour,
    send_json,
)
from bursar.gateway.routes import Routes
from bursar.store.batches import Batch
from bursar.wires.batch_messages import MESSAGE_BATCH, check_not_empty, read_requests, shown, with_params

PATH: Final = "/v1/messages/batches"
_PROTOCOL: Final = Protocol.anthropic_batch


class MessageBatches:
    """Make, show, list, cancel and delete a key's own batches, and give their results."""

    def __init__(self, reception: Reception, routes: Routes, making: Making, ending: Ending) -> None:
        self._reception = reception
        self._routes = routes
        self._making = making
        self._ending = ending
        self._own = OwnBatches(reception, ending, _PROTOCOL, "No message batch with ID {} found.")

    async def serve(self, visit: Visit) -> None:
        """Answer one request for batches."""
        check_route(visit.key, _PROTOCOL)
        match (visit.method, visit.path):
            case ("POST", ()):
                await self._make(visit)
            case ("GET", ()):
                await self._list(visit)
            case ("GET", (batch_id,)):
                await self._answer(visit, await self._own.find(visit, batch_id))
            case ("POST", (batch_id, "cancel")):
                batch = await self._own.find(visit, batch_id)
                response = await self._ending.look(batch, "POST", "/cancel", visit.headers.forwarded)
                await pass_on(visit.send, response, _shown(response.body, batch), headers_for(batch))
            case ("GET", (batch_id, "results")):
                await self._results(visit, batch_id)
            case ("DELETE", (batch_id,)):
                await self._delete(visit, batch_id)
            case _:
                raise NotFound(f"no route {visit.method} {visit.scope['path']}", code="no_route")

    async def _make(self, visit: Visit) -> None:
        body, reception = await self._reception.body(visit), self._reception
        asked = read_requests(body)
        check_not_empty(asked)
        call = reception.call(visit, _PROTOCOL, "", body)
        if (before := await self._making.made_before(call)) is not None:
            await self._answer(visit, before)
            return
        checker = Checker(self._routes, visit.key, reception.settings.output_cap, call.opened_us)
        checked = await checker.check(asked, lambda number: f"requests.{number}")
        call = msgspec.structs.replace(call, model=checked.models[0].name)
        batch = await self._making.hold(call, visit.key, checked, PATH, visit.headers.max_cost_usd)
        sent, protocol = with_params(body, checked.bodies), headers_of(checked.upstream, _PROTOCOL)
        question = Question("POST", "/messages/batches", protocol, sent, forwarded=visit.headers.forwarded)
        response = await self._making.send(batch, MESSAGE_BATCH, checked, question)
        await pass_on(visit.send, response, response.body, headers_for(batch))

    async def _answer(self, visit: Visit, batch: Batch) -> None:
        response, batch = await self._own.look(visit, batch)
        await pass_on(visit.send, response, _shown(response.body, batch), headers_for(batch))

    async def _ended(self, visit: Visit, batch_id: str) -> Batch:
        """Return a batch once it is charged, if it has ended."""
        return await self._own.latest(visit, await self._own.find(visit, batch_id))

    async def _results(self, visit: Visit, batch_id: str) -> None:
        batch = await self._ended(visit, batch_id)
        if batch.ended_us is None:
            raise NotFound(f"{batch_id} has no results yet: see its processing_status", code="no_results_yet")
        question = self._question(visit, batch, "GET", "/results")
        await pour(visit.send, await ask(self._ending.upstream(batch), question, stream=True))

    async def _delete(self, visit: Visit, batch_id: str) -> None:
        batch = await self._ended(visit, batch_id)
        response = await ask_whole(self._ending.upstream(batch), self._question(visit, batch, "DELETE", ""))
        await pass_on(visit.send, response, response.body, [])

    def _question(self, visit: Visit, batch: Batch, method: str, action: str) -> Question:
        protocol = headers_of(self._ending.upstream(batch), _PROTOCOL)
        path = MESSAGE_BATCH.path(batch.provider_id or "") + action
        return Question(method, path, protocol, forwarded=visit.headers.forwarded)

    async def _list(self, visit: Visit) -> None:
        found, said, more = await self._own.page(visit, *page_of(visit.query))
        data = [msgspec.Raw(_shown(answer.body, batch)) for batch, answer in said]
        await send_json(visit.send, {"data": data, "has_more": more, **ends_of(found)})


def _shown(answer: bytes, batch: Batch) -> bytes:
    return shown(answer, f"{PATH}/{batch.provider_id}/results")
