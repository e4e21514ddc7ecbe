"""Compress the prompts of calls, where the operator or the client wants it: a lever of the plan.

Whatever goes wrong with it leaves a call's body as it was.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import msgspec
import structlog

from bursar.core.errors import BadRequest
from bursar.core.records import Assignment, Segments
from bursar.gateway.cached import weigh_for
from bursar.gateway.config import Compress, Config
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Routes
from bursar.gateway.stats import Stats
from bursar.savings.compress.conversation import Squeezed, Stages, Weigh, compress_body
from bursar.savings.compress.lossless import ALL, lossless
from bursar.savings.compress.restoring import Means
from bursar.savings.compress.setting import Mode, Setting
from bursar.savings.proof import Arm, arm, unit_digest, unit_of
from bursar.tokens.estimate import tokens_from_bytes
from bursar.wires.prefix import prefix_digest
from bursar.wires.protocols import TEXT_WIRES

log = structlog.get_logger()

LEVER: Final = "compress"

INLINE_BYTES_MAX: Final = 4_096
"""A body up to this size is compressed within its turn; other calls would have to wait too long for a larger one."""

WAITING_MAX: Final = 16
"""Calls that may wait for their compression; one more is sent as it is."""

WAIT_S_MAX: Final = 1.0
"""How long a call waits for its turn to be compressed; then it is sent as it came."""

_REFERS: Final = frozenset((Means.repeat,))
_MEANS: Final = ALL - _REFERS - {Means.blob}  # what is kept out a model could not ask for


class Compressing:
    """Be the lever, by one configuration."""

    def __init__(self, config: Config, stats: Stats, routes: Routes) -> None:
        self._table = config.compress or Compress()
        own = {name: model.compress for name, model in config.models.items() if model.compress is not None}
        self._models = own | self._table.routes
        self._stats = stats
        self._routes = routes
        self._waiting = 0
        self._stages = stages_of(self._table.embedder)
        # One thread: more would take the processor from the calls that wait for nothing.
        self._thread = ThreadPoolExecutor(1, "compress")

    def setting(self, passage: Passage, key_name: str, asked: Setting | None) -> Setting | None:
        """Return how far a call is to be compressed; None for not at all. The client's word counts most."""
        table = self._table
        if len(passage.body) < table.bytes_min or passage.call.protocol not in TEXT_WIRES:
            return None
        found = asked or table.keys.get(key_name) or self._models.get(passage.call.model) or table.default
        return None if found.mode is Mode.off else found

    async def compress(self, passage: Passage, setting: Setting, target: str) -> None:
        """Compress a call's prompt, unless its run or conversation is held out; `target` is the end of its path."""
        table, call, body = self._table, passage.call, passage.body
        unit = unit_of(call.key_id, call.run, prefix_digest(body))
        passage.unit = unit_digest(unit)
        which = arm(LEVER, table.experiment, unit, table.holdout_ppm)
        passage.arms[LEVER] = Assignment(LEVER, which, table.experiment, table.holdout_ppm)
        if which is Arm.holdout:
            return
        await self._squeeze(passage, body, self.fitting(passage, setting), target)

    async def withdraw(self, passage: Passage) -> None:
        """Compress a call once more so that its model is offered nothing to read: no budget covers that."""
        passage.notes = ("the rest of results is not offered: the budget has no room for one more ask",)
        setting = msgspec.structs.replace(passage.setting, read_more=False)
        await self._squeeze(passage, passage.whole, setting, "")

    async def _squeeze(self, passage: Passage, body: bytes, setting: Setting, target: str) -> None:
        """Put a compressed body in the place of a call's own; whatever goes wrong with that leaves it as it is."""
        call = passage.call
        try:
            work = self.work(passage, body, setting)
            found = work() if len(body) <= INLINE_BYTES_MAX else await self._aside(work)
            facts = passage.wire.facts(found.body, target)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call is sent as it came
            self._stats.compress_failed += 1
            log.warning("compress.failed", call=call.call_id.hex(), error=type(error).__name__)
            passage.notes = (*passage.notes, f"its compression failed with {type(error).__name__}")
            return
        passage.notes = (*passage.notes, *found.told)
        if found.body is not body:
            self._stats.compressed += passage.sent is None
            self._stats.compressed_bytes += len(passage.body) - len(found.body)
            passage.body, passage.facts, passage.sent = found.body, facts, facts.segments
            passage.whole, passage.setting = body if found.may_read else b"", setting

    def work(self, passage: Passage, body: bytes, setting: Setting) -> "partial[Squeezed]":
        """Return what compresses a call's body."""
        weigh = self._weigh(passage) if setting.condenses else None
        return partial(compress_body, passage.call.protocol, body, setting, self._stages, weigh)

    def fitting(self, passage: Passage, setting: Setting) -> Setting:
        """Return a setting without `read_more` for a call that cannot be gone on with."""
        if setting.read_more and not self._may_read(passage):
            return msgspec.structs.replace(setting, read_more=False)
        return setting

    def _may_read(self, passage: Passage) -> bool:
        """Tell whether a call can be gone on with, for what a model wants to read: no stream, in its own protocol."""
        facts, protocol = passage.facts, passage.call.protocol
        if facts.stream or facts.model in self._routes.policies:
            return False
        candidates = self._routes.find(facts.model, protocol)
        return not passage.is_foreign_to(candidates) and not candidates[0].rules.fallbacks

    def _weigh(self, passage: Passage) -> Weigh:
        """Return what weighs a change by the prices of all targets the call may go to, or a later one like it."""
        facts, protocol = passage.facts, passage.call.protocol
        policy = self._routes.policies.get(facts.model)
        models = (facts.model,) if policy is None else policy.models
        candidates = [each for model in models for each in self._routes.find(model, protocol)]
        return weigh_for(candidates, facts.traits, passage.call.opened_us)

    async def _aside(self, work: "partial[Squeezed]") -> Squeezed:
        """Do work beside the loop, after what waits for it already.

        Raises `BlockingIOError` when too many wait, `TimeoutError` when its turn does not come in time.
        """
        if self._waiting >= WAITING_MAX:
            raise BlockingIOError(f"{self._waiting} calls wait for their compression")
        self._waiting += 1
        future = self._thread.submit(work)
        try:
            done = asyncio.wrap_future(future)
            await asyncio.wait((done,), timeout=WAIT_S_MAX)
            if not future.done() and future.cancel():  # what has begun can only be waited for
                raise TimeoutError(f"its turn did not come within {WAIT_S_MAX:g} s")
            return await done
        finally:
            future.cancel()
            self._waiting -= 1

    def end(self) -> None:
        """Let the thread go once it has done what it was given."""
        self._thread.shutdown(wait=False)


def compressing_of(config: Config, stats: Stats, routes: Routes) -> Compressing | None:
    """Return the lever; None where nothing in a configuration has to do with it."""
    return Compressing(config, stats, routes) if config.compresses else None


def not_here() -> BadRequest:
    """Refuse a wish for compression where the operator has not set it up."""
    return BadRequest(
        "x-bursar-compress: prompts are not compressed here; leave the header out, or have a [compress] table added to"
        " bursar.toml",
        param="x-bursar-compress",
    )


def removed_tokens(given: Segments, sent: Segments) -> int:
    """Estimate how many tokens fewer were sent than the client has given."""
    return tokens_from_bytes(max(0, given.total - sent.total))


def stages_of(embedder: str) -> Stages:
    """Return what prompts are compressed by; `embedder` is of whose vectors, `words` for none."""
    # What ranks sentences needs NumPy, which no worker loads without a use for it; so does the table of vectors.
    from bursar.embed.table import load
    from bursar.savings.compress.compress import compress, estimate

    shorten = partial(compress, embedder=load() if embedder == "static" else None)
    return Stages(
        lambda parts: lossless(parts, estimate, _MEANS), lambda parts: lossless(parts, estimate, _REFERS), shorten
    )
