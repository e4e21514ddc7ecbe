"""Carry what is known of one call from its arrival to its settlement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.budgets.settlement import Holding, Wish
from bursar.budgets.tree import Claim
from bursar.core.money import Money
from bursar.core.records import Assignment, Attempt, Call, CallStatus, Protocol, Record, Segments
from bursar.gateway.asgi import Client, Out
from bursar.gateway.plan import Plan
from bursar.gateway.routed import Routed
from bursar.gateway.routes import Candidate
from bursar.gateway.rules import USUAL
from bursar.savings.compress.setting import OFF
from bursar.store.keys import Key
from bursar.wires.wire import Facts, Wire

if TYPE_CHECKING:
    from bursar.gateway.routing import Routing


class Translated(NamedTuple):
    """Hold a call as it is sent to a model of another protocol, before the cap is set."""

    body: bytes
    facts: Facts


class Passage:
    """Hold one call's way through the house: what it is, what it may cost, where it is held, how it went."""

    __slots__ = (
        "arms",
        "as_array",
        "asked",
        "attempts",
        "body",
        "call",
        "claim",
        "client",
        "deadline_us",
        "expires_us",
        "facts",
        "forwarded",
        "held_nano",
        "holding",
        "hurried",
        "kept_at",
        "key",
        "most_nano",
        "notes",
        "out",
        "payable_account",
        "plan",
        "reads",
        "record",
        "routed",
        "routing",
        "rules",
        "saved_nano",
        "segment",
        "sent",
        "setting",
        "status",
        "traceparent",
        "translated",
        "turn",
        "unit",
        "whole",
        "wire",
    )

    def __init__(self, wire: Wire, call: Call, facts: Facts, body: bytes, forwarded: bytes) -> None:
        self.wire = wire
        self.call = call
        self.facts = facts
        self.body = body
        self.forwarded = forwarded  # header lines for the provider
        self.key: Key | None = None  # of a call that a gateway's last life left, there is none
        self.as_array = False  # a stream is to be one JSON array
        self.client: Client | None = None  # of a call that a gateway's last life left, there is none
        self.out: Out | None = None  # where a stream goes: its client, or who keeps it on the way
        self.plan = NO_PLAN
        self.rules = USUAL  # of the model the client asked for
        self.routed: Routed | None = None  # where its model was chosen
        self.routing: Routing | None = None  # by which it is chosen
        self.claim = NO_CLAIM
        self.held_nano: Money = 0
        self.expires_us = 0
        self.deadline_us = 0
        self.kept_at = ""  # the provider that keeps the files it names
        self.hurried = False  # the client gives it less time than its model has
        self.most_nano: Money | None = None  # what the client lets it cost
        self.arms: dict[str, Assignment] = {}  # of the levers that take part
        self.unit = b""  # what the arms divide: a digest of its run or conversation
        self.sent: Segments | None = None  # the size of the prompt, where it was compressed
        self.notes: tuple[str, ...] = ()  # what levers have to say of it
        self.whole = b""  # the body as it came, where the model may read what was left out of it
        self.setting = OFF  # how far it was compressed
        self.reads = 0  # how often it was asked again, having read
        self.saved_nano: Money = 0  # by levers, estimated: what the call would have cost more without them
        self.asked: Candidate | None = None  # now, where it is not the plan's first
        self.holding = NO_HOLDING
        self.payable_account = 0
        self.translated: dict[tuple[Protocol, str], Translated] = {}  # by the protocol and the provider's model
        self.traceparent = b""  # which trace the client's call belongs to, if it says so
        self.turn = b""  # of an agent run that is watched
        self.segment = 0  # of the spool, where its beginning is written
        self.attempts: list[Attempt] = []
        self.status = CallStatus.ok
        self.record: Record | None = None  # once it is settled

    @property
    def is_deserted(self) -> bool:
        """Tell whether nobody waits for the answer: who has sent an Idempotency-Key may come back for it."""
        return self.client is not None and self.client.gone and not self.call.idempotency_key

    @property
    def asks_first(self) -> bool:
        """Tell whether its route wants to know something before it chooses."""
        return self.routed is not None and self.routed.flow is not None

    def find_claim(self) -> None:
        """Find the budgets the call counts against: those of the model chosen for it, and of the route it names."""
        call, route, model, chosen = self.call, self.call.route, self.call.model, ""
        if route is not None and self.routed is not None:
            model, chosen = (model, route.model) if self.routed.prepared is not None else (route.model, "")
        assert self.key is not None
        self.claim = self.key.path.find(call.run, model, call.tags, chosen)

    def is_foreign_to(self, candidates: Sequence[Candidate]) -> bool:
        """Tell whether some candidate speaks another protocol than the client."""
        if len(candidates) == 1:
            return candidates[0].wire is not self.wire
        return any(candidate.wire is not self.wire for candidate in candidates)

    def facts_for(self, candidate: Candidate) -> Facts:
        """Return the facts of what is sent to a candidate."""
        if not self.translated:
            return self.facts
        sent = self.translated.get((candidate.wire.protocol, candidate.model))
        return self.facts if sent is None else sent.facts

    def headers_for(self, wire: Wire) -> bytes:
        """Return the header lines that go on to providers of a protocol."""
        return self.forwarded if wire is self.wire else _DEFAULT_HEADERS.get(wire.protocol, b"")

    def body_for(self, candidate: Candidate) -> bytes:
        """Return the body for a candidate, before model and cap are set."""
        if candidate.wire is self.wire:
            return self.body
        return self.translated[candidate.wire.protocol, candidate.model].body


# What a provider demands of a call that its client has not made in the provider's protocol.
_DEFAULT_HEADERS: Final = {Protocol.anthropic_messages: b"anthropic-version: 2023-06-01\r\n"}

NO_PLAN: Final = Plan((), 0)
NO_CLAIM: Final = Claim(())
NO_HOLDING: Final = Holding(Wish((), (), 0, 0), ())
