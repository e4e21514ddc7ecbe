"""Answer a call that is refused, in its protocol's own shape."""

from bursar.core.errors import Refusal, Unavailable
from bursar.core.ids import call_name
from bursar.core.money import Money, nano_to_usd
from bursar.gateway.asgi import JSON, Send, send_whole
from bursar.gateway.heads import Headers
from bursar.wires.wire import Wire


def write_refusal(wire: Wire, refusal: Refusal, call_id: bytes, cost_nano: Money = 0) -> tuple[int, Headers, bytes]:
    """Return the status, headers and body of a refusal, in the protocol's own shape."""
    name = call_name(call_id)
    headers = [JSON, (b"x-bursar-call-id", name.encode()), (b"x-bursar-cost-usd", nano_to_usd(cost_nano).encode())]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
    elif isinstance(refusal, Unavailable):
        headers.append((b"retry-after", b"1"))
    return refusal.status, headers, wire.error_body(refusal, name)


async def send_refusal(wire: Wire, refusal: Refusal, call_id: bytes, send: Send, cost_nano: Money = 0) -> None:
    """Refuse a call."""
    await send_whole(send, *write_refusal(wire, refusal, call_id, cost_nano))
