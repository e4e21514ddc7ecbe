"""Give tool calls and items ids that every protocol takes, the same each time."""

import re
from hashlib import sha256


def made_id(answer_id: str, index: int, prefix: str = "call") -> str:
    """Make an id where a provider gave none, from the answer's and the place in it."""
    return f"{prefix}_" + sha256(f"{answer_id}:{index}".encode()).hexdigest()[:24]


def call_id_in(pattern: str, call_id: str) -> str:
    """Return an id as a protocol takes it: as it is, or a digest of it, which is the same wherever it is named."""
    return call_id if re.fullmatch(pattern, call_id) else "call_" + sha256(call_id.encode()).hexdigest()[:24]
