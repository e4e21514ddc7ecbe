"""Serve Anthropic's message batches."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from bursar.core.errors import NotFound
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import Question, ask, ask_whole, few_at_once
from bursar.gateway.batches.ending import Ending, headers_of
from bursar.gateway.batches.making import Making
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
from bursar.store.batches import Batch, batches_of, find_batch
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

    async def serve(self, visit: Visit) -> None:
        """Answer one request for batches."""
        check_route(visit.key, _PROTOCOL)
        match (visit.method, visit.path):
            case ("POST", ()):
                await self._make(visit)
            case ("GET", ()):
                await self._list(visit)
            case ("GET", (batch_id,)):
                await self._answer(visit, await self._find(visit, batch_id))
            case ("POST", (batch_id, "cancel")):
                batch = await self._find(visit, batch_id)
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

    async def _find(self, visit: Visit, batch_id: str) -> Batch:
        """Find a key's own batch. Raises `NotFound`, as for what does not exist."""
        key = visit.key
        found = await self._reception.books(
            lambda connection: find_batch(connection, key.tenant, key.key_id, batch_id, _PROTOCOL)
        )
        if found is None:
            raise NotFound(f"No message batch with ID {batch_id} found.", code="batch_not_found")
        return found

    async def _answer(self, visit: Visit, batch: Batch) -> None:
        response = await self._ending.look(batch, forwarded=visit.headers.forwarded)
        if batch.ended_us is None:
            batch = await self._find(visit, batch.provider_id or "")
        await pass_on(visit.send, response, _shown(response.body, batch), headers_for(batch))

    async def _ended(self, visit: Visit, batch_id: str) -> Batch:
        """Return a batch once it is charged, if it has ended."""
        batch = await self._find(visit, batch_id)
        if batch.ended_us is None:
            await self._ending.look(batch, forwarded=visit.headers.forwarded)
            batch = await self._find(visit, batch_id)
        return batch

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
        after, limit = page_of(visit.query)
        key = visit.key
        found = await self._reception.books(
            lambda connection: batches_of(connection, key.tenant, key.key_id, _PROTOCOL, after, limit + 1)
        )
        forwarded = visit.headers.forwarded
        answers = await few_at_once([partial(self._ending.look, each, forwarded=forwarded) for each in found[:limit]])
        data = [
            msgspec.Raw(_shown(answer.body, batch))
            for batch, answer in zip(found, answers, strict=False)  # one more may be found than is shown
            if answer is not None and answer.status < 300
        ]
        await send_json(visit.send, _page(data, found, limit))


def _page(data: list[msgspec.Raw], found: Sequence[Batch], limit: int) -> dict[str, Any]:
    ids = [batch.provider_id for batch in found[:limit]]
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"data": data, "has_more": len(found) > limit, **ends}


def _shown(answer: bytes, batch: Batch) -> bytes:
    return shown(answer, f"{PATH}/{batch.provider_id}/results")
