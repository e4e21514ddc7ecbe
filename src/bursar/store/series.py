"""Read what was spent, used and waited for in each part of a span of time, by group."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from bursar.core.ids import first_id_at
from bursar.core.money import Money
from bursar.core.records import Protocol
from bursar.store.database import Connection, load_statements
from bursar.store.keys import TENANT

_STATEMENTS: Final = load_statements("series")
_PARTS: Final = ("named", "group_of_call", "group_of_charge")

READ_S: Final = 15.0
"""How long a series may take to read: whoever asks for too much is told so, and does not keep others waiting."""
TAGS_SHOWN_MAX: Final = 12
_BATCHES: Final = [Protocol.openai_batch, Protocol.anthropic_batch, Protocol.gemini_batch]


class Span(msgspec.Struct, frozen=True):
    """Hold a span of time and the moments at which its parts begin, Unix microseconds."""

    from_us: int
    until_us: int
    starts_us: Sequence[int]

    @property
    def ids(self) -> tuple[bytes, bytes]:
        """Return the first ids of its ends."""
        return first_id_at(self.from_us // 1_000), first_id_at(self.until_us // 1_000)


class Grouping(msgspec.Struct, frozen=True):
    """Say what is told apart: by model, key, account, provider or tag, and how many of them."""

    by: str
    tag: str = ""
    groups_max: int = 8


class Part(msgspec.Struct, frozen=True):
    """Hold what a group has spent in one part; rank 0 is all that are not told apart. `groups` are all there are."""

    rank: int
    place: int
    name: str
    calls: int
    cost_nano: Money
    tokens: int
    groups: int


class Waited(msgspec.Struct, frozen=True):
    """Hold how long a group's calls took in one part, at the 50th, 95th and 99th percentile.

    Rank 0 is every group, place -1 the whole span; the first token's are empty where nothing was streamed.
    """

    rank: int
    place: int
    name: str
    calls: int
    streams: int
    took_ms: list[float]
    ttft_ms: list[float] | None


async def spent_series(connection: Connection, span: Span, grouping: Grouping) -> list[Part]:
    """Read what was spent, by group and part; the largest groups first after the rest. Raises `TimeoutError`."""
    values = (*span.ids, span.starts_us, grouping.by, grouping.tag, span.from_us, span.until_us, grouping.groups_max)
    return [_of(Part, row) for row in await _read(connection, "spent", *values)]


async def token_series(connection: Connection, span: Span) -> list[tuple[int, str, int]]:
    """Read how many tokens were used, as place, leaf of usage and number. Raises `TimeoutError`."""
    rows = await _read(connection, "tokens", *span.ids, span.starts_us)
    return [(row["place"], row["kind"], row["tokens"]) for row in rows]


async def latency_series(connection: Connection, span: Span, grouping: Grouping) -> list[Waited]:
    """Read how long answered calls took, by group and part. Raises `TimeoutError`."""
    values = (*span.ids, span.starts_us, grouping.by, grouping.tag, grouping.groups_max, _BATCHES)
    return [_of(Waited, row) for row in await _read(connection, "latency", *values)]


async def tag_names(connection: Connection, span: Span) -> list[str]:
    """Name the tags that calls of a span have, the most frequent first. Raises `TimeoutError`."""
    return [row["name"] for row in await _read(connection, "tags", *span.ids, TAGS_SHOWN_MAX)]


async def _read(connection: Connection, name: str, *values: Any) -> list[asyncpg.Record]:
    text = _STATEMENTS[name]
    for part in _PARTS:
        text = text.replace(f"{{{part}}}", _STATEMENTS[part])
    return await connection.fetch(text, TENANT, *values, timeout=READ_S)


def _of(kind: type[Any], row: asyncpg.Record) -> Any:
    return kind(*(row[name] for name in kind.__struct_fields__))
