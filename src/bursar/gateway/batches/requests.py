"""Check what a batch asks for, request by request: allowed, priced at batch rates, bounded, and sent to one provider.

What each request may cost is kept packed beside the batch, 22 bytes a request under a digest of its name: a result
whose usage cannot be believed is charged by it, and no name or prompt needs to be kept for that.
"""

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

from bursar.core.errors import BadRequest, Refusal, Unmetered
from bursar.core.money import Money
from bursar.core.records import Protocol
from bursar.gateway.identify import check_scope
from bursar.gateway.plan import Plan, ceiling_for, output_max
from bursar.gateway.routes import Candidate, Routes, Upstream
from bursar.prices.price import RateCard
from bursar.store.batches import BatchModel, Card
from bursar.store.keys import Key
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.batch import REQUESTS_MAX, Asked, first_duplicate
from bursar.wires.protocols import TEXT_WIRES
from bursar.wires.wire import Facts, check_model, edit_body

PROCESSING: Final = {"processing": "batch"}
"""What price variants of batches go by; a model without one is charged its standard rates."""

TURN: Final = 64
"""Requests looked at before calls that came meanwhile are let through."""

T = TypeVar("T")

_PACKED: Final = struct.Struct("<8sqIH")
_TOKENS_MAX: Final = 2**32 - 1
_MODELS_MAX: Final = 100
_STANDARD_TIERS: Final = ("", "auto", "default", "standard", "standard_only")
_CAPPED: Final = (*TEXT_WIRES, Protocol.openai_completions)
_encode_rates: Final = msgspec.json.Encoder(order="deterministic").encode


class Cost(msgspec.Struct, frozen=True):
    """Say the most one request of a batch can cost, of how many tokens it is, and of which of the batch's models."""

    most_nano: Money
    tokens: int
    model: int


class Checked(msgspec.Struct, frozen=True):
    """Hold a batch's requests, checked: where they go, what they may cost, and their bodies as they are sent.

    The cards are the rates that are set; prices that move by load move when the batch is made.
    """

    upstream: Upstream
    models: tuple[BatchModel, ...]
    cards: tuple[RateCard, ...]
    costs: bytes
    bodies: Sequence[bytes]

    def priced(self, at_us: int) -> tuple[tuple[BatchModel, ...], list[Card]]:
        """Return the models with the prices of a moment, and these prices as the books keep them."""
        load = self.upstream.load
        cards = self.cards if load is None else [load.card(card, at_us) for card in self.cards]
        models = [
            msgspec.structs.replace(model, price_id=card.price_id)
            for model, card in zip(self.models, cards, strict=True)
        ]
        kept = [
            Card(each.price_id, _encode_rates(each.rates).decode(), each.source.url, each.source.checked)
            for each in cards
        ]
        return tuple(models), kept

    @property
    def count(self) -> int:
        """Count the requests."""
        return len(self.costs) // _PACKED.size


def digest_of(custom_id: str) -> bytes:
    """Name a request without its name."""
    return blake2b(custom_id.encode(errors="surrogatepass"), digest_size=8).digest()


def unpack(costs: bytes) -> Iterator[tuple[bytes, Cost]]:
    """Return each request's digest and what it may cost."""
    for digest, most, tokens, model in _PACKED.iter_unpack(costs):
        yield digest, Cost(most, tokens, model)


def ceiling_of(costs: bytes) -> Cost:
    """Sum the most that a batch's requests can cost, and their tokens."""
    each = [cost for _, cost in unpack(costs)]
    return Cost(sum(cost.most_nano for cost in each), sum(cost.tokens for cost in each), 0)


def batch_card(candidate: Candidate, now_us: int) -> RateCard:
    """Return the rates that are set of a batch's requests."""
    return candidate.price.at(now_us, PROCESSING)


def _dearest(candidate: Candidate, card: RateCard) -> RateCard:
    """Return the rates a batch's requests can be charged by at most, whatever the load is when it is made."""
    return card if candidate.upstream.load is None else candidate.upstream.load.dearest(card)


class Checker:
    """Check requests of one key at one moment."""

    def __init__(self, routes: Routes, key: Key, output_cap: int, now_us: int) -> None:
        self._routes = routes
        self._key = key
        self._output_cap = key.output_cap or output_cap
        self._now_us = now_us
        self._found: dict[tuple[str, Protocol], tuple[Candidate, ...]] = {}

    async def check(self, asked: Sequence[Asked], place_of: Callable[[int], str]) -> Checked:
        """Check a batch's requests; `place_of` words where one stands, from 0, for whom it is refused.

        Raises what is wrong with the first that cannot be, `BadRequest` or `Unmetered` for all together.
        """
        if not asked:
            raise BadRequest("the batch has no requests")
        if len(asked) > REQUESTS_MAX:
            raise BadRequest(f"expected at most {REQUESTS_MAX} requests in a batch: divide it")
        if (twice := first_duplicate(each.custom_id for each in asked)) is not None:
            raise BadRequest(f"{place_of(twice)}: its custom_id is another's too", param="custom_id")
        facts = await self._each(asked, self._read, place_of)
        upstream = self._upstream(asked, facts)
        prices = {name: self._at(found, upstream) for name, found in self._found.items()}
        names, cards = list(prices), {name: batch_card(each, self._now_us) for name, each in prices.items()}
        if len(names) > _MODELS_MAX:
            raise BadRequest(f"expected at most {_MODELS_MAX} models in a batch: divide it", param="model")
        dearest = {name: _dearest(prices[name], card) for name, card in cards.items()}
        costs, bodies = bytearray(), list[bytes]()

        def price(number: int, each: Asked) -> None:
            name = (facts[number].model, each.wire.protocol)
            candidate, read = prices[name], facts[number]
            cost = self._cost(candidate, dearest[name], read, names.index(name))
            costs.extend(_PACKED.pack(digest_of(each.custom_id), cost.most_nano, cost.tokens, cost.model))
            bodies.append(self._body(candidate, each, read))

        await self._each(asked, price, place_of)
        models = tuple(
            BatchModel(name, prices[name, protocol].model, protocol, card.price_id, card.volume)
            for (name, protocol), card in cards.items()
        )
        return Checked(upstream, models, tuple(cards.values()), bytes(costs), bodies)

    @staticmethod
    async def _each(asked: Sequence[Asked], work: Callable[[int, Asked], T], place_of: Callable[[int], str]) -> list[T]:
        """Do some work for each request; where one is refused, say which."""
        done: list[T] = []
        for number, each in enumerate(asked):
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
            try:
                done.append(work(number, each))
            except Refusal as refusal:
                refusal.message = f"{place_of(number)}: {refusal.message}"
                raise
        return done

    def _read(self, _number: int, asked: Asked) -> Facts:
        """Read a request and find who may answer it."""
        facts, protocol = asked.wire.facts(asked.body, asked.target), asked.wire.protocol
        check_model(facts.model)
        check_scope(self._key, facts.model, asked.wire.route, self._now_us)
        if facts.stream:
            raise BadRequest("a request of a batch is answered in one piece: leave `stream` out", param="stream")
        if facts.recalls:
            raise Unmetered(
                "a request of a batch cannot go on from what the provider has kept: send its items",
                code="unmetered",
                param=facts.recalls[0][0],
            )
        if facts.files:
            raise BadRequest(
                "a request of a batch cannot name a kept file: send inline what it holds", param=facts.files[0].param
            )
        if facts.service_tier not in _STANDARD_TIERS or facts.speed not in ("", "standard"):
            raise Unmetered("a batch has a price of its own: leave the tier out", param="service_tier")
        if facts.hides_searches:
            raise Unmetered("its searches would not be told: make it a call of its own", code="unmetered")
        if facts.model in self._routes.policies:
            raise BadRequest(f"{facts.model!r} is a route: a request of a batch names a model", param="model")
        name = (facts.model, protocol)
        if name not in self._found:
            self._found[name] = self._routes.find(*name)
        return facts

    def _upstream(self, asked: Sequence[Asked], facts: Sequence[Facts]) -> Upstream:
        """Choose the first provider that answers all of a batch's models in their own protocol."""
        common: dict[str, Upstream] | None = None
        for (_, protocol), found in self._found.items():
            able = {each.upstream.name: each.upstream for each in found if each.wire.protocol is protocol}
            common = able if common is None else {name: each for name, each in common.items() if name in able}
        if common:
            return next(iter(common.values()))
        names = ", ".join(dict.fromkeys(each.model for each in facts))[:200]
        wire = asked[0].wire.protocol.name
        raise BadRequest(
            f"no one provider here answers {names} by {wire}: batches are not translated, so divide it or name"
            " models of one provider of this protocol",
            param="model",
        )

    @staticmethod
    def _at(found: Sequence[Candidate], upstream: Upstream) -> Candidate:
        return next(each for each in found if each.upstream is upstream)

    def _cost(self, candidate: Candidate, card: RateCard, facts: Facts, model: int) -> Cost:
        bound = input_tokens_max(facts, candidate.model, candidate.price.context_window)
        if bound is None:
            raise Unmetered(
                f"nothing bounds the tokens of what this request brings besides text for {candidate.model}, whose"
                " context window is not known: send it as text instead",
                code="unmetered",
            )
        output = output_max(facts, Plan((candidate,), facts.output_cap or self._output_cap))
        most = ceiling_for(candidate, card, facts).cost(bound, output)
        return Cost(most, min(bound + output, _TOKENS_MAX), model)

    def _body(self, candidate: Candidate, asked: Asked, facts: Facts) -> bytes:
        """Return the body to send, written anew as it was read, with the model's name and the cap it is held for."""
        wire = asked.wire
        cap = facts.output_cap or self._output_cap
        if wire.protocol not in _CAPPED:
            return wire.upstream_body(asked.body, facts, candidate.model, cap, candidate.upstream.cap_field)
        body = edit_body(asked.body, {})  # some wires leave as it came what needs no change
        return wire.upstream_body(body, facts, candidate.model, cap, candidate.upstream.cap_field)
