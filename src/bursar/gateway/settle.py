"""Price what attempts consumed, and settle a call: post its cost, release the rest, write it down."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from bursar.core.errors import UnpricedUsage
from bursar.core.money import Money
from bursar.core.records import NO_USAGE, Attempt, Call, CallStatus, Line, Record, Segments, UsageSource
from bursar.core.times import day_text
from bursar.core.usage import Usage
from bursar.gateway.config import Indeterminate
from bursar.gateway.purse import Purses, Spot
from bursar.gateway.routes import Candidate
from bursar.ledger.journal import CardUsed, Debt, Intent, Settled
from bursar.prices.charge import UsedSoFar, charge, total, used_after
from bursar.prices.price import RateCard
from bursar.store.spool import Spool
from bursar.tokens.estimate import tokens_from_bytes
from bursar.wires.wire import NO_MEDIA, Answer, Facts

log = structlog.get_logger()

_encode_rates: Final = msgspec.json.Encoder(order="deterministic").encode


class Passage:
    """Carry one call through the house: what it is, what it may cost, where its money is held."""

    __slots__ = (
        "arms",
        "attempts",
        "call",
        "expires_us",
        "facts",
        "forwarded",
        "held_nano",
        "payable_account",
        "quote_nano",
        "record",
        "segment",
        "spot",
        "status",
    )

    def __init__(self, call: Call, facts: Facts, forwarded: bytes) -> None:
        self.call = call
        self.facts = facts
        self.forwarded = forwarded
        self.arms: dict[str, str] = {}
        self.quote_nano: Money = 0
        self.held_nano: Money = 0
        self.expires_us = 0
        self.spot: Spot | None = None
        self.payable_account = 0
        self.segment = 0  # of the spool, where its beginning is written
        self.record: Record | None = None  # once it is settled
        self.attempts: list[Attempt] = []
        self.status = CallStatus.ok


class Volumes:
    """Count what has been used of prices that depend on it, by price and period."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, str], UsedSoFar] = {}

    def start(self, candidate: Candidate, period: str, used: UsedSoFar) -> None:
        """Take in what was used before this gateway started."""
        self._used[candidate.price.provider, candidate.price.model, period] = used

    def used(self, candidate: Candidate, at_us: int) -> UsedSoFar:
        """Return what has been used of a price in the current period."""
        volume = candidate.price.volume
        if volume is None:
            return {}
        return self._used.get(self._key(candidate, volume.period, at_us), {})

    def add(self, candidate: Candidate, usage: Usage, at_us: int) -> None:
        """Count a call in."""
        volume = candidate.price.volume
        if volume is not None:
            key = self._key(candidate, volume.period, at_us)
            self._used[key] = used_after(usage, self._used.get(key, {}))

    @staticmethod
    def _key(candidate: Candidate, period: str, at_us: int) -> tuple[str, str, str]:
        return candidate.price.provider, candidate.price.model, period_name(period, at_us)


def period_name(period: str, at_us: int) -> str:
    """Name the period a moment lies in: its day, its month, or the whole time."""
    return {"day": day_text(at_us), "month": day_text(at_us)[:7]}.get(period, "total")


def counted_usage(facts: Facts, answer: Answer) -> Usage:
    """Count usage ourselves where a provider reported none, or only its beginning."""
    output = tokens_from_bytes(answer.output_bytes)
    if answer.usage is not None:
        more = max(0, output - answer.usage.output_total)
        return answer.usage.plus(Usage(output_tokens=more))
    return Usage(input_tokens=estimated_input(facts.segments), output_tokens=output)


def estimated_input(segments: Segments) -> int:
    """Estimate a prompt's tokens from its size; media are left out."""
    return tokens_from_bytes(segments.total)


def lost_facts(call: Call) -> Facts:
    """Return what is still known of a call whose request is gone: its model and the size of its prompt."""
    size = call.segments.total
    return Facts(call.model, call.stream, False, None, 1, call.segments, size, NO_MEDIA)


class Settler:
    """Settle calls: the one place where money is posted."""

    def __init__(self, purses: Purses, spool: Spool, indeterminate: Indeterminate, clock_us: Callable[[], int]) -> None:
        self._purses = purses
        self._spool = spool
        self._indeterminate = indeterminate
        self._clock_us = clock_us
        self._cards_known: set[str] = set()
        self.volumes = Volumes()

    def price_answer(self, passage: Passage, candidate: Candidate, answer: Answer, base: Attempt) -> Attempt:
        """Price an attempt that was answered, whole or in part."""
        facts = passage.facts
        if answer.usage is not None and answer.whole:
            usage, source = answer.usage, UsageSource.provider
        else:
            usage, source = counted_usage(facts, answer), UsageSource.counted
        card = candidate.card(passage.call.opened_us, answer.service_tier or facts.service_tier, facts.speed)
        if facts.searches_web and "web_searches" not in usage.other and "web_searches" in card.rates:
            usage = msgspec.structs.replace(usage, other=usage.other | {"web_searches": 1})
        answer = msgspec.structs.replace(answer, usage=usage)
        return self._charged(passage, candidate, card, answer, msgspec.structs.replace(base, usage_source=source))

    def price_unknown(self, passage: Passage, candidate: Candidate, base: Attempt) -> Attempt:
        """Price an attempt whose bill is not known, by policy: its whole hold, or what was sent."""
        card = candidate.card(passage.call.opened_us, passage.facts.service_tier, passage.facts.speed)
        if self._indeterminate == "estimate":
            usage = Usage(input_tokens=estimated_input(passage.facts.segments))
            base = msgspec.structs.replace(base, usage_source=UsageSource.counted)
            return self._charged(passage, candidate, card, Answer(usage, "", "", 0), base)
        self._keep_card(card)
        held = passage.held_nano - sum(attempt.cost_nano for attempt in passage.attempts)
        return msgspec.structs.replace(
            base, usage_source=UsageSource.held, price_id=card.price_id, cost_nano=max(0, held)
        )

    def _charged(
        self, passage: Passage, candidate: Candidate, card: RateCard, answer: Answer, base: Attempt
    ) -> Attempt:
        """Charge an attempt for the usage in `answer`, which is there by now."""
        usage, source = answer.usage or NO_USAGE, base.usage_source
        error, lines = base.error or answer.note, tuple[Line, ...]()
        at_us = passage.call.opened_us
        self._keep_card(card)
        try:
            lines = charge(usage, card, self.volumes.used(candidate, at_us))
            cost = total(lines)
        except UnpricedUsage as unpriced:
            log.error("settle.unpriced_usage", price=card.price_id, unit=unpriced.unit, call=passage.call.call_id.hex())
            cost, source, error = passage.held_nano, UsageSource.held, str(unpriced)
        self.volumes.add(candidate, usage, at_us)
        return msgspec.structs.replace(
            base,
            usage=usage,
            usage_source=source,
            price_id=card.price_id,
            lines=lines,
            cost_nano=cost,
            reported_cost_nano=answer.reported_cost_nano,
            error=error,
        )

    def begin(self, passage: Passage, candidate: Candidate) -> None:
        """Write down that a call is about to be sent. Raises `SpoolFull`."""
        call, spot = passage.call, passage.spot
        assert spot is not None
        grant = spot.grant
        self._spool.append(
            Intent(
                call,
                candidate.upstream.name,
                grant.lease_account,
                grant.budget_account,
                passage.payable_account,
                passage.held_nano,
                passage.expires_us,
            )
        )

    def settle(self, passage: Passage, payable_of: Callable[[str], int]) -> Record:
        """Post a call's cost and write its record down. From here on the call is in the books."""
        call, spot, attempts = passage.call, passage.spot, passage.attempts
        assert spot is not None
        cost = sum(attempt.cost_nano for attempt in attempts)
        settlement = self._purses.settle(spot, call.call_id, cost)
        record = Record(
            call=call,
            status=passage.status,
            attempts=tuple(attempts),
            held_nano=passage.held_nano,
            cost_nano=cost,
            overage_nano=settlement.overage_nano,
            counterfactual_nano=cost,
            ended_us=self._clock_us(),
            arms=passage.arms,
        )
        grant = spot.grant
        self._spool.append(
            Settled(
                record,
                grant.lease_account,
                grant.budget_account,
                grant.overage_account,
                passage.payable_account,
                debts_of(attempts, settlement.from_lease_nano, payable_of),
            )
        )
        return record

    def _keep_card(self, card: RateCard) -> None:
        if card.price_id not in self._cards_known:
            rates = _encode_rates(card.rates)
            source = card.source
            self._spool.append(CardUsed(card.price_id, rates, source.url, source.checked, self._clock_us()))
            self._cards_known.add(card.price_id)


def debts_of(attempts: Sequence[Attempt], from_lease_nano: Money, payable_of: Callable[[str], int]) -> tuple[Debt, ...]:
    """Divide what the lease pays among the providers that are owed, in the order of their attempts."""
    if len(attempts) == 1:
        return (Debt(payable_of(attempts[0].provider), from_lease_nano),) if from_lease_nano else ()
    owed: dict[int, Money] = {}
    rest = from_lease_nano
    for attempt in attempts:
        amount = min(attempt.cost_nano, rest)
        if amount:
            payable = payable_of(attempt.provider)
            owed[payable] = owed.get(payable, 0) + amount
            rest -= amount
    return tuple(Debt(payable, amount) for payable, amount in owed.items())
