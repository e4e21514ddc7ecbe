"""Measure this gateway and its peers side by side: the same provider, load, cores and minutes."""

import statistics
import subprocess
from collections.abc import Sequence

import msgspec

from bench.figures import Figure
from bench.load import Outcome, run
from bench.peers import CHAT, PEERS, Missing, Peer, check_json, check_stream, install, memory_of, started
from bench.speed import added_ms, alternate, closed
from bench.stage import MODEL, SATURATING, bearer, chat_body, gateway, mock, request
from bursar import __version__

OURS = "Bursar, 1 worker"
_DOES = "keys, budgets, exact prices, holds, double-entry books in PostgreSQL"


class Row(msgspec.Struct, kw_only=True):
    """Hold what was measured of one gateway; `missing` says why nothing was."""

    name: str
    version: str
    does: str
    rps: float = 0.0
    connections: int = 0  # with which it was that fast
    added_p50_ms: float = 0.0
    added_p99_ms: float = 0.0
    sse: str = ""
    rss_mb: float = 0.0
    failures: int = 0
    missing: str = ""


class Target(msgspec.Struct, frozen=True):
    """Say where a gateway is asked, and which processes are its own."""

    port: int
    headers: dict[str, str]
    pids: list[int]
    connections: tuple[int, ...] = SATURATING
    path: str = CHAT
    model: str = MODEL


def side_by_side(rounds: int, seconds: float, peers: Sequence[Peer] = PEERS) -> tuple[list[Figure], list[Row]]:
    """Measure ours, each peer, and ours again."""
    before = _ours(rounds, seconds)
    rows = {peer.id: _peer(peer, rounds, seconds) for peer in peers}
    after = _ours(rounds, seconds)
    ours = msgspec.structs.replace(
        before,
        rps=round((before.rps + after.rps) / 2),
        added_p50_ms=round((before.added_p50_ms + after.added_p50_ms) / 2, 3),
        added_p99_ms=round((before.added_p99_ms + after.added_p99_ms) / 2, 3),
        rss_mb=max(before.rss_mb, after.rss_mb),
    )
    figures = [ratio(peer, rows[peer.id], ours) for peer in peers if rows[peer.id].rps or peer.elsewhere_rps]
    return figures, [ours, *rows.values()]


def ratio(peer: Peer, row: Row, ours: Row) -> Figure:
    """Compare with what a peer does here, or with what it did elsewhere where it cannot be measured here."""
    theirs = row.rps or peer.elsewhere_rps
    where = "the same run" if row.rps else f"not measured here ({row.missing}): a figure of another machine"
    note = f"{ours.rps:,.0f} against {theirs:,.0f} req/s; {where}"
    return Figure(f"gateway.x_{peer.id}", round(ours.rps / theirs, 2), "times", note=note)


def _ours(rounds: int, seconds: float) -> Row:
    row = Row(name=OURS, version=__version__, does=_DOES)
    with mock() as port, gateway(port) as (local, secret):
        target = Target(local.port, bearer(secret), [local.child_pids("worker")[0]])
        return _measure(row, target, port, (rounds, seconds))


def _peer(peer: Peer, rounds: int, seconds: float) -> Row:
    row = Row(name=peer.name, version=peer.version, does=peer.does)
    try:
        install(peer)
        with mock() as port, started(peer, port) as found:
            target = Target(found.port, found.headers, found.pids, peer.connections, peer.path, peer.model)
            return _measure(row, target, port, (rounds, seconds))
    except Missing as reason:
        return msgspec.structs.replace(row, missing=str(reason))
    except subprocess.CalledProcessError:
        return msgspec.structs.replace(row, missing=f"it answers no call of {min(peer.connections)} at once")


def _measure(row: Row, target: Target, mock_port: int, terms: tuple[int, float]) -> Row:
    """Check a gateway's answers, then saturate it, then ask it one call at a time."""
    rounds, seconds = terms
    asked = (target.port, target.path, target.model, target.headers)
    wrong = check_json(*asked)
    if wrong:
        raise Missing(wrong)
    row.sse = check_stream(*asked) or "whole"
    message = request(target.port, chat_body(model=target.model), target.headers, target.path)
    found: list[tuple[int, float, int]] = []  # failures, less the rate, connections: the least is the best
    for connections in target.connections:
        load = closed(target.port, message, connections, seconds)
        run(load)  # warms up
        outcomes: list[Outcome] = [run(load) for _ in range(rounds)]
        rate = statistics.median(outcome.rate for outcome in outcomes)
        found.append((sum(outcome.failures for outcome in outcomes), -rate, connections))
    row.failures, rate, row.connections = min(found)
    row.rps = round(-rate, 1)
    single = closed(target.port, message, 1, seconds / 2)
    straight = closed(mock_port, request(mock_port, chat_body()), 1, seconds / 2)
    pairs = alternate(straight, single, rounds)
    row.added_p50_ms = round(statistics.median(added_ms(pairs, 0.5)), 3)
    row.added_p99_ms = round(statistics.median(added_ms(pairs, 0.99)), 3)
    row.rss_mb = round(memory_of(target.pids), 1)
    return row


def table(rows: Sequence[Row]) -> list[str]:
    """Write the rows as a Markdown table."""
    lines = [
        "| gateway | version | req/s | connections | added p50, p99 ms | SSE | MB | what it does for each call |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.missing:
            lines.append(f"| {row.name} | {row.version} | not measured: {_cell(row.missing)} | | | | | {row.does} |")
            continue
        failed = f" ({row.failures:,} failed)" if row.failures else ""
        lines.append(
            f"| {row.name} | {row.version} | {row.rps:,.0f}{failed} | {row.connections} |"
            f" {row.added_p50_ms:.2f}, {row.added_p99_ms:.2f} | {_cell(row.sse)} | {row.rss_mb:.0f} | {row.does} |"
        )
    return lines


def _cell(text: str) -> str:
    """Keep a text from ending a table's cell."""
    return text.replace("|", "/").replace("\n", " ")
