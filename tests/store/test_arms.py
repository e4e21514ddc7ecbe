"""The arms of calls that an earlier version wrote as sentences become fields: in the books and in a spool."""

from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from bookkeeping import NOW_US, USD, Shop, attempt, open_shop, write

from bursar.core.ids import call_name
from bursar.core.records import Assignment
from bursar.store.database import Connection, connect, migrate
from bursar.store.reports import one_call
from bursar.store.savings import savings
from bursar.store.spool import Spool

SENTENCES = {
    "compress": "holdout of the of one at 5 % at 12.5 %",
    "route": "treatment",
}
FIELDS = (
    Assignment("compress", "holdout", "the of one at 5 %", 125_000),
    Assignment("route", "treatment"),
)


@pytest.fixture
async def shop(connection: Connection) -> Shop:
    return await open_shop(connection)


async def test_rows_of_before_are_carried_over_and_compared(
    connection: Connection, shop: Shop, tmp_path: Path, database_url: str
) -> None:
    intents = [shop.intent(USD) for _ in range(2)]
    arms = {"arms": FIELDS, "unit": b"unit"}
    made = [shop.settled(intents[0], attempt(USD), **arms), shop.settled(intents[1], attempt(USD))]
    await write(shop, tmp_path, database_url, *intents, *made)
    owner = await connect(database_url, owner=True)
    await owner.execute("alter table calls disable trigger calls_are_append_only")
    await owner.execute("alter table calls drop constraint arms_are_fields")
    sentences = msgspec.json.encode(SENTENCES).decode()
    await owner.execute("update calls set arms = $1::text::jsonb where arms is not null", sentences)
    await owner.execute("alter table calls enable trigger calls_are_append_only")
    await owner.execute("delete from migrations where number = 13")
    assert await migrate(owner, NOW_US) == ["013_arms.sql"]
    shown = [await one_call(connection, call_name(intent.call.call_id)) for intent in intents]
    assert [each and each["arms"] for each in shown] == [msgspec.to_builtins(list(FIELDS)), []]
    (report,) = await savings(connection, NOW_US - 1, NOW_US + 1_000_000)
    assert (report.lever, report.experiment, report.share_ppm, report.holdout.units) == (
        *("compress", "the of one at 5 %", 125_000),
        1,
    )
    await owner.execute("reset role")
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await owner.execute("update calls set arms = null")
    with pytest.raises(asyncpg.CheckViolationError, match="arms_are_fields"):
        await owner.execute("insert into calls select (json_populate_record(c, '{\"arms\": {}}')).* from calls as c")
    await owner.close()


def of_before(entry: Any, sentences: Any) -> Any:
    """Return an entry as an earlier version has written it."""
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(entry))
    plain[1][8] = sentences
    return plain


async def test_a_spool_of_before_is_read(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    entry = shop.settled(shop.intent(USD), attempt(USD))
    spool = Spool(folder)
    spool.append(of_before(entry, SENTENCES))
    spool.append(of_before(entry, {}))
    spool.close()
    again = Spool(folder)
    found: list[Any] = [each for each, _ in again.scan(again.start)]
    again.close()
    assert [each.record.arms for each in found] == [FIELDS, ()]
    assert found[1] == entry


async def test_what_no_version_has_written_is_an_error(shop: Shop, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(of_before(shop.settled(shop.intent(USD), attempt(USD)), 7))
    spool.close()
    again = Spool(tmp_path)
    with pytest.raises(msgspec.ValidationError, match="Expected `array`, got `int`"):
        next(again.scan(again.start))
    again.close()
