"""See how far a batch is, and charge it once its results exist, whoever sees that first."""

from typing import Final

import structlog

from bursar.core.errors import BadRequest, BooksError, Refusal, Unavailable, UpstreamFailed
from bursar.core.ids import call_name
from bursar.core.money import nano_to_usd
from bursar.core.records import Protocol
from bursar.core.times import DAY_US
from bursar.gateway.batches.ask import Question, Unanswered, ask, lines_from
from bursar.gateway.batches.tally import Tally
from bursar.gateway.calls import Calls
from bursar.gateway.connection import Response, UpstreamFault
from bursar.gateway.control import Control
from bursar.gateway.routes import Routes, Upstream
from bursar.store.batches import Batch, KeptFile, Pricing, cards_of, end_batch, note_missing, requests_of
from bursar.wires.batch import OPENAI_BATCH, BatchWire, State
from bursar.wires.batch_gemini import GEMINI_BATCH
from bursar.wires.batch_messages import MESSAGE_BATCH

log = structlog.get_logger()

GONE_US: Final = DAY_US
"""How long a batch's results may be gone from its provider before it is charged all it held."""

_GONE: Final = (404, 410)

WIRES: Final[dict[Protocol, BatchWire]] = {each.protocol: each for each in (OPENAI_BATCH, MESSAGE_BATCH, GEMINI_BATCH)}
_HEADERS_OF: Final = {
    Protocol.openai_batch: (Protocol.openai_chat, Protocol.openai_responses),
    Protocol.anthropic_batch: (Protocol.anthropic_messages,),
    Protocol.gemini_batch: (Protocol.gemini,),
}


class NotThere(Exception):
    """Say that a provider does not know a batch, or its results, any more."""


def keeps_files(upstream: Upstream, protocol: Protocol) -> bool:
    """Tell whether a provider is asked for files and batches of a protocol: not a cloud that serves calls alone."""
    return upstream.signer is None and upstream.dialect is None and any(map(upstream.speaks, _HEADERS_OF[protocol]))


def headers_of(upstream: Upstream, protocol: Protocol) -> Protocol:
    """Return by which protocol's headers a provider is asked for batches. Raises `UpstreamFailed` if it has none."""
    found = next((each for each in _HEADERS_OF[protocol] if upstream.speaks(each)), None)
    if found is None:
        raise UpstreamFailed(f"provider {upstream.name} is not configured to speak this protocol any more")
    return found


class Ending:
    """Ask for batches, and end those whose results exist."""

    def __init__(self, calls: Calls, control: Control, routes: Routes) -> None:
        self._calls = calls
        self._control = control
        self._routes = routes

    def upstream(self, batch: Batch) -> Upstream:
        """Return the provider of a batch. Raises `UpstreamFailed` when it is configured no more."""
        found = self._routes.upstreams.get(batch.provider)
        if found is None:
            raise UpstreamFailed(f"provider {batch.provider} is not configured any more: its batches are out of reach")
        return found

    async def look(self, batch: Batch, method: str = "GET", action: str = "", forwarded: bytes = b"") -> Response:
        """Ask the provider for a batch, or to do something with it, and charge it if that shows that it has ended.

        Raises `UpstreamFailed`, `UpstreamTimeout`, or `Unavailable` while its results cannot be read: a batch is not
        shown as ended before it is charged.
        """
        upstream, wire = self.upstream(batch), WIRES[batch.protocol]
        protocol, path = headers_of(upstream, batch.protocol), wire.path(batch.provider_id or "") + action
        try:
            response = await ask(upstream, Question(method, path, protocol, forwarded=forwarded))
        except Unanswered as error:
            raise error.refusal from None
        if response.stream is not None:
            response.stream.abort()
            raise UpstreamFailed(f"provider {upstream.name} answered with a stream")
        if batch.ended_us is None:
            await self._take_in(batch, wire, upstream, response)
        return response

    async def _take_in(self, batch: Batch, wire: BatchWire, upstream: Upstream, response: Response) -> None:
        """Charge a batch that has ended, or keep that its provider knows nothing of it."""
        try:
            if response.status in _GONE:
                raise NotThere
            if response.status >= 300:
                return
            state = wire.state(response.body)
            if not state.ended:
                if batch.missing_us is not None:
                    await self._control.run(lambda connection: note_missing(connection, batch, 0, missing=False))
                return
            await self.charge(batch, state, upstream)
        except NotThere:
            await self._missing(batch)
        except BadRequest as error:
            raise UpstreamFailed(f"what provider {upstream.name} says of a batch cannot be read: {error}") from None
        except BooksError as error:
            raise Unavailable(f"the batch has ended, and the books cannot take it: {error}", retry_after_s=1) from error

    async def charge(self, batch: Batch, state: State, upstream: Upstream) -> None:
        """Read all results of a batch, price them and post what they come to. Raises `NotThere`, `UpstreamFailed`."""
        costs = await self._control.run(lambda connection: requests_of(connection, batch))
        cards = await self._control.run(lambda connection: cards_of(connection, batch))
        if not costs:
            return  # somebody was quicker
        tally, files = Tally(batch, costs, cards), list[KeptFile]()
        for result in state.results:
            tally.add(result)
        protocol = headers_of(upstream, batch.protocol)
        for place, path in enumerate(state.paths):
            size = await self._read(tally, batch, upstream, Question("GET", path, protocol))
            if place < len(state.files):
                kept = KeptFile(batch.provider, state.files[place], "batch_output", size, protocol=batch.protocol)
                files.append(kept)
        if state.lacks or tally.lacks(state.answered, state.failed):
            log.warning("batch.results_lack", batch=call_name(batch.batch_id), provider=batch.provider)
            raise NotThere
        ended_us = self._calls.clock_us()
        await self._end(batch, lambda used_before: tally.bill(ended_us, used_before), files)

    async def _read(self, tally: Tally, batch: Batch, upstream: Upstream, question: Question) -> int:
        """Take in a file of results, line by line; returns its size in bytes."""
        wire, size = WIRES[batch.protocol], 0
        try:
            response = await ask(upstream, question, stream=True)
        except Unanswered as error:
            raise error.refusal from None
        stream = response.stream
        if response.status >= 300 or stream is None:
            if stream is not None:
                stream.abort()
            if response.status in _GONE:
                raise NotThere
            raise UpstreamFailed(f"provider {upstream.name} answered {response.status} for a batch's results")
        try:
            async for line in lines_from(stream):
                size += len(line) + 1
                tally.add(wire.result(line))
        except UpstreamFault as fault:
            raise UpstreamFailed(f"provider {upstream.name} did not give all of a batch's results: {fault}") from None
        except BaseException:  # a stream that is not read on would keep its connection
            stream.abort()
            raise
        return size

    async def _missing(self, batch: Batch) -> None:
        """Keep that a batch is gone from its provider; after long enough, charge it all it held."""
        now_us = self._calls.clock_us()
        if batch.missing_us is None or now_us - batch.missing_us < GONE_US:
            await self._control.run(lambda connection: note_missing(connection, batch, now_us, missing=True))
            return
        await self.charge_held(batch)

    async def charge_held(self, batch: Batch) -> None:
        """Charge a batch all it held: nobody can know any more what it came to."""
        costs = await self._control.run(lambda connection: requests_of(connection, batch))
        cards = await self._control.run(lambda connection: cards_of(connection, batch))
        bill = Tally(batch, costs, cards).held_bill(self._calls.clock_us())
        await self._end(batch, lambda _: bill, [])

    async def _end(self, batch: Batch, pricing: Pricing, files: list[KeptFile]) -> None:
        now_us = self._calls.clock_us()
        ended = await self._control.run(lambda connection: end_batch(connection, batch, pricing, files, now_us))
        if ended is None:
            return
        bill, record = ended
        self._calls.stats.count(record)
        volumes = {model.served: model.volume for model in batch.models if model.volume is not None}
        for attempt in record.attempts:
            if attempt.model in volumes:
                volume = volumes[attempt.model]
                self._calls.volumes.count(batch.provider, attempt.model, volume, attempt.usage, batch.opened_us)
        name, cost = call_name(batch.batch_id), nano_to_usd(bill.cost_nano)
        log.info("batch.charged", batch=name, cost_usd=cost, answered=bill.answered, failed=bill.failed)

    async def try_look(self, batch: Batch) -> None:
        """Look at a batch for nobody in particular: what is in the way is tried again later."""
        try:
            await self.look(batch)
        except Refusal as refusal:
            log.warning("batch.not_seen", batch=call_name(batch.batch_id), reason=refusal.message)
