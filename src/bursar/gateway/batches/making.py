"""Make a batch: hold its ceiling in every budget it counts against, write it down, and only then ask its provider."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec
import structlog

from bursar.budgets.budget import Budget, Window
from bursar.budgets.purse import Ask, Purse
from bursar.budgets.tree import Claim
from bursar.core.errors import BadRequest, BooksError, Conflict, NoMoney, Refusal, Unavailable, UpstreamFailed
from bursar.core.ids import call_name
from bursar.core.records import Call
from bursar.gateway.batches.ask import Question, Unanswered, ask
from bursar.gateway.batches.requests import Checked, ceiling_of
from bursar.gateway.calls import Calls
from bursar.gateway.connection import Response
from bursar.gateway.control import Control
from bursar.gateway.plan import check_max_cost, max_cost_of
from bursar.gateway.purse import RECALL_S, refusal_of
from bursar.ledger.chart import Unit
from bursar.store.batches import Batch, MadeAlready, NewBatch, Short, end_batch, find_made_under, open_batch, reached
from bursar.store.database import Connection, announce
from bursar.store.keys import Key
from bursar.wires.batch import BatchWire, is_id

log = structlog.get_logger()

T = TypeVar("T")

_REFUSED: Final = range(400, 500)
_COUNTED: Final = (Unit.usd, Unit.token, Unit.request)


class Making:
    """Make batches of any protocol."""

    def __init__(self, calls: Calls, control: Control) -> None:
        self._calls = calls
        self._control = control

    async def hold(self, call: Call, key: Key, checked: Checked, endpoint: str, max_cost_usd: str | None) -> Batch:
        """Hold all that a batch may cost, and write it down.

        Raises `NoMoney`, `TooMany`, `Unavailable`, or `Conflict` where another is making it under the same key.
        """
        claim, most = _claim_of(key, call, checked), ceiling_of(checked.costs)
        if claim.frozen:
            raise NoMoney(f"{claim.frozen} is frozen: nothing is spent until it is thawed", code="budget_frozen")
        if max_cost_usd is not None:
            check_max_cost(max_cost_of(max_cost_usd), most.most_nano)
        amounts = {Unit.usd: most.most_nano, Unit.token: most.tokens, Unit.request: checked.count}
        asks = [
            Ask(budget, amounts[budget.terms.unit], amounts[budget.terms.unit])
            for budget in claim.budgets
            if _counts(budget)
        ]
        models, cards = checked.priced(call.opened_us)
        new = NewBatch(call, checked.upstream.name, endpoint, models, checked.costs, checked.count)
        waits = iter(RECALL_S)
        while True:
            now_us = self._calls.clock_us()
            try:
                return await self._run(lambda connection: open_batch(connection, new, asks, cards, now_us))  # noqa: B023 - it is awaited here
            except MadeAlready:
                await self.made_before(call)  # says so where that is another request, or still on its way
                raise Conflict(
                    "this batch has just been made under this Idempotency-Key: ask again", retry_after_s=1
                ) from None
            except Short as short:
                pause = next(waits, None)
                if pause is None or not _is_elsewhere(short):
                    raise _refusal(short, now_us) from None
                await self._run(lambda connection: _recall(connection, asks))
                await asyncio.sleep(pause)

    async def send(self, batch: Batch, wire: BatchWire, checked: Checked, question: Question) -> Response:
        """Ask the provider for a batch that is held for, and keep the id it is known by there.

        What the provider refuses holds nothing any more. Where nobody knows whether it was taken the hold stays, until
        it is found there or has not been found for long enough.
        """
        name = call_name(batch.batch_id)
        try:
            response = await ask(checked.upstream, question)
        except Unanswered as error:
            if not error.sent:
                await self._give_back(batch)
            raise error.refusal from None
        except Refusal:
            await self._give_back(batch)
            raise
        if response.status in _REFUSED:
            await self._give_back(batch)
            return response
        if response.stream is not None:
            response.stream.abort()
        if response.status >= 300 or response.stream is not None:
            said = f"provider {batch.provider} answered {response.status}"
            raise UpstreamFailed(f"{said}: whether it took {name} is found out")
        state = wire.state(response.body)
        if not is_id(state.provider_id):
            raise UpstreamFailed(f"provider {batch.provider} gave {name} an id that cannot be one")
        now_us = self._calls.clock_us()
        try:
            kept = await self._control.run(lambda connection: reached(connection, batch, state.provider_id, now_us))
        except BooksError:  # it is found at its provider once the books are back
            log.warning("batch.not_noted", batch=name, provider=batch.provider)
        else:
            if not kept:
                raise UpstreamFailed(
                    f"provider {batch.provider} answered too late for {name}, or with another's id: see to it there"
                )
        return response

    async def made_before(self, call: Call) -> Batch | None:
        """Return the batch that was made under the same Idempotency-Key. Raises `Conflict` for another request."""
        if not call.idempotency_key:
            return None
        where = (call.tenant, call.key_id, call.idempotency_key)
        found = await self._run(lambda connection: find_made_under(connection, *where))
        if found is None:
            return None
        if found.body_sha256 != call.body_sha256:
            raise Conflict("this Idempotency-Key was used with another request", param="Idempotency-Key")
        if found.provider_id is None:
            name = call_name(found.batch_id)
            message = f"{name} was made under this Idempotency-Key and has not reached its provider: try again"
            raise Conflict(message, retry_after_s=5)
        return found

    async def _give_back(self, batch: Batch) -> None:
        with contextlib.suppress(BooksError):  # then it is given back once it was not found for long enough
            await self._control.run(lambda connection: end_batch(connection, batch, None, (), self._calls.clock_us()))

    async def _run(self, act: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await self._control.run(act)
        except BooksError as error:
            raise Unavailable(f"the books cannot be reached: {error}", retry_after_s=1) from error


def with_key(call: Call, name: bytes, digest: bytes) -> Call:
    """Return a call under an Idempotency-Key."""
    return msgspec.structs.replace(call, idempotency_key=name, body_sha256=digest) if name else call


def _claim_of(key: Key, call: Call, checked: Checked) -> Claim:
    """Return what the holders of a batch say of it, the same for all its models. Raises `BadRequest`.

    A batch has one charge: of models with budgets of their own nothing says which has to pay what of it.
    """
    claims = {each.name: key.path.find(call.run, each.name, call.tags) for each in checked.models}
    first, *others = claims
    for name in others:
        if claims[name] != claims[first]:
            raise BadRequest(
                f"{first} and {name} count against different budgets of this key: make a batch of each", param="model"
            )
    return claims[first]


def _counts(budget: Budget) -> bool:
    """Tell whether a budget counts batches: not what limits the pace of calls, for a batch goes at its provider's."""
    return budget.terms.unit in _COUNTED and (budget.terms.unit is Unit.usd or budget.terms.window is not Window.minute)


def _is_elsewhere(short: Short) -> bool:
    grant = short.grant
    return grant.granted_nano + grant.elsewhere_nano >= short.ask.need_nano


def _refusal(short: Short, now_us: int) -> Refusal:
    purse = Purse(short.ask.budget)
    purse.granted(short.ask, short.grant, now_us)
    return refusal_of([(purse, short.ask.need_nano)])


async def _recall(connection: Connection, asks: Sequence[Ask]) -> None:
    for each in asks:
        await announce(connection, f"recall:{each.budget.budget_id}")
