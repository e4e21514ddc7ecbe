"""Serve OpenAI's batches."""

from typing import Final

import msgspec

from bursar.core.errors import BadRequest, Conflict, NotFound
from bursar.core.ids import call_name
from bursar.core.records import Protocol
from bursar.gateway.batches.ask import Question
from bursar.gateway.batches.ending import Ending, headers_of
from bursar.gateway.batches.files import BATCH, Files
from bursar.gateway.batches.making import Making
from bursar.gateway.batches.own import OwnBatches, ends_of
from bursar.gateway.batches.requests import Checked, batch_card
from bursar.gateway.batches.visit import Reception, Visit, check_route, headers_for, page_of, pass_on, send_json
from bursar.gateway.identify import check_scope
from bursar.gateway.routes import Routes
from bursar.store.batches import Batch, KeptFile
from bursar.wires.batch import OPENAI_BATCH, WIRE_OF_URL, read_wish, with_own_name, without_own_name

PATH: Final = "/v1/batches"
_PROTOCOL: Final = Protocol.openai_batch


class OpenAIBatches:
    """Make, show, list and cancel a key's own batches."""

    def __init__(self, reception: Reception, routes: Routes, making: Making, ending: Ending, files: Files) -> None:
        self._reception = reception
        self._routes = routes
        self._making = making
        self._ending = ending
        self._files = files
        self._own = OwnBatches(reception, ending, _PROTOCOL, "No batch found with id '{}'.", "batch_id")

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
                await self._cancel(visit, batch_id)
            case _:
                raise NotFound(f"no route {visit.method} {visit.scope['path']}", code="no_route")

    async def _make(self, visit: Visit) -> None:
        body, key = await self._reception.body(visit), visit.key
        input_file, endpoint = read_wish(body)
        call = self._reception.call(visit, _PROTOCOL, "", body)
        if (before := await self._making.made_before(call)) is not None:
            await self._answer(visit, before)
            return
        file = await self._files.find(visit, input_file)
        checked = self._checked(visit, file, endpoint)
        call = msgspec.structs.replace(call, model=checked.models[0].name)
        batch = await self._making.hold(call, key, checked, endpoint, visit.headers.max_cost_usd)
        sent = with_own_name(body, call_name(batch.batch_id))
        question = Question("POST", "/batches", headers_of(checked.upstream, _PROTOCOL), sent)
        response = await self._making.send(batch, OPENAI_BATCH, checked, question)
        await pass_on(visit.send, response, without_own_name(response.body), headers_for(batch))

    def _checked(self, visit: Visit, file: KeptFile, endpoint: str) -> Checked:
        """Return a file's requests as they were checked when it came. Raises a `Refusal` where that holds no more."""
        if file.purpose != BATCH or not file.models:
            raise BadRequest("expected a file that was uploaded with purpose=batch", param="input_file_id")
        wire = WIRE_OF_URL.get(endpoint)
        if wire is None or wire.protocol is not file.models[0].protocol:
            raise BadRequest("expected the url of the file's requests in `endpoint`", param="endpoint")
        now_us, upstream = self._reception.calls.clock_us(), self._routes.upstreams.get(file.provider)
        cards = []
        for model in file.models:
            check_scope(visit.key, model.name, wire.route, now_us)
            found = self._routes.known(model.name, model.protocol, file.provider)
            card = batch_card(found, now_us) if found is not None and found.model == model.served else None
            if upstream is None or card is None or (card.price_id, card.volume) != (model.price_id, model.volume):
                raise Conflict(
                    f"the price or the target of {model.name} has changed since this file came: upload it again",
                    code="file_out_of_date",
                    param="input_file_id",
                )
            cards.append(card)
        assert upstream is not None
        return Checked(upstream, file.models, tuple(cards), file.requests, ())

    async def _answer(self, visit: Visit, batch: Batch) -> None:
        response, batch = await self._own.look(visit, batch)
        await pass_on(visit.send, response, without_own_name(response.body), headers_for(batch))

    async def _cancel(self, visit: Visit, batch_id: str) -> None:
        batch = await self._own.find(visit, batch_id)
        response = await self._ending.look(batch, "POST", "/cancel")
        batch = await self._own.find(visit, batch_id)
        await pass_on(visit.send, response, without_own_name(response.body), headers_for(batch))

    async def _list(self, visit: Visit) -> None:
        found, said, more = await self._own.page(visit, *page_of(visit.query))
        data = [msgspec.Raw(without_own_name(answer.body)) for _, answer in said]
        await send_json(visit.send, {"object": "list", "data": data, "has_more": more, **ends_of(found)})
