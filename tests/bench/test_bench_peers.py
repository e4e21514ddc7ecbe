"""A peer is installed, started, checked and stopped; one that cannot be says why."""

import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from inline_snapshot import snapshot

from bench.comparison import Row, ratio, table
from bench.harness import ROOT
from bench.peers import CHAT, PEERS, Missing, Peer, check_json, check_stream, install, memory_of, run_tool, started
from bench.stage import MODEL

ALIKE = Peer(
    id="alike",
    name="The provider itself",
    version="1",
    does="nothing",
    files={"server.py": "import asyncio\nfrom bench.mock import main\nasyncio.run(main($port))\n"},
    command=(sys.executable, "server.py"),
    environment={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    headers={"authorization": "Bearer $key"},
)


def test_a_peer_runs_answers_and_is_gone_afterwards(tmp_path: Path) -> None:
    with started(ALIKE, 1, tmp_path) as peer:
        asked = (peer.port, CHAT, MODEL, peer.headers)
        assert peer.headers["authorization"].startswith("Bearer sk-")
        assert (check_json(*asked), check_stream(*asked)) == ("", "")
        assert memory_of(peer.pids) > 5
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", peer.port))
    assert memory_of(peer.pids) == 0


def test_a_peer_that_does_not_start_says_its_last_words(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(ALIKE, files={"server.py": "raise SystemExit('no licence')"})
    with pytest.raises(Missing, match="it does not start: no licence"), started(broken, 1, tmp_path):
        pass
    absent = msgspec.structs.replace(ALIKE, command=("no-such-program",))
    with pytest.raises(Missing, match="no-such-program"), started(absent, 1, tmp_path):
        pass


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ([sys.executable, "-c", "raise SystemExit('see https://a.example/x')"], "ended with 1: see ..."),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3: no word"),
        (["no-such-program", "install"], "no-such-program install: No such file or directory"),
    ],
)
def test_what_cannot_be_installed_says_why(command: list[str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(Missing, match=re.escape(reason) + "$"):
        run_tool(command, tmp_path)


def test_a_peer_that_is_installed_is_not_installed_again_and_half_a_one_is(tmp_path: Path) -> None:
    home = install(ALIKE, tmp_path)
    kept = home / "kept"
    kept.touch()
    assert install(ALIKE, tmp_path) == home
    assert kept.exists()
    install(msgspec.structs.replace(ALIKE, version="2"), tmp_path)
    assert not kept.exists()
    kept.touch()
    (home / "installed").unlink()
    install(ALIKE, tmp_path)
    assert not kept.exists()


@pytest.fixture
def refusing() -> Iterator[int]:
    """Be a server that refuses everything."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 12\r\n\r\nno|such|host")

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def test_a_wrong_answer_is_shown(refusing: int) -> None:
    assert check_json(refusing, CHAT, MODEL, {}) == "no chat completion: b'no|such|host'"
    assert check_stream(refusing, CHAT, MODEL, {}) == "0 of 5 tokens: b'no|such|host'"


def test_every_peer_is_pinned_and_says_what_it_does() -> None:
    assert {"tensorzero", "portkey", "litellm"} <= {peer.id for peer in PEERS}
    for peer in PEERS:
        assert peer.does
        assert [name for name in peer.packages if "==" not in name] == []
        assert bool(peer.packages) != bool(peer.node_packages)
        assert peer.version in str(peer.packages) + str(peer.node_packages)


OURS = Row(name="Bursar", version="0", does="all", rps=2_000.0)


def test_aratio_says_when_the_other_figure_is_of_another_machine() -> None:
    there = msgspec.structs.replace(ALIKE, elsewhere_rps=1_000)
    here = ratio(there, Row(name="x", version="1", does="", rps=500.0), OURS)
    assert (here.id, here.value, here.note) == snapshot(
        ("gateway.x_alike", 4.0, "2,000 against 500 req/s; the same run")
    )
    elsewhere = ratio(there, Row(name="x", version="1", does="", missing="no npm"), OURS)
    assert (elsewhere.value, elsewhere.note) == snapshot(
        (2.0, "2,000 against 1,000 req/s; not measured here (no npm): a figure of another machine")
    )


def test_a_row_that_is_missing_names_its_reason() -> None:
    rows = [
        msgspec.structs.replace(OURS, added_p50_ms=0.2, added_p99_ms=1.0, sse="whole", rss_mb=99.6, failures=3),
        Row(name="Other", version="2", does="some", missing="no|npm"),
    ]
    assert table(rows)[2:] == snapshot(
        [
            "| Bursar | 0 | 2,000 (3 failed) | 0 | 0.20, 1.00 | whole | 100 | all |",
            "| Other | 2 | not measured: no/npm | | | | | some |",
        ]
    )
