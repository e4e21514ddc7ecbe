"""Compress a chat request's body as a gateway would send it, by its own lever and configuration."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from bursar.cli.common import now_us
from bursar.cli.compress_given import Given
from bursar.cli.compress_text import Shown
from bursar.core.errors import OperatorError
from bursar.core.ids import first_id_at
from bursar.core.records import Call
from bursar.gateway.compressing import compressing_of
from bursar.gateway.config import Compress, Config, read_config
from bursar.gateway.outbox import Outbox
from bursar.gateway.passage import Passage
from bursar.gateway.routes import Routes
from bursar.gateway.stats import Stats
from bursar.prices import load as load_book
from bursar.prices.book import with_prices
from bursar.savings.compress.conversation import Squeezed
from bursar.savings.compress.edits import replay
from bursar.savings.compress.prompt import Compressed
from bursar.wires.protocols import PATH_WIRES, TEXT_WIRES
from bursar.wires.wire import Facts, Wire


async def as_sent(given: Given, model: str, file: Path | None, count: Callable[[str], int]) -> Shown:
    """Return what a gateway with this configuration sends of a call for a model. Raises `OperatorError`, `Refusal`.

    No header of the call's own and no setting of its key is taken into account, nor what its budget has room for.
    """
    if given.body is None or given.protocol is None:
        raise OperatorError("--as-gateway takes the body of one chat request; name a file that is one")
    config = read_config(file)
    bare = {name: provider.keyless() for name, provider in config.providers.items()}
    config = msgspec.structs.replace(config, providers=bare)
    book = with_prices(load_book(), config.prices)
    # Nothing is asked of a provider, so no address needs to be there.
    routes = Routes(config, book, lambda _name: "http://127.0.0.1:1/v1", Outbox(asyncio.get_running_loop()))
    if model not in routes.policies:
        routes.find(model, given.protocol)  # one that is unknown is told, with those near it
    passage = _passage(TEXT_WIRES[given.protocol], model, given.body)
    lever = compressing_of(config, Stats(), routes)
    setting = None if lever is None else lever.setting(passage, "", None)
    if lever is None or setting is None:
        return _shown(given, Squeezed(given.body, told=(_why_not(config, given.body, model),)), count)
    squeezed = lever.work(passage, given.body, lever.fitting(passage, setting))()
    held_ppm = (config.compress or Compress()).holdout_ppm
    held = f"{held_ppm / 10_000:g} % of runs and conversations are held out, and sent as they came"
    told = (*squeezed.told, held) if held_ppm else squeezed.told
    return _shown(given, msgspec.structs.replace(squeezed, told=told), count)


def _shown(given: Given, squeezed: Squeezed, count: Callable[[str], int]) -> Shown:
    """Return what a gateway sends in the form of what the library gives."""
    texts = [part.text for part in given.parts]
    after = replay(texts, squeezed.removals)
    found = Compressed(after, squeezed.removals, (), sum(map(count, texts)), sum(map(count, after)))
    return Shown(given, found, squeezed.body, squeezed.told)


def _passage(wire: Wire, model: str, body: bytes) -> Passage:
    target = f"{model}:generateContent" if wire in PATH_WIRES.values() else ""
    facts: Facts = msgspec.structs.replace(wire.facts(body, target), model=model)
    opened_us = now_us()
    call = Call(first_id_at(opened_us // 1_000), 0, "", wire.protocol, model, facts.stream, opened_us, facts.segments)
    return Passage(wire, call, facts, body, b"")


def _why_not(config: Config, body: bytes, model: str) -> str:
    """Say why a body is sent as it came."""
    least = (config.compress or Compress()).bytes_min
    if config.compresses and len(body) < least:
        return f"it is sent as it came: it has {len(body):,} bytes, and compress.bytes_min is {least:,}"
    return f"it is sent as it came: {model} is not compressed by this configuration"
