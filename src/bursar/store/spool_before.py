"""Read entries of a spool that an earlier version has written, so that an upgrade loses no call."""

import re
from typing import Any, Final

import msgspec

from bursar.ledger.journal import Entry

_RECORD: Final = 1  # in a settlement, behind its tag
_ARMS: Final = 8  # in a record
_SENTENCE: Final = re.compile(r"(\S+) of (.*) at (\S+) %", re.DOTALL)
_PPM_PER_PERCENT: Final = 10_000

_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_any = msgspec.msgpack.Decoder().decode


def decode_earlier(payload: bytes) -> Entry:
    """Decode an entry whose arms are sentences by lever: `treatment of auto at 10 %`.

    Raises `msgspec.ValidationError` for what no version has written.
    """
    found = _decode_any(payload)
    try:
        record = found[_RECORD]
        record[_ARMS] = [_fields(lever, sentence) for lever, sentence in record[_ARMS].items()]
    except (TypeError, LookupError, AttributeError):
        return _decode(payload)  # which says what is wrong
    return _decode(msgspec.msgpack.encode(found))


def _fields(lever: str, sentence: str) -> dict[str, Any]:
    parts = _SENTENCE.fullmatch(sentence)
    if parts is None:
        return {"lever": lever, "arm": sentence}
    share_ppm = round(float(parts[3]) * _PPM_PER_PERCENT)
    return {"lever": lever, "arm": parts[1], "experiment": parts[2], "share_ppm": share_ppm}
