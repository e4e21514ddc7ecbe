"""Describe a call, its attempts and the record that is left of it.

Times are Unix microseconds. No prompt or answer is ever part of these values: only counts and sizes.
"""

from enum import IntEnum
from typing import Final

import msgspec

from bursar.core.money import Money
from bursar.core.usage import Usage

NO_USAGE: Final = Usage()


class Protocol(IntEnum):
    """Name the protocol a call came in by."""

    openai_chat = 1
    anthropic_messages = 2
    openai_responses = 3
    gemini = 4
    openai_completions = 5
    openai_embeddings = 6
    openai_moderations = 7
    openai_images = 8
    openai_image_edits = 9
    openai_image_variations = 10
    openai_speech = 11
    openai_transcriptions = 12
    openai_translations = 13
    gemini_embed = 14
    gemini_embed_batch = 15
    openai_batch = 21
    anthropic_batch = 22
    gemini_batch = 23
    unmetered = 31  # passed on without a price, by a route the operator lists


class AttemptStatus(IntEnum):
    """Say how an attempt at a provider ended."""

    ok = 1  # a whole answer
    refused = 2  # the provider said 4xx; it bills nothing
    throttled = 3  # the provider said 429; it bills nothing
    failed = 4  # the provider said 5xx; it bills nothing
    unreachable = 5  # no connection, so nothing was sent
    cut = 6  # the answer began and ended early: what came is counted
    lost = 7  # sent, but no answer came: the provider may bill, so the policy decides
    malformed = 8  # an answer that cannot be read: the policy decides
    skipped = 9  # not asked: the error says why


class CallStatus(IntEnum):
    """Say how a call ended for the client."""

    ok = 1
    failed = 2  # no usable answer from any provider
    client_gone = 3  # the client hung up; the provider's bill is charged all the same
    cut = 4  # the answer ended early
    indeterminate = 5  # what the provider bills is not known; settled by policy


class UsageSource(IntEnum):
    """Say where an attempt's usage comes from."""

    none = 0  # nothing was consumed
    provider = 1  # the provider's own numbers
    counted = 2  # our own estimate from what was sent and received
    held = 3  # not known: the whole hold is charged


Meters = tuple[tuple[str, ...], ...]
"""The ways a kind of call can be metered, each by the leaves of usage a price must then have rates for."""

TEXT_METERS: Final[Meters] = (("input_tokens", "output_tokens"),)


class Traits(msgspec.Struct, frozen=True, gc=False):
    """Say what a call may do, as far as it decides which rates can apply."""

    writes_cache_5m: bool = False
    writes_cache_1h: bool = False
    media: bool = False
    searches_web: bool = False
    meters: Meters = TEXT_METERS


class Segments(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Hold the size of each part of a prompt, in UTF-8 bytes."""

    system: int = 0
    tools: int = 0
    history: int = 0
    retrieved: int = 0  # retrieved documents and tool results
    user: int = 0

    @property
    def total(self) -> int:
        """Count the bytes of the whole prompt."""
        return self.system + self.tools + self.history + self.retrieved + self.user


class Line(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Hold one priced line: `amount = quantity x rate / divisor`, rounded half-even once.

    `rate_nano` is nano-USD for `divisor` units of `unit`, so the amount can be derived again from the line alone.
    """

    unit: str
    quantity: int
    rate_nano: Money
    divisor: int
    amount_nano: Money


class Attempt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Record one attempt at one provider. A call has one, or several after a retry or fallback."""

    provider: str
    model: str
    status: AttemptStatus
    http_status: int
    started_us: int
    first_byte_us: int  # 0: none came
    ended_us: int
    usage: Usage = NO_USAGE
    usage_source: UsageSource = UsageSource.none
    price_id: str = ""
    lines: tuple[Line, ...] = ()  # only where usage and price alone do not give them: prices that depend on volume
    cost_nano: Money = 0
    reported_cost_nano: Money = -1  # what the provider says it charged; -1: it does not say
    error: str = ""
    answered_model: str = ""  # by the provider's word, where that is another name
    is_other: bool = False  # that is another model than the one charged for, not one of its snapshots
    kept: tuple[bytes, ...] = ()  # names of what the provider keeps of the answer, of this key's alone


class Route(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Say which model took the place of the one asked for, by what, and why; no text of a prompt is part of it.

    `quality_ppm` and `cost_nano` are what was expected of it, -1 where nobody could say.
    """

    policy: str  # the route's name, or the model's whose cheaper one was taken
    model: str
    how: str
    why: str
    quality_ppm: int = -1
    cost_nano: Money = -1
    chance_ppm: int = -1  # of a good answer, as the router alone expects it, before outcomes have corrected it
    promised: bool = False  # the target is kept with the confidence the router was calibrated for
    reference: str = ""  # the model a saving is told against
    unverified: bool = False  # its answer stands though it was not found good: none better could be had


class Call(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Describe a call as it came in, and what it was allowed to cost."""

    call_id: bytes
    tenant: int
    key_id: str
    protocol: Protocol
    model: str
    stream: bool
    opened_us: int
    segments: Segments
    run: str = ""
    parent: str = ""
    tags: dict[str, str] = {}
    idempotency_key: bytes = b""  # SHA-256 of the client's key, empty without one
    body_sha256: bytes = b""  # only with an idempotency key
    route: Route | None = None  # of a call whose model was chosen


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """Say in which arm a lever had a call, and of which experiment that is a part.

    `share_ppm` is how many units in a million the experiment holds out; where it is 0 there is nothing to compare.
    """

    lever: str
    arm: str
    experiment: str = ""
    share_ppm: int = 0


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Record a finished call: what the books keep.

    `counterfactual_nano` estimates what the call would have cost without levers; `arms` has the arm of each lever that
    took part. Attempts are in the order they began. Cost is their sum, never more than `held_nano + overage` allows to
    post.
    """

    call: Call
    status: CallStatus
    attempts: tuple[Attempt, ...]
    held_nano: Money
    cost_nano: Money
    overage_nano: Money
    counterfactual_nano: Money
    ended_us: int
    arms: tuple[Assignment, ...] = ()
    unit: bytes = b""  # a digest of what the arms divide: the call's run or conversation; empty without arms
    sent: Segments | None = None  # the size of the prompt that was sent, where it was compressed
    last_place: int = -1  # of the attempt the call has ended with, where that is not the latest
    notes: tuple[str, ...] = ()  # what levers have to say of what they did, or left; no text of a prompt

    @property
    def last(self) -> Attempt:
        """Return the attempt the call has ended with: its answer, or how the last try for one failed."""
        return self.attempts[self.last_place]

    @property
    def usage(self) -> Usage:
        """Sum the usage of all attempts: what the providers bill for this call."""
        first, *more = self.attempts
        usage = first.usage
        for attempt in more:
            usage = usage.plus(attempt.usage)
        return usage
