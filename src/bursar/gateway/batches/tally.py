"""Price a batch's results one by one, and sum them by model and rate.

A batch is one operation: what its results used at one rate is one line of its charge, rounded once, so that the charge
can be derived again from its lines. So is its volume: a free allowance and discounts apply to the sums, whatever the
order of its results.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from bursar.core.errors import UnpricedUsage
from bursar.core.money import Money, div_half_even
from bursar.core.records import NO_USAGE, Attempt, AttemptStatus, CallStatus, Line, UsageSource
from bursar.core.usage import Usage
from bursar.gateway.batches.requests import Cost, digest_of, unpack
from bursar.prices.charge import NOTHING_USED, UsedSoFar, charge, charge_by_volume, total, used_after
from bursar.prices.price import RateCard, Volume
from bursar.prices.units import UNITS
from bursar.store.batches import Batch, Bill
from bursar.wires.batch import Result
from bursar.wires.protocols import WIRES
from bursar.wires.wire import Answer, BadAnswer

log = structlog.get_logger()

_OK: Final = 200
_PLACES: Final = {unit: place for place, unit in enumerate(UNITS)}


class _Sum:
    """Sum what the results of one model used."""

    def __init__(self) -> None:
        self.usage = NO_USAGE
        self.quantities: dict[tuple[str, Money, int], int] = {}
        self.answered = 0
        self.unmetered = 0
        self.unmetered_nano: Money = 0

    def lines(self, volume: Volume | None, used_so_far: UsedSoFar) -> tuple[Line, ...]:
        """Return a line a unit and rate, rounded once; of a price with a volume, one a stretch of it."""
        if volume is not None:
            order = sorted(self.quantities, key=lambda name: (_PLACES[name[0]], name[1]))
            uses = [(unit, self.quantities[unit, rate_nano, per], rate_nano) for unit, rate_nano, per in order]
            return tuple(charge_by_volume(uses, volume, used_so_far))
        return tuple(
            Line(unit, quantity, rate_nano, per, div_half_even(quantity * rate_nano, per))
            for (unit, rate_nano, per), quantity in self.quantities.items()
        )


class Tally:
    """Take in the results of one batch; `cards` are the rates of its models, in their order."""

    def __init__(self, batch: Batch, costs: bytes, cards: Mapping[str, RateCard]) -> None:
        self._batch = batch
        self._costs: dict[bytes, Cost] = dict(unpack(costs))
        self._cards = [cards[each.price_id] for each in batch.models]
        self._sums = [_Sum() for _ in batch.models]
        self._dear = max(self._costs.values(), key=lambda cost: cost.most_nano)
        self._failed = 0
        self._tokens = 0
        self._unasked = 0

    def add(self, result: Result) -> None:
        """Take in one result. An answer nobody asked for, or a second under one name, is charged as well."""
        cost = self._costs.pop(digest_of(result.custom_id), None)
        if cost is None:
            log.warning("batch.result_not_asked_for", provider=self._batch.provider)
            if result.body is None:
                return
            self._unasked += 1
            cost = self._dearest(result.body)
        elif result.body is None:
            self._failed += 1
            return
        found = self._sums[cost.model]
        found.answered += 1
        lines = self._lines(cost, result.body)
        if lines is None:
            found.unmetered += 1
            found.unmetered_nano += cost.most_nano
            self._tokens += cost.tokens
            return
        for line in lines:
            name = (line.unit, line.rate_nano, line.divisor)
            found.quantities[name] = found.quantities.get(name, 0) + line.quantity

    def lacks(self, answered: int | None, failed: int) -> bool:
        """Tell whether results are missing of which a provider says that they exist."""
        seen = sum(each.answered for each in self._sums) - self._unasked
        return answered is not None and seen < answered and seen + self._failed < answered + failed

    def _dearest(self, body: bytes) -> Cost:
        """Return what to charge an answer by that nobody asked for: the dearest that the batch's models make of it."""
        made = [(place, self._priced(place, body)) for place in range(len(self._sums))]
        priced = [(total(lines), place) for place, found in made if found is not None for lines in [found[1]]]
        place = max(priced)[1] if priced else self._dear.model
        return Cost(self._dear.most_nano, self._dear.tokens, place)

    def _lines(self, cost: Cost, body: bytes) -> tuple[Line, ...] | None:
        """Price one answer and sum its usage; none where that cannot be told."""
        read = self._priced(cost.model, body)
        if read is None:
            return None
        usage, lines = read
        found = self._sums[cost.model]
        found.usage = found.usage.plus(usage)
        self._tokens += usage.input_total + usage.output_total
        return lines

    def _priced(self, place: int, body: bytes) -> tuple[Usage, tuple[Line, ...]] | None:
        """Price one answer at a model's rates; none where its usage is not told, not to be believed or unpriced."""
        model = self._batch.models[place]
        answer: Answer | None = None
        try:
            answer = WIRES[model.protocol].answer(body)
        except BadAnswer:
            log.warning("batch.answer_not_read", provider=self._batch.provider, model=model.served)
        usage = answer.usage if answer is not None and answer.final else None
        if usage is None:
            return None
        try:
            return usage, charge(usage, self._cards[place])
        except UnpricedUsage as error:
            log.error("batch.unpriced_usage", price=model.price_id, unit=error.unit)
            return None

    def bill(self, ended_us: int, used_before: Mapping[str, UsedSoFar] | None = None) -> Bill:
        """Return what all came to, given what was used before of models whose price depends on that.

        Requests without a result were not answered: they cost nothing.
        """
        attempts, used = list[Attempt](), dict(used_before or {})
        for place, model in enumerate(self._batch.models):
            before = used.get(model.served, NOTHING_USED)
            attempts += self._attempts(place, ended_us, before)
            if model.volume is not None:
                used[model.served] = used_after(self._sums[place].usage, before)
        answered = sum(each.answered for each in self._sums)
        asked = answered - self._unasked
        if not attempts:
            attempts = [self._attempt(0, ended_us, AttemptStatus.failed)]
        return Bill(
            tuple(attempts),
            self._tokens,
            answered + self._failed,
            answered,
            self._batch.request_count - asked,
            sum(each.unmetered for each in self._sums),
            CallStatus.ok if answered else CallStatus.failed,
        )

    def held_bill(self, ended_us: int) -> Bill:
        """Return the bill of a batch whose results nobody can see any more: all it may have cost."""
        tokens, held = sum(cost.tokens for cost in self._costs.values()), self._batch.held_nano
        error = "its results are out of reach: charged the most they may have cost"
        attempt = self._attempt(0, ended_us, AttemptStatus.lost)
        attempt = msgspec.structs.replace(attempt, usage_source=UsageSource.held, cost_nano=held, error=error)
        count = self._batch.request_count
        return Bill((attempt,), tokens, count, 0, 0, count, CallStatus.indeterminate)

    def _attempts(self, place: int, ended_us: int, used_before: UsedSoFar) -> list[Attempt]:
        found, made = self._sums[place], list[Attempt]()
        if found.unmetered:
            error = f"{found.unmetered} of its answers do not tell their usage: charged the most they can cost"
            attempt, cost = self._attempt(place, ended_us, AttemptStatus.malformed), found.unmetered_nano
            made.append(msgspec.structs.replace(attempt, usage_source=UsageSource.held, cost_nano=cost, error=error))
        if found.answered > found.unmetered:
            lines = found.lines(self._batch.models[place].volume, used_before)
            attempt = self._attempt(place, ended_us, AttemptStatus.ok)
            priced = {"usage": found.usage, "usage_source": UsageSource.provider}
            made.append(msgspec.structs.replace(attempt, lines=lines, cost_nano=total(lines), **priced))
        return made

    def _attempt(self, place: int, ended_us: int, status: AttemptStatus) -> Attempt:
        """Return an attempt at the batch's provider, which has cost nothing yet."""
        batch, model = self._batch, self._batch.models[place]
        times = (batch.opened_us, 0, ended_us)
        return Attempt(batch.provider, model.served, status, _OK, *times, price_id=model.price_id)
