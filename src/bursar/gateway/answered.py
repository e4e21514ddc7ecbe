"""Say in the headers of an answer what there is to say of its call."""

from typing import Final

from bursar.core.ids import call_name
from bursar.core.money import nano_to_usd
from bursar.core.records import Call, Record, Segments
from bursar.gateway.compressing import removed_tokens
from bursar.gateway.connection import Response
from bursar.gateway.headers import returned_headers
from bursar.gateway.heads import Headers
from bursar.gateway.routed import header_of
from bursar.gateway.routes import Candidate

_NO_CACHE: Final = (b"x-bursar-cache", b"miss")
_NOTHING_SAVED: Final = (b"x-bursar-saved-usd", b"0.00")


def headers_of(record: Record, candidate: Candidate, response: Response) -> Headers:
    """Return the headers of an answer in one piece."""
    headers = returned_headers(response.headers) + own_headers(record.call, candidate, record.sent)
    headers.append((b"x-bursar-cost-usd", nano_to_usd(record.cost_nano).encode()))
    saved = record.counterfactual_nano - record.cost_nano
    headers.append((b"x-bursar-saved-usd", nano_to_usd(saved).encode()) if saved else _NOTHING_SAVED)
    return headers


def own_headers(call: Call, candidate: Candidate, sent: Segments | None) -> Headers:
    """Return what is said of a call before it has ended."""
    headers = [
        (b"x-bursar-call-id", call_name(call.call_id).encode()),
        candidate.header,
        _NO_CACHE,
    ]
    if call.route is not None:
        headers.append((b"x-bursar-route", header_of(call.route)))
    if sent is not None:
        headers.append((b"x-bursar-removed-tokens", b"%d" % removed_tokens(call.segments, sent)))
    return headers
