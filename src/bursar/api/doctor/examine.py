"""Look at configuration, database, clocks, prices, disk, workers and providers, and judge what is found.

Nothing is changed, nothing is started, and no provider is asked for anything that costs.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from bursar.api.doctor.findings import (
    Finding,
    GatewaySeen,
    Probe,
    State,
    judge_dates,
    judge_disk,
    judge_gateways,
    judge_key_names,
    judge_prices,
    judge_probe,
    judge_schema,
    judge_skew,
    judge_sums,
    judge_unmetered,
)
from bursar.api.doctor.probe import probe
from bursar.core.errors import BooksError, BursarError, ConfigError, UnknownModel
from bursar.gateway.config import Config, read_config
from bursar.gateway.outbox import Outbox
from bursar.gateway.provider import Provider
from bursar.gateway.routes import Routes
from bursar.gateway.stats import clock_us
from bursar.ledger.chart import Unit
from bursar.prices import load
from bursar.prices.book import Book, with_prices
from bursar.store.database import Connection, connect
from bursar.store.gateways import all_gateways, leases_set_aside
from bursar.store.health import health
from bursar.store.keys import all_keys

_CONNECT_S: Final = 5


class Place(msgspec.Struct, frozen=True):
    """Name what is examined: a data folder, the database in use, and whether that is the folder's own."""

    folder: Path
    url: str
    own: bool


async def examine(path: Path | None, place: Place) -> list[Finding]:
    """Examine what a configuration, the sandbox's without one, and a place come to."""
    findings: list[Finding] = []
    try:
        config = read_config(path)
    except ConfigError as error:
        findings.append(Finding("configuration", State.fail, str(error), "correct it: docs/reference/config.md"))
        config = None
    else:
        where = str(path) if path else "none: the sandbox serves"
        text = f"{where}; providers: {', '.join(config.providers)}; models: {len(config.models)}"
        findings.append(Finding("configuration", State.ok, text))
        findings += _secrets(config)
        findings += judge_unmetered(config.gateway.unmetered_routes)
        findings += await _prices(config)
    findings += [each async for each in _database(place, config)]
    findings.append(_disk(place.folder))
    if config is not None:
        findings += await _providers(config)
    return findings


def _secrets(config: Config) -> Iterator[Finding]:
    """Say which secret is not where the configuration says; none is shown."""
    reads: list[tuple[str, Callable[[], object]]] = [
        (f"providers.{name}", lambda name=name, provider=provider: provider.secret(name))
        for name, provider in config.providers.items()
    ]
    if config.alerts.webhook:
        reads.append(("alerts", config.alerts.secret))
    if config.otel.endpoint:
        reads.append(("otel", config.otel.headers))
    missing = 0
    for name, read in reads:
        try:
            read()
        except ConfigError as error:
            missing += 1
            yield Finding("secrets", State.fail, str(error), f"put it there, or correct [{name}]")
    if not missing:
        yield Finding("secrets", State.ok, "every secret is where the configuration says")
    if not config.alerts.webhook:
        yield Finding("alerts", State.ok, "no webhook: alerts are listed only (`bursar alerts list`)")
    elif not missing:
        yield Finding("alerts", State.ok, "a webhook is set; `bursar alerts test` tries it")


async def _prices(config: Config) -> Iterator[Finding]:
    """Look at the price book's age, and for the price of each target."""
    book = with_prices(await asyncio.to_thread(load), config.prices)
    found = [judge_prices(book.release, book.checked, clock_us())]
    failed = [(name, error) for name in config.models if (error := _unpriced(config, book, name))]
    found += [Finding("prices", State.fail, error, f'give models."{name}".price') for name, error in failed]
    if not failed:
        found.append(Finding("prices", State.ok, f"each of {len(config.models)} models has one"))
    return iter(found)


def _unpriced(config: Config, book: Book, name: str) -> str:
    """Say what is missing of a model's prices; empty where nothing is."""
    bare = {each: provider.keyless() for each, provider in config.providers.items()}
    one = msgspec.structs.replace(config, providers=bare, models={name: config.models[name]})
    try:
        Routes(one, book, lambda _name: "http://127.0.0.1:1/v1", Outbox(asyncio.get_running_loop()))
    except (ConfigError, UnknownModel) as error:
        return str(error)
    return ""


async def _database(place: Place, config: Config | None) -> AsyncIterator[Finding]:
    """Look at the database, if it runs, and at who serves it."""
    try:
        connection = await connect(place.url, timeout_s=_CONNECT_S)
    except BooksError as error:
        if place.own:
            text = f"nothing runs in {place.folder}"
            yield Finding("database", State.warn, text, "start `bursar up`, or name its folder with --data")
        else:
            yield Finding("database", State.fail, str(error), "look at BURSAR_DATABASE_URL, and at the server")
        return
    try:
        async for finding in _of_database(connection, config):
            yield finding
    except BursarError as error:
        yield Finding("database", State.fail, str(error), "look at the server's log")
    finally:
        await connection.close()


async def _of_database(connection: Connection, config: Config | None) -> AsyncIterator[Finding]:
    before_us, began = clock_us(), time.monotonic()
    found = await health(connection)
    if found is None:
        yield Finding("database", State.warn, "Bursar was never in this database", "`bursar up` makes what it needs")
        return
    took_us = round((time.monotonic() - began) * 1_000_000)
    yield judge_schema(found.version, found.applied, found.known)
    if found.as_writer:
        yield Finding("append-only", State.ok, "by triggers, and by a role that may add and change nothing")
    else:
        text = "by triggers alone: the role bursar_writer could not be made"
        yield Finding("append-only", State.warn, text, "see docs/how-to/postgresql.md")
    half_us = took_us // 2  # the clock was read somewhere within the time the answer took
    skew_us = found.clock_us - before_us - half_us
    yield judge_skew(0 if abs(skew_us) <= half_us else skew_us)
    yield judge_sums(found.sums)
    named = tuple(config.compress.keys) if config is not None and config.compress is not None else ()
    if named and (names := judge_key_names(named, [key.name for key in await all_keys(connection)])):
        yield names
    for finding in judge_gateways([each async for each in _gateways(connection)]):
        yield finding


async def _gateways(connection: Connection) -> AsyncIterator[GatewaySeen]:
    for state in await all_gateways(connection):
        given_up = state.reaped_us is not None
        leases = await leases_set_aside(connection, state.gateway) if given_up else []
        undecided = sum(lease.available_nano for lease in leases if lease.unit is Unit.usd)
        unseen_us = max(0, state.now_us - max(state.seen_us, state.started_us))
        yield GatewaySeen(state.name, unseen_us, state.closed_us is not None, given_up, undecided)


def _disk(folder: Path) -> Finding:
    path = next(each for each in (folder, *folder.parents) if each.exists())
    spools = [file for spool in folder.glob("spool*") if spool.is_dir() for file in spool.iterdir()]
    return judge_disk(str(folder), shutil.disk_usage(path).free, sum(file.stat().st_size for file in spools))


async def _providers(config: Config) -> list[Finding]:
    """Ask every provider for its models, all at once; the sandbox is started with Bursar and needs no asking."""
    findings = [
        Finding(f"provider {name}", State.ok, "the sandbox, which `bursar up` starts")
        for name, provider in config.providers.items()
        if not provider.base_url
    ]
    asked = {name: provider for name, provider in config.providers.items() if provider.base_url}
    found = dict(zip(asked, await asyncio.gather(*(_probe(*each) for each in asked.items())), strict=True))
    findings += [judge_probe(name, each) for name, each in found.items()]
    return [*findings, *judge_dates(found, clock_us())]


def _probe(name: str, provider: Provider) -> Awaitable[Probe]:
    try:
        secret = provider.secret(name)
    except ConfigError:  # told before
        secret = ""
    return probe(provider.kind, provider.base_url, secret, key_header=provider.key_header)
