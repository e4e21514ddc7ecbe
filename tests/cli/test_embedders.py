"""A word names an embedder: the shipped table, a model in a folder, or a server asked over real HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from bursar.cli.embedders import BATCH_TEXTS, Remote, embedder_of
from bursar.core.errors import ConfigError, OperatorError
from bursar.embed.table import load
from tests.embed.weights import PIECES, safetensors, small_weights

ASKED = "expected a whole number"


class Server:
    """Speak OpenAI's embeddings: a vector is (length, blanks, 1); what was asked is noted, answers can be given."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, object]]] = []
        self.answers: list[tuple[int, bytes]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, answer = server.answers.pop(0) if server.answers else (200, self.rows(body["input"]))
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def rows(self, texts: list[str]) -> bytes:
                rows = [
                    {"object": "embedding", "index": n, "embedding": [len(t), t.count(" "), 1]}
                    for n, t in enumerate(texts)
                ]
                return json.dumps({"object": "list", "data": rows[::-1], "usage": {"prompt_tokens": 1}}).encode()

            def log_request(self, code: object = "-", size: object = "-") -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/embeddings?v=1#small"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def test_static_is_the_table_that_ships() -> None:
    assert embedder_of("static", {}).name == load().name


def test_a_folder_holds_a_bert(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors(small_weights()))
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (tmp_path / "config.json").write_text('{"num_attention_heads": 2, "hidden_size": 8}')

    found = embedder_of(f"local:{tmp_path}", {})

    assert found.name.startswith("bert-")
    assert found.vectors(["my card", "lost"]).shape == (2, 8)


def test_a_folder_that_holds_none_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"the folder needs model.safetensors and vocab.txt"):
        embedder_of(f"local:{tmp_path}", {})


@pytest.mark.parametrize(
    ("config", "complaint"),
    [("not JSON", "cannot be read"), ("[]", "cannot be read"), ('{"num_attention_heads": "2"}', "is '2'; " + ASKED)],
)
def test_a_folder_whose_settings_cannot_be_read_is_refused(tmp_path: Path, config: str, complaint: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors(small_weights()))
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (tmp_path / "config.json").write_text(config)

    with pytest.raises(OperatorError, match=complaint):
        embedder_of(f"local:{tmp_path}", {})


@pytest.mark.parametrize(
    "word", ["", "statics", "local:", "local", "openai", "https:host", "ftp://host/#m", "https://", "http://h/v1"]
)
def test_a_word_that_names_none_is_refused_with_those_that_do(word: str) -> None:
    with pytest.raises(ConfigError, match=r"embedder is .*https://HOST/v1/embeddings#MODEL"):
        embedder_of(word, {})


def test_a_server_is_asked_for_its_model_with_the_key(server: Server) -> None:
    found = embedder_of(server.url, {"BURSAR_EMBED_KEY": "sk-1"})
    rows = found.vectors(["two words", " \n", "one"])

    assert rows[1].tolist() == [0, 0, 0]
    assert rows[0] == pytest.approx(np.array([9, 1, 1]) / np.sqrt(83))
    assert (found.dimensions, found.name) == (3, server.url)
    path, headers, body = server.requests[-1]
    assert (path, headers["authorization"]) == ("/v1/embeddings?v=1", "Bearer sk-1")
    assert body == {"model": "small", "input": ["two words", "one"], "encoding_format": "float"}


def test_many_texts_go_in_batches_and_none_without_words(server: Server) -> None:
    found = Remote(server.url, "")
    rows = found.vectors(["word"] * BATCH_TEXTS + ["another word"])

    assert [len(body["input"]) for _, _, body in server.requests] == [1, BATCH_TEXTS, 1]
    assert rows[-1] == pytest.approx(np.array([12, 1, 1]) / np.sqrt(146))
    assert "authorization" not in server.requests[0][1]
    assert found.vectors([" "]).tolist() == [[0, 0, 0]]
    assert len(server.requests) == 3


def test_a_busy_server_is_asked_again(server: Server) -> None:
    found = Remote(server.url, "", pause_s=0.001)
    server.answers = [(429, b"busy"), (503, b"")]

    assert found.vectors(["a"]).any()
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ((401, b'{"error":\n"no key"}'), 'status 401: {"error": "no key"}'),
        ((302, b""), "status 302"),
        ((200, b"<html>"), "no vectors, a row a text"),
        ((200, b'{"data": []}'), "no vectors, a row a text"),
        ((200, b'{"data": [{"index": 1, "embedding": [1]}]}'), "no vectors, a row a text"),
        ((200, b'{"data": [{"index": 0, "embedding": []}]}'), "vectors without numbers"),
        ((200, b'{"data": [{"index": 0, "embedding": [1e39]}]}'), "vectors without numbers"),
        ((200, b'{"data": [{"index": 0, "embedding": [1, 2]}]}'), "vectors of 2 numbers where others had 3"),
    ],
)
def test_an_answer_that_cannot_be_used_is_told(server: Server, answer: tuple[int, bytes], complaint: str) -> None:
    found = Remote(server.url, "")
    server.answers = [answer]

    with pytest.raises(OperatorError) as raised:
        found.vectors(["a"])
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_server_that_stays_busy_is_told(server: Server) -> None:
    found = Remote(server.url, "", pause_s=0.001)
    server.answers = [(500, b"broken")] * 4

    with pytest.raises(OperatorError, match="answered status 500: broken"):
        found.vectors(["a"])


def test_a_server_that_is_not_there_is_told_at_once(server: Server) -> None:
    server.close()

    with pytest.raises(OperatorError, match="cannot be reached"):
        Remote(server.url, "")


def test_a_key_goes_over_no_open_line_and_an_address_holds_no_password() -> None:
    with pytest.raises(ConfigError, match="the key of BURSAR_EMBED_KEY unencrypted; use https"):
        Remote("http://models.example/v1/embeddings#m", "sk-1")
    for address in ("https://me:word@models.example/v1#m", "https://models.example:port/v1#m"):
        with pytest.raises(ConfigError, match="give https://HOST"):
            Remote(address, "")
