"""Decide what a call holds: of which budgets, how much, and what is tried when that does not fit."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bursar.budgets.budget import overdraft_line
from bursar.budgets.predict import TOKENS_MAX, OutputPredictor
from bursar.budgets.tree import Claim, Exhausted, Holds
from bursar.core.errors import BadRequest, NoMoney, TooMany, Unmetered
from bursar.core.money import Money
from bursar.core.records import Attempt, Record, UsageSource
from bursar.gateway.books import GatewayBooks
from bursar.gateway.config import Settings
from bursar.gateway.passage import Passage, Wish
from bursar.gateway.plan import Quote, output_max, quote_plan
from bursar.gateway.routing import Routing
from bursar.gateway.settle import estimated_input
from bursar.gateway.stats import Stats
from bursar.ledger.chart import Unit
from bursar.store.reports import Length
from bursar.tokens.estimate import tokens_from_bytes
from bursar.wires.parts import Kind
from bursar.wires.prompt import read_parts

_PERCENT: Final = 100


class HoldPolicy:
    """Hold for calls in their budgets, by the most they can use or by what such calls are expected to."""

    def __init__(self, settings: Settings, books: GatewayBooks, stats: Stats, routing: Routing) -> None:
        self._stats = stats
        self.routing = routing
        self.settings = settings
        self._books = books
        self.predictor = OutputPredictor(settings.expected_coverage_ppm)

    def try_hold(self, passage: Passage, quote: Quote) -> bool:
        """Hold the most a call can use if the leases at hand cover it; nearly every call needs no more.

        Raises `NoMoney` for a frozen budget.
        """
        claim = passage.claim
        if claim.frozen:
            raise NoMoney(f"{claim.frozen} is frozen: nothing is spent until it is thawed", code="budget_frozen")
        return claim.holds is Holds.strict and self._books.try_hold(passage, _strict(claim, quote))

    async def hold(self, passage: Passage, quote: Quote) -> None:
        """Hold what a call may use. Raises `NoMoney`, `TooMany` or `Unavailable`; then nothing is held."""
        claim, books = passage.claim, self._books
        if claim.holds is not Holds.strict:
            wish = self._expected(passage, quote)
            if books.try_hold(passage, wish):
                return
            try:
                await books.hold(passage, wish)
            except NoMoney:
                if claim.holds is Holds.soft:
                    raise
            else:
                return
        try:
            await books.hold(passage, _strict(claim, quote))
        except NoMoney as refusal:
            if claim.exhausted is Exhausted.smaller:
                await self._hold_smaller(passage, quote, refusal)
            elif claim.exhausted is Exhausted.cheaper:
                await self._hold_cheaper(passage, quote, refusal)
            else:
                raise

    async def hold_to_read(self, passage: Passage, quote: Quote) -> bool:
        """Hold for a call and one more ask behind it, with what its model may read; tell whether there is room."""
        claim, further = passage.claim, read_quote(passage)
        both = quote.cost() + further.cost()
        if claim.frozen or (passage.most_nano is not None and both > passage.most_nano):
            return False
        quote = quote.with_another(further)
        wish = _strict(claim, quote) if claim.holds is Holds.strict else self._expected(passage, quote)
        if self._books.try_hold(passage, wish):
            return True
        try:
            await self._books.hold(passage, wish)
        except (NoMoney, TooMany):
            return False
        return True

    def raised(self, passage: Passage, quote: Quote, spent: Sequence[Attempt]) -> Wish:
        """Return what a call is to hold for a quote beside what attempts have spent, in the budgets it holds in."""
        wish = passage.holding.wish
        cost, most = quote.cost(wish.output_tokens), quote.cost()
        spent_nano = sum(attempt.cost_nano for attempt in spent)
        behind = {line: budget for budget, line in wish.lines}
        expected = {budget for budget, _ in wish.lines}
        amounts: list[int] = []
        for place, (budget, held) in enumerate(zip(wish.budgets, wish.amounts, strict=True)):
            terms = budget.terms
            if place in behind:
                amounts.append(most - cost)
            elif terms.unit is Unit.usd:
                by_expectation = place in expected or terms.most_nano is None or passage.claim.holds is Holds.soft
                amounts.append(spent_nano + (cost if by_expectation else most))
            elif terms.unit is Unit.token:
                unknown = any(attempt.usage_source is UsageSource.held for attempt in spent)
                used = held if unknown else sum(each.usage.input_total + each.usage.output_total for each in spent)
                amounts.append(used + quote.input_tokens + quote.output_tokens)
            else:
                amounts.append(held)
        return msgspec.structs.replace(wish, amounts=amounts)

    def learn(self, passage: Passage, record: Record) -> None:
        """Learn how long an answer was, for the calls to come."""
        wish, source = passage.holding.wish, record.last.usage_source
        if passage.claim.holds is not Holds.strict and source in (UsageSource.provider, UsageSource.counted):
            output, tokens_in = record.usage.output_total, estimated_input(passage.facts.segments)
            self._stats.predicted += 1
            self._stats.exceeded += output > wish.output_tokens
            self.predictor.observe(_stream(passage), tokens_in, output, wish.output_tokens, wish.output_cap)

    def recall(self, lengths: Iterable[Length]) -> None:
        """Learn from the answers of an earlier life."""
        for each in lengths:
            stream, tokens_in = (each.key_id, each.model, each.protocol), tokens_from_bytes(each.prompt_bytes)
            self.predictor.observe(stream, tokens_in, each.output_tokens, TOKENS_MAX, TOKENS_MAX)

    def _expected(self, passage: Passage, quote: Quote) -> Wish:
        """Hold for as much output as such calls have, and the rest in the overdraft lines of their budgets."""
        cap = quote.output_tokens
        output = self.predictor.predict(_stream(passage), estimated_input(passage.facts.segments), cap)
        cost, most = quote.cost(output), quote.cost()
        strict = _strict(passage.claim, quote)
        if passage.claim.holds is Holds.soft or most == cost:
            amounts = _amounts(passage.claim, quote, cost)
            return Wish(strict.budgets, amounts, output, cap)
        budgets, lines = list(strict.budgets), list[tuple[int, int]]()
        amounts = list(strict.amounts)
        for place, budget in enumerate(strict.budgets):
            terms = budget.terms
            if terms.unit is Unit.usd and terms.most_nano is not None and terms.overdraft_nano:
                lines.append((place, len(budgets)))
                budgets.append(overdraft_line(budget))
                amounts.append(most - cost)
                amounts[place] = cost
            elif terms.unit is Unit.usd and terms.most_nano is None:
                amounts[place] = cost
        return Wish(budgets, amounts, output, cap, tuple(lines))

    async def _hold_smaller(self, passage: Passage, quote: Quote, refusal: NoMoney) -> None:
        """Lower the output cap so far that the call takes a share of what is left, or refuse it after all."""
        settings, facts, plan = self.settings, passage.facts, passage.plan
        at_most = refusal.headroom_nano * settings.smaller_share_percent // _PERCENT
        if not all(candidate.wire.caps for candidate in plan.candidates):
            raise refusal
        cap = quote_cap(quote, at_most) // facts.choices
        if cap < min(settings.smaller_floor, plan.output_cap) or facts.predicted_bytes:
            raise refusal
        smaller = msgspec.structs.replace(plan, output_cap=min(cap, plan.output_cap))
        passage.plan, quote.output_tokens = smaller, output_max(facts, smaller)
        await self._books.hold(passage, _strict(passage.claim, quote))

    async def _hold_cheaper(self, passage: Passage, quote: Quote, refusal: NoMoney) -> None:
        """Have a cheaper model answer that what is left suffices for, the next one first, or refuse the call after all.

        Budgets of the model that is left do not count any more, and those of the other do.
        """
        call, before = passage.call, (passage.plan, passage.rules, passage.call, passage.claim, passage.routed)
        why = f"a budget had no room for {call.route.model if call.route is not None else call.model}"
        for model in self.routing.cheaper(passage):
            try:
                self.routing.take_cheaper(passage, model, why)
                less = quote_plan(passage.facts, passage.plan, call.opened_us, passage.forwarded, passage.facts_for)
                if less.cost() < quote.cost():
                    await self._books.hold(passage, _strict(passage.claim, less))
                    return
            except (NoMoney, BadRequest, Unmetered):  # as the model before: the next may do
                pass
            passage.plan, passage.rules, passage.call, passage.claim, passage.routed = before
        raise refusal


def quote_cap(quote: Quote, at_most_nano: Money) -> int:
    """Return how much output a plan affords with so much money; 0 where its input alone costs more."""
    base, full = quote.cost(0), quote.cost()
    if at_most_nano >= full:
        return quote.output_tokens
    if at_most_nano <= base:
        return 0
    return (at_most_nano - base) * quote.output_tokens // (full - base)


def read_quote(passage: Passage) -> Quote:
    """Quote one more ask: what was sent, the answer that asks to read, and the longest result there is to read."""
    facts, parts = passage.facts, read_parts(passage.call.protocol, passage.whole)
    sizes: dict[str, int] = {}
    for part in parts:
        if part.kind is Kind.retrieved and part.call_id:
            sizes[part.call_id] = sizes.get(part.call_id, 0) + len(part.text.encode(errors="replace"))
    longer = facts.text_bytes + passage.plan.output_cap + max(sizes.values(), default=0) + _READ_BYTES
    asked = msgspec.structs.replace(facts, text_bytes=longer)
    return quote_plan(asked, passage.plan, passage.call.opened_us, passage.forwarded)


_READ_BYTES: Final = 1_000
"""What stands around a result that is read, and around the answer that asks for it."""


def _strict(claim: Claim, quote: Quote) -> Wish:
    return Wish(claim.budgets, _amounts(claim, quote, quote.cost()), quote.output_tokens, quote.output_tokens)


def _amounts(claim: Claim, quote: Quote, cost_nano: Money) -> Sequence[int]:
    if len(claim.budgets) == 1:
        return (cost_nano,)
    amounts = _BY_UNIT.copy()
    amounts[Unit.usd], amounts[Unit.token] = cost_nano, quote.input_tokens + quote.output_tokens
    return [amounts[budget.terms.unit] for budget in claim.budgets]


_BY_UNIT: Final = [0] * (max(Unit) + 1)
_BY_UNIT[Unit.request] = _BY_UNIT[Unit.call] = 1


def _stream(passage: Passage) -> tuple[str, str, int]:
    call = passage.call
    return call.key_id, call.model, call.protocol
