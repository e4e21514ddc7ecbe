"""Price what attempts consumed, and settle a call: post its cost, release the rest, write it down."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from bursar.budgets.settlement import Ended, settle_call, shares_held
from bursar.core.errors import UnpricedUsage
from bursar.core.money import Money, nano_to_usd
from bursar.core.records import (
    NO_USAGE,
    Attempt,
    AttemptStatus,
    Call,
    CallStatus,
    Line,
    Record,
    Segments,
    Traits,
    UsageSource,
)
from bursar.core.usage import Usage
from bursar.gateway.attempt import Outcome
from bursar.gateway.config import Indeterminate
from bursar.gateway.passage import Passage
from bursar.gateway.recall import Kept
from bursar.gateway.routes import Candidate
from bursar.gateway.volumes import Volumes
from bursar.ledger.journal import CardUsed, Debt, Intent
from bursar.prices.charge import charge, cost, total
from bursar.prices.price import RateCard
from bursar.store.spool import Spool
from bursar.tokens.audio import spoken_tokens
from bursar.tokens.bounds import heard_tokens
from bursar.tokens.estimate import tokens_from_bytes
from bursar.wires.sounds import HEARD, SPOKEN
from bursar.wires.wire import MODEL_CHARS_MAX, NO_MEDIA, Answer, Facts

log = structlog.get_logger()

_encode_rates: Final = msgspec.json.Encoder(order="deterministic").encode


def counted_usage(facts: Facts, answer: Answer, model: str) -> Usage:
    """Count usage ourselves where a provider reported none, or only its beginning."""
    output, spoken = tokens_from_bytes(answer.output_bytes), spoken_tokens(answer.spoken_bytes)
    if answer.usage is not None:
        told = answer.usage.other.get(SPOKEN, 0)
        more = max(0, output - (answer.usage.output_total - told))
        return answer.usage.plus(Usage(output_tokens=more, other={SPOKEN: spoken - told} if spoken > told else {}))
    counts = {"web_searches": answer.searches, HEARD: heard_tokens(model, facts.media.sounds_ms) or 0, SPOKEN: spoken}
    other = {leaf: count for leaf, count in counts.items() if count}
    return Usage(input_tokens=estimated_input(facts.segments), output_tokens=output, other=other)


def estimated_input(segments: Segments) -> int:
    """Estimate a prompt's tokens from its size; media are left out."""
    return tokens_from_bytes(segments.total)


def lost_facts(call: Call) -> Facts:
    """Return what is still known of a call whose request is gone: its model and the size of its prompt."""
    size = call.segments.total
    return Facts(call.model, call.stream, False, None, 1, call.segments, size, NO_MEDIA, Traits())  # noqa: FBT003


def saved_by_less(passage: Passage, usage: Usage, card: RateCard) -> Money:
    """Estimate what the tokens that were not sent would have cost: what those that were did, on average."""
    assert passage.sent is not None
    sent, removed = passage.sent.total, passage.call.segments.total - passage.sent.total
    if removed <= 0 or sent <= 0:
        return 0
    if passage.facts.media is not NO_MEDIA:  # whose tokens are among those that were sent
        return cost(Usage(input_tokens=tokens_from_bytes(removed)), card)
    bare = msgspec.structs.replace(usage, output_tokens=0, reasoning_tokens=0, other={}, unknown={})
    return cost(bare, card) * removed // sent


class _Priced(msgspec.Struct, frozen=True, gc=False):
    """Hold what usage comes to."""

    cost_nano: Money
    source: UsageSource
    lines: tuple[Line, ...] = ()
    error: str = ""


def _in_order(attempts: Sequence[Attempt]) -> tuple[tuple[Attempt, ...], int]:
    """Return attempts in the order they began, and the place of the one that came last to hand: the call's end."""
    if len(attempts) == 1:
        return (attempts[0],), -1
    ordered, last = tuple(sorted(attempts, key=lambda each: each.started_us)), attempts[-1]
    place = next(place for place, each in enumerate(ordered) if each is last)
    return ordered, place if place + 1 < len(ordered) else -1


def _charged(attempt: Attempt, usage: Usage, card: RateCard, priced: _Priced) -> Attempt:
    return msgspec.structs.replace(
        attempt,
        usage=usage,
        usage_source=priced.source,
        price_id=card.price_id,
        lines=priced.lines,
        cost_nano=priced.cost_nano,
        error=priced.error or attempt.error,
    )


class Settler:
    """Settle calls: the one place where money is posted."""

    def __init__(self, spool: Spool, indeterminate: Indeterminate, clock_us: Callable[[], int]) -> None:
        self._spool = spool
        self._indeterminate = indeterminate
        self._clock_us = clock_us
        self._cards_known: set[str] = set()
        self.volumes = Volumes()
        self.kept = Kept()

    def price_answer(self, passage: Passage, candidate: Candidate, outcome: Outcome, answer: Answer) -> Attempt:
        """Price an attempt that was answered, whole or in part."""
        facts, usage, source = passage.facts_for(candidate), answer.usage, UsageSource.provider
        # How much speech is in a whole answer's sound, which may be packed, nothing tells; a stream's is not.
        spoken_whole = answer.spoken_bytes > 0 and not facts.stream
        if usage is None and (spoken_whole or not candidate.wire.estimates):
            return self._price_untold(passage, candidate, outcome, answer)
        if usage is None or not answer.whole or not answer.final:
            usage, source = counted_usage(facts, answer, candidate.model), UsageSource.counted
        card = candidate.card(passage.call.opened_us, answer.service_tier or facts.service_tier, facts.speed)
        if not card.rates and answer.usage is None:  # nothing of it is billed, so nothing is reported
            usage, source = NO_USAGE, UsageSource.none
        untold = facts.hides_searches or (facts.traits.searches_web and not answer.whole)  # how often it searched
        if untold and "web_searches" not in usage.other and "web_searches" in card.rates:
            usage = msgspec.structs.replace(usage, other=usage.other | {"web_searches": 1})
        priced = self._price(passage, candidate, card, usage, source)
        if passage.sent is not None:
            # A further ask, for what was left out, would not have been without compression.
            passage.saved_nano += saved_by_less(passage, usage, card) if not passage.reads else -priced.cost_nano
        return Attempt(
            candidate.upstream.name,
            candidate.model,
            AttemptStatus.ok if answer.whole else AttemptStatus.cut,
            outcome.response.status if outcome.response is not None else 0,
            outcome.started_us,
            outcome.answered_us,
            self._clock_us() if facts.stream else outcome.answered_us,
            usage,
            priced.source,
            card.price_id,
            priced.lines,
            priced.cost_nano,
            answer.reported_cost_nano,
            priced.error or answer.note,
            "" if answer.model == candidate.model else answer.model[:MODEL_CHARS_MAX],
            answer.model != candidate.model and candidate.is_other(answer.model),
            self.kept.note(passage.call.key_id, answer.kept) if answer.kept else (),
        )

    def _price_untold(self, passage: Passage, candidate: Candidate, outcome: Outcome, answer: Answer) -> Attempt:
        """Price what came without a word of usage: by what the request itself says of it, else as what is unknown."""
        facts, attempt = passage.facts_for(candidate), outcome.attempt(candidate)
        if not answer.whole:
            attempt = msgspec.structs.replace(attempt, status=AttemptStatus.cut)
        card = candidate.card(passage.call.opened_us)
        known = {leaf: count for leaf, count in facts.counts if leaf in card.rates}
        if not known:
            note = answer.note or "the provider did not say what was used"
            return self.price_unknown(passage, candidate, msgspec.structs.replace(attempt, error=note))
        usage = Usage(other=known)
        priced = self._price(passage, candidate, card, usage, UsageSource.counted)
        return _charged(msgspec.structs.replace(attempt, error=answer.note), usage, card, priced)

    def price_unknown(self, passage: Passage, candidate: Candidate, attempt: Attempt) -> Attempt:
        """Price an attempt whose bill is not known, by policy: its whole hold, or what was sent where that tells it.

        Of images, documents, recordings and what a provider finds or keeps the size of the text tells nothing.
        """
        facts = passage.facts_for(candidate)
        card = candidate.card(passage.call.opened_us, facts.service_tier, facts.speed)
        tells = candidate.wire.estimates and facts.media == NO_MEDIA and SPOKEN not in facts.traits.meters[0]
        if self._indeterminate == "estimate" and tells:
            usage = Usage(input_tokens=estimated_input(facts.segments))
            priced = self._price(passage, candidate, card, usage, UsageSource.counted)
        else:
            if card.price_id not in self._cards_known:
                self._keep_card(card)
            rest = passage.held_nano - sum(earlier.cost_nano for earlier in passage.attempts)
            usage, priced = NO_USAGE, _Priced(max(0, rest), UsageSource.held)
        return _charged(attempt, usage, card, priced)

    def _price(
        self, passage: Passage, candidate: Candidate, card: RateCard, usage: Usage, source: UsageSource
    ) -> "_Priced":
        """Price usage line by line; what turns out to have no rate is charged the whole hold, never nothing."""
        if card.price_id not in self._cards_known:
            self._keep_card(card)
        try:
            if card.volume is None:
                return _Priced(cost(usage, card), source)
            lines = charge(usage, card, self.volumes.use(candidate, usage, passage.call.opened_us))
        except UnpricedUsage as error:
            log.error("settle.unpriced_usage", price=card.price_id, unit=error.unit, call=passage.call.call_id.hex())
            return _Priced(passage.held_nano, UsageSource.held, (), str(error))
        return _Priced(total(lines), source, lines)

    def begin(
        self,
        passage: Passage,
        candidate: Candidate,
        owed_account: int = 0,
        earlier: tuple[Attempt, ...] = (),
        owed: tuple[Debt, ...] = (),
    ) -> None:
        """Write down that a call is about to be sent, or sent on after `earlier` attempts. Raises `SpoolFull`."""
        call, slices = passage.call, passage.holding.slices
        grant = slices[0].grant
        self._spool.append(
            Intent(
                call,
                candidate.upstream.name,
                grant.lease_account,
                grant.budget_account,
                passage.payable_account,
                passage.held_nano,
                passage.expires_us,
                shares_held(passage.holding) if len(slices) > 1 else (),
                owed_account,
                earlier,
                owed,
                candidate.model if call.route is not None else "",  # else the provider tells
            )
        )

    def settle(self, passage: Passage, payables: Mapping[tuple[int, str], int]) -> Record:
        """Post a call's cost and write its record down. From here on the call is in the books."""
        call, status = passage.call, passage.status
        if status is CallStatus.ok and passage.client is not None and passage.client.gone:
            status = CallStatus.client_gone
        (attempts, place), payable = _in_order(passage.attempts), passage.payable_account
        arms = {**passage.plan.arms, **passage.arms} if passage.plan.arms or passage.arms else {}
        levers = tuple(arms.values()), passage.saved_nano, passage.unit, passage.sent, place, passage.notes
        ended = Ended(call, status, attempts, passage.held_nano, payable, *levers)
        settled = settle_call(passage.holding, ended, payables)
        record = settled.record
        if record.overage_nano:
            log.warning("settle.overage", overage_usd=nano_to_usd(record.overage_nano), call=call.call_id.hex())
        self._spool.append(settled)
        return record

    def _keep_card(self, card: RateCard) -> None:
        """Write down the rates of a price the first time a call is charged by it."""
        rates, source = _encode_rates(card.rates), card.source
        self._spool.append(CardUsed(card.price_id, rates, source.url, source.checked, self._clock_us()))
        self._cards_known.add(card.price_id)
