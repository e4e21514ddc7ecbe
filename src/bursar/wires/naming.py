"""Give tool calls ids that every protocol takes, the same each time."""

import re
from hashlib import sha256


def made_id(answer_id: str, index: int) -> str:
    """Make the id of a tool call whose provider gave none, from its answer's id and its place there."""
    return "call_" + sha256(f"{answer_id}:{index}".encode()).hexdigest()[:24]


def call_id_in(pattern: str, call_id: str) -> str:
    """Return an id as a protocol takes it: as it is, or a digest of it, which is the same wherever it is named."""
    return call_id if re.fullmatch(pattern, call_id) else "call_" + sha256(call_id.encode()).hexdigest()[:24]
