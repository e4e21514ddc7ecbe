"""Keep what estimates of tokens are learned from: for each target the last calls' counts, never a text."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bursar.store.database import Connection, load_statements
from bursar.store.holders import TENANT
from bursar.tokens.calibrate import CALLS_MAX, Sample

_SQL: Final = load_statements("token_samples")


class NewSample(msgspec.Struct, frozen=True):
    """Hold what one call of a target showed."""

    provider: str
    model: str
    sample: Sample


async def add_samples(connection: Connection, new: Sequence[NewSample], at_us: int) -> None:
    """Write samples down, and forget those of their targets that are older than the last."""
    async with connection.transaction():
        for each in new:
            values = list(each.sample.counts), each.sample.tokens, at_us
            await connection.execute(_SQL["insert"], TENANT, each.provider, each.model, *values)
        for provider, model in sorted({(each.provider, each.model) for each in new}):
            await connection.execute(_SQL["forget"], TENANT, provider, model, CALLS_MAX)


async def samples_of(connection: Connection, model: str) -> list[Sample]:
    """Return the last samples of `provider/model`, or of a model at whatever provider; oldest first."""
    targets = [(row["provider"], row["model"]) for row in await connection.fetch(_SQL["models"], TENANT)]
    provider = next((one for one, own in targets if f"{one}/{own}" == model), None)
    own = model if provider is None else model.removeprefix(f"{provider}/")
    rows = await connection.fetch(_SQL["of_model"], TENANT, provider, own, CALLS_MAX)
    return [Sample(tuple(row["counts"]), row["tokens"]) for row in rows]
