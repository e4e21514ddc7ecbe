"""Shape, sign and schedule what is told to a webhook. No I/O: the moment, the secret and the jitter are given."""

import hashlib
import hmac
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import msgspec

from bursar.core.times import SECOND_US, from_datetime

SIGNATURE_HEADER: Final = "bursar-signature"
DELIVERY_HEADER: Final = "bursar-delivery"

_AGAIN: Final = frozenset((408, 429))


class Event(msgspec.Struct, frozen=True):
    """Be what a webhook is sent, as JSON. Amounts are strings; `id` is the same in every attempt."""

    id: str
    type: str
    tenant: int
    budget: str
    kind: str
    unit: str
    limit: str
    spent: str
    percent: int
    window: str
    runs_out_at: str | None
    text: str
    at: str


class Schedule(msgspec.Struct, frozen=True):
    """Say how long to wait between attempts, doubling from the first, and when to give up. Seconds."""

    first_s: float = 5.0
    longest_s: float = 3_600.0
    give_up_s: float = 86_400.0


class Outcome(StrEnum):
    """Say what an answer means for a delivery."""

    delivered = "delivered"
    again = "again"
    refused = "refused"


def sign(secret: bytes, body: bytes, at_s: int) -> str:
    """Return the signature header: the moment, and the HMAC-SHA256 of the moment, a dot and the body."""
    digest = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def judge(status: int | None) -> Outcome:
    """Say what a status means; None is no answer at all. A redirection is refused: it is never followed."""
    if status is not None and 200 <= status < 300:
        return Outcome.delivered
    if status is None or status in _AGAIN or 500 <= status < 600:
        return Outcome.again
    return Outcome.refused


def retry_after_s(header: str, now_us: int) -> float:
    """Read a Retry-After header, seconds or a date; 0 where it says nothing that can be read."""
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, (from_datetime(parsedate_to_datetime(text)) - now_us) / SECOND_US)
    except (ValueError, TypeError):  # no date, or one without a zone
        return 0.0


def next_attempt_us(
    schedule: Schedule, attempts: int, jitter: float, retry_s: float, now_us: int, made_us: int
) -> int | None:
    """Return when to try again after so many attempts; None when that would be too late. `jitter` is from 0 to 1."""
    wait_s = min(schedule.longest_s, schedule.first_s * 2.0 ** min(attempts - 1, 64))
    at_us = now_us + round(max(wait_s * (0.5 + 0.5 * jitter), retry_s) * SECOND_US)
    return at_us if at_us - made_us <= schedule.give_up_s * SECOND_US else None
