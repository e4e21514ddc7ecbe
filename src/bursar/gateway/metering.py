"""Learn how many tokens models make of a text, from calls as they end; off the hot path, and without keeping a text.

Of each target the first calls are looked at, then one now and then. Their texts are read beside the loop and forgotten:
what goes to the database is how often each class of piece occurs, and the tokens the provider reported.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from bursar.core.errors import BadRequest, BooksError
from bursar.core.records import CallStatus, Protocol, Record, UsageSource
from bursar.core.times import SECOND_US
from bursar.gateway.control import Control
from bursar.gateway.passage import Passage
from bursar.store.token_samples import NewSample, add_samples, samples_of
from bursar.tokens.calibrate import CALLS_MAX, Estimate, Meter, Sample, learn
from bursar.tokens.features import Counts, Reader
from bursar.tokens.pieces import load
from bursar.wires.prompt import read_parts
from bursar.wires.wire import NO_MEDIA

log = structlog.get_logger()

PACE_S: Final = 5.0
"""How often what was taken is read."""

FIRST_CALLS: Final = CALLS_MAX // 2
"""Calls of a target each of which a worker looks at; then one of `LATER_EVERY`."""

LATER_EVERY: Final = 64
TARGETS_MAX: Final = 1_000
TAKEN_BYTES_MAX: Final = 64_000
"""Bytes of bodies taken at a time: some milliseconds of reading, beside calls."""

CALLS_MIN: Final = 30
"""Calls of a model from which what was learned says more than its size."""

METER_S: Final = 60.0
"""How long what was learned of a model is taken for what is known of it."""


class Taken(msgspec.Struct, frozen=True):
    """Hold a call whose texts are to be read: which target was asked what, and the input tokens it reported."""

    provider: str
    model: str
    protocol: Protocol
    body: bytes
    tokens: int


class Metering:
    """Take calls as they end, and tell what was learned of a model."""

    def __init__(self, control: Control, clock_us: Callable[[], int]) -> None:
        self._control = control
        self._clock_us = clock_us
        self._taken: list[Taken] = []
        self._taken_bytes = 0
        self._meters: dict[str, tuple[int, Meter | None]] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._reader: Reader | None = None

    def take(self, passage: Passage, record: Record) -> None:
        """Take a call, if its texts alone were what its provider counted; without waiting."""
        attempt = record.attempts[-1]
        size = self._taken_bytes + len(passage.body)
        if attempt.usage_source is not UsageSource.provider or size > TAKEN_BYTES_MAX:
            return
        target = attempt.provider, attempt.model
        seen = self._seen.get(target, 0) + 1
        if seen > 1 or len(self._seen) < TARGETS_MAX:
            self._seen[target] = seen
        if (seen > FIRST_CALLS and seen % LATER_EVERY) or not _is_of_text(passage, record):
            return
        self._taken.append(Taken(*target, passage.wire.protocol, passage.body, attempt.usage.input_total))
        self._taken_bytes = size

    async def run(self) -> None:
        """Read what was taken, now and then, until cancelled. A database that is away loses a few samples."""
        while True:
            await asyncio.sleep(PACE_S)
            try:
                await self.look()
            except BooksError as error:
                log.debug("metering.not_written", error=str(error))

    async def look(self) -> None:
        """Read what was taken and write down what it was made of."""
        taken, self._taken, self._taken_bytes = self._taken, [], 0
        if taken:
            found = await asyncio.to_thread(self._read_all, taken)
            await self._control.run(lambda connection: add_samples(connection, found, self._clock_us()))

    async def estimate(self, model: str, protocol: Protocol, body: bytes) -> Estimate | None:
        """Estimate what a prompt takes of a target, as `provider/model`; None where too little was learned of it."""
        meter = await self._meter(model)
        if meter is None:
            return None
        return await asyncio.to_thread(lambda: meter.estimate(self._counts(protocol, body)))

    async def _meter(self, model: str) -> Meter | None:
        now_us = self._clock_us()
        until_us, meter = self._meters.get(model, (0, None))
        if now_us < until_us:
            return meter
        samples = await self._control.run(lambda connection: samples_of(connection, model))
        meter = await asyncio.to_thread(learn, samples) if len(samples) >= CALLS_MIN else None
        if len(self._meters) >= TARGETS_MAX:
            self._meters.clear()
        self._meters[model] = now_us + round(METER_S * SECOND_US), meter
        return meter

    def _read_all(self, taken: list[Taken]) -> list[NewSample]:
        found: list[NewSample] = []
        for each in taken:
            try:
                sample = Sample(self._counts(each.protocol, each.body), each.tokens)
            except BadRequest:  # it is no JSON that is read here: it teaches nothing
                continue
            found.append(NewSample(each.provider, each.model, sample))
        return found

    def _counts(self, protocol: Protocol, body: bytes) -> Counts:
        self._reader = reader = self._reader or Reader(load())
        return reader.call([part.text for part in read_parts(protocol, body)])


def _is_of_text(passage: Passage, record: Record) -> bool:
    """Tell whether what was sent is what came, all of it text, and was answered at the first attempt."""
    usage, traits = record.usage, passage.facts.traits
    return (
        record.status is CallStatus.ok
        and len(record.attempts) == 1
        and passage.facts.media is NO_MEDIA
        and not traits.searches_web
        and not passage.translated
        and not passage.reads
        and not passage.facts.recalls
        and not usage.other
        and usage.input_total > 0
        and passage.wire.protocol in _READ
    )


_READ: Final = frozenset(
    {Protocol.openai_chat, Protocol.anthropic_messages, Protocol.openai_responses, Protocol.gemini}
)
