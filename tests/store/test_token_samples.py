"""Of each target the last samples are kept, in order, and no more."""

import pytest

from bursar.store.database import Connection
from bursar.store.token_samples import NewSample, add_samples, samples_of
from bursar.tokens.calibrate import CALLS_MAX, Sample

pytestmark = pytest.mark.asyncio


def made(provider: str, first: int, count: int) -> list[NewSample]:
    return [NewSample(provider, "m", Sample((1, number), number + 1)) for number in range(first, first + count)]


async def test_the_last_samples_of_each_target_are_kept(connection: Connection) -> None:
    await add_samples(connection, made("a", 0, CALLS_MAX), 1)
    await add_samples(connection, made("b", 0, 3), 2)
    await add_samples(connection, made("a", CALLS_MAX, 5), 3)
    found = await samples_of(connection, "a/m")
    assert [each.tokens for each in found] == list(range(6, CALLS_MAX + 6))
    assert found[0] == Sample((1, 5), 6)
    assert await connection.fetchval("select count(*) from token_samples") == CALLS_MAX + 3


async def test_a_model_is_found_at_any_provider_or_at_one(connection: Connection) -> None:
    await add_samples(connection, made("a", 0, 2) + made("b/c", 5, 2), 1)
    assert [each.tokens for each in await samples_of(connection, "m")] == [1, 2, 6, 7]
    assert [each.tokens for each in await samples_of(connection, "b/c/m")] == [6, 7]
    assert await samples_of(connection, "c/m") == []
    assert await samples_of(connection, "") == []


async def test_nothing_is_written_of_no_samples(connection: Connection) -> None:
    await add_samples(connection, [], 1)
    assert await connection.fetchval("select count(*) from token_samples") == 0
