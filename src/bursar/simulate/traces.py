"""Read traces: Azure's CSV, Mooncake's JSON lines, our own JSON lines, those that ship, and made-up ones."""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from itertools import chain
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from bursar.core.errors import ConfigError, NotThere
from bursar.simulate.load import REQUESTS_MAX
from bursar.simulate.trace import Trace

SHIPPED: Final[Mapping[str, str]] = {
    "azure-code": "azure_code_2023.csv.gz",
    "azure-conv": "azure_conv_2023.csv.gz",
}
"""Traces that ship with the package, by name."""

_AZURE: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOONCAKE_PIECE: Final = 512
_MOONCAKE_LINE: Final = '{"timestamp": 400, "input_length": 2000, "output_length": 60}'
_OUR_LINE: Final = '{"at_s": 0.4, "input_tokens": 2000, "output_tokens": 60}'
_TOKENS_MAX: Final = 100_000_000

_Tokens = Annotated[int, Meta(ge=0, le=_TOKENS_MAX)]
_Piece = Annotated[int, Meta(ge=0)]


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    """Hold a line of our own form."""

    at_s: Annotated[float, Meta(ge=0)]
    input_tokens: Annotated[int, Meta(ge=1, le=_TOKENS_MAX)]
    output_tokens: _Tokens
    priority: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    prefix: tuple[_Piece, ...] = ()


class _Mooncake(msgspec.Struct):
    """Hold a line of Mooncake's form; what else it has is left aside."""

    timestamp: Annotated[float, Meta(ge=0)]
    input_length: Annotated[int, Meta(ge=1, le=_TOKENS_MAX)]
    output_length: _Tokens
    hash_ids: tuple[_Piece, ...] = ()


def load(name: str) -> Trace:
    """Read a trace that ships with the package: lengths, and milliseconds since the one before."""
    if name not in SHIPPED:
        raise NotThere(f"no trace {name!r} ships; there are {', '.join(SHIPPED)}, or name a file")
    data = (files("bursar.simulate") / "data" / SHIPPED[name]).read_bytes()
    rows = np.loadtxt(io.BytesIO(gzip.decompress(data)), dtype=np.int64, delimiter=",", skiprows=1, ndmin=2)
    arrival_s: list[float] = (np.cumsum(rows[:, 0]) / 1e3).tolist()
    inputs: list[int] = rows[:, 1].tolist()
    outputs: list[int] = rows[:, 2].tolist()
    return Trace(arrival_s, inputs, outputs, name=name)


def parse(lines: Iterable[str], name: str) -> Trace:
    """Read a trace file's lines: CSV with Azure's columns, or JSON lines of Mooncake's form or our own.

    Raises `ConfigError` for the first line that is wrong, naming file, line and field.
    """
    rows = enumerate((line.lstrip("\ufeff") for line in lines), 1)
    begun = next(((number, line) for number, line in rows if line.strip()), (1, ""))
    first = begun[1]
    whole = chain((begun,), rows)
    if first.lstrip().startswith("{"):
        return _parse_json(whole, name)
    header = [column.strip() for column in first.strip().split(",")]
    if not set(_AZURE) <= set(header):
        raise ConfigError(
            f"{name}, line {begun[0]}: expected the columns {', '.join(_AZURE)} or a JSON object with at_s, "
            f"input_tokens and output_tokens, got {first.strip()[:60]!r}"
        )
    return _parse_csv(header, rows, name)


def poisson(text: str, seed: int, times: float = 1.0) -> Trace:
    """Make requests that arrive at random: `RATE,IN,OUT,SECONDS`, each with that many tokens in and out.

    `times` multiplies the rate.
    """
    if seed < 0:
        raise ConfigError(f"seed is {seed}; give a whole number of at least 0")
    if not 0 < times < float("inf"):
        raise ConfigError(f"scale is {times}; give a number above 0, such as 10 for ten times the requests")
    parts = text.split(",")
    names = ("RATE", "IN", "OUT", "SECONDS")
    if len(parts) != len(names):
        raise ConfigError(
            f"poisson:{text} has {len(parts)} values; give poisson:RATE,IN,OUT,SECONDS, as 5,1000,200,600"
        )
    values: dict[str, float] = {}
    for field, part in zip(names, parts, strict=True):
        values[field] = _number(part, f"poisson:{text}", field)
    count = values["RATE"] * values["SECONDS"] * times
    if not 1 <= count <= REQUESTS_MAX:
        scaled = "" if times == 1 else f" at a scale of {times:g}"
        raise ConfigError(
            f"poisson:{text} makes {count:g} requests{scaled}; give a RATE and SECONDS that make 1 to 10 million"
        )
    random = np.random.default_rng(seed)
    arrival_s = np.sort(random.uniform(0, values["SECONDS"], max(int(random.poisson(count)), 1)))
    size = len(arrival_s)
    listed: list[float] = arrival_s.tolist()
    return Trace(listed, [int(values["IN"])] * size, [int(values["OUT"])] * size, name=f"poisson:{text}")


def _parse_csv(header: Sequence[str], lines: Iterator[tuple[int, str]], name: str) -> Trace:
    places = [header.index(column) for column in _AZURE]
    arrival_s: list[float] = []
    inputs: list[int] = []
    outputs: list[int] = []
    began: datetime | None = None
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        cells = _cells(line, len(header), where)
        moment, given, made = (cells[place] if place < len(cells) else "" for place in places)
        at = _moment(moment, where)
        began = began or at
        if (at.tzinfo is None) != (began.tzinfo is None):
            raise ConfigError(f"{where}: TIMESTAMP is {moment!r}; give all moments with a time zone, or none")
        arrival_s.append(_later((at - began).total_seconds(), arrival_s, where, _AZURE[0]))
        inputs.append(_whole(given, where, _AZURE[1], 1))
        outputs.append(_whole(made, where, _AZURE[2], 0))
    return _made(Trace(arrival_s, inputs, outputs, name=name))


def _cells(line: str, columns: int, where: str) -> list[str]:
    """Split a line of CSV; no cell of these columns goes over lines."""
    try:
        cells = next(csv.reader([line.rstrip("\r\n")], strict=True))
    except csv.Error as error:
        raise ConfigError(f"{where}: not a line of CSV ({error}); quote a cell on both sides, or not at all") from None
    if len(cells) > columns:
        raise ConfigError(f"{where}: {len(cells)} cells for {columns} columns; give as many as the first line names")
    return cells


def _parse_json(lines: Iterable[tuple[int, str]], name: str) -> Trace:
    decoders = msgspec.json.Decoder(_Request), msgspec.json.Decoder(_Mooncake)
    requests: list[_Request] = []
    mooncake = False
    times: list[float] = []
    for number, line in lines:
        if not line.strip():
            continue
        mooncake = mooncake or (not requests and '"input_length"' in line)
        try:
            read = decoders[mooncake].decode(line)
        except msgspec.DecodeError as error:
            form = _MOONCAKE_LINE if mooncake else _OUR_LINE
            raise ConfigError(f"{name}, line {number}: {error}; give a line such as {form}") from None
        request = _ours(read) if isinstance(read, _Mooncake) else read
        _fits(request, f"{name}, line {number}", "hash_ids" if mooncake else "prefix")
        times.append(_later(request.at_s, times, f"{name}, line {number}", "timestamp" if mooncake else "at_s"))
        requests.append(request)
    prefix = [each.prefix for each in requests]
    priority = [each.priority for each in requests]
    return _made(
        Trace(
            times,
            [each.input_tokens for each in requests],
            [each.output_tokens for each in requests],
            priority if any(priority) else (),
            prefix if any(prefix) else (),
            _MOONCAKE_PIECE,
            name,
        )
    )


def _ours(line: _Mooncake) -> _Request:
    return _Request(line.timestamp / 1e3, line.input_length, line.output_length, 0, line.hash_ids)


def _fits(request: _Request, where: str, field: str) -> None:
    """Refuse more pieces than a prompt has tokens for; the last may be cut short."""
    most = -(-request.input_tokens // _MOONCAKE_PIECE)
    if len(request.prefix) > most:
        raise ConfigError(
            f"{where}: {field} has {len(request.prefix)} pieces for {request.input_tokens} tokens in; a piece is "
            f"{_MOONCAKE_PIECE} tokens, so give at most {most}"
        )


def _made(trace: Trace) -> Trace:
    if not len(trace):
        raise ConfigError(f"{trace.name} has no requests; give at least one line")
    return trace


def _later(at_s: float, before: list[float], where: str, field: str) -> float:
    if before and at_s < before[-1]:
        raise ConfigError(f"{where}: {field} is before that of the line above; order the lines by arrival")
    return at_s


def _moment(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f"{where}: TIMESTAMP is {text!r}; give a moment such as 2023-11-16 18:15:46.6805") from None


def _whole(text: str, where: str, field: str, least: int) -> int:
    value = int(text) if text.strip().isdecimal() else -1
    if not least <= value <= _TOKENS_MAX:
        raise ConfigError(f"{where}: {field} is {text!r}; give a whole number of tokens of at least {least}")
    return value


def _number(text: str, where: str, field: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    whole = field in ("IN", "OUT")
    if not (0 < value < 1e9 or (field == "OUT" and value == 0)) or (whole and value != int(value)):
        raise ConfigError(f"{where}: {field} is {text!r}; give a {'whole ' if whole else ''}number above 0")
    return value
