"""Make an embedder from the word somebody gave: the table that ships, a model in a folder, or one behind an address.

    static                                        the table that ships with Bursar
    local:FOLDER                                  a BERT's model.safetensors and vocab.txt, run in NumPy
    https://HOST/v1/embeddings#MODEL              an OpenAI-compatible server; its key is in BURSAR_EMBED_KEY

Texts leave this machine only in the third case, to the address that was named and no other.
"""

import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec
import numpy as np

from bursar import __version__
from bursar.core.errors import ConfigError, OperatorError
from bursar.embed.embedder import Embedder, Floats, unit
from bursar.embed.table import load
from bursar.gateway.embedders import read_folder

KEY_VARIABLE: Final = "BURSAR_EMBED_KEY"
BATCH_TEXTS: Final = 128
TIMEOUT_S: Final = 60.0
TRIES: Final = 4
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_NUMBER_MAX: Final = 1e9
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class _Row(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Row]


def embedder_of(word: str, environment: Mapping[str, str]) -> Embedder:
    """Make the embedder a word names. Raises `OperatorError` where it cannot be, saying what can."""
    if word == "static":
        return load()
    kind, _, rest = word.partition(":")
    if kind == "local" and rest:
        return read_folder(Path(rest))
    if kind in ("http", "https") and rest.startswith("//"):
        return Remote(word, environment.get(KEY_VARIABLE, ""))
    raise ConfigError(f"embedder is {word!r}; give static, local:FOLDER or https://HOST/v1/embeddings#MODEL")


class Remote:
    """Turn texts into vectors by asking a server that speaks OpenAI's embeddings.

    It is asked once when this is made, so that a wrong address, model or key is told at once. A text of nothing but
    blanks is not sent; its row is 0. Raises `OperatorError` for an answer that cannot be used.
    """

    def __init__(self, address: str, key: str, pause_s: float = 1.0) -> None:
        self._at = urlsplit(address)
        self._model = self._at.fragment
        self._key = key
        self._pause_s = pause_s
        self._name = address
        if not self._model or self._at.username is not None or not _has_place(self._at):
            raise ConfigError(
                f"embedder is {address!r}; give https://HOST/v1/embeddings#MODEL, and a key in {KEY_VARIABLE}"
            )
        if key and self._at.scheme == "http" and self._at.hostname not in _LOOPBACK:
            raise ConfigError(f"embedder {address} would be sent the key of {KEY_VARIABLE} unencrypted; use https")
        self._dimensions = len(self._asked(["dimensions"])[0])

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return self._dimensions

    @property
    def name(self) -> str:
        """Return what it is known by: its address and model."""
        return self._name

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, of length 1, or 0 where a text is blank."""
        rows = np.zeros((len(texts), self._dimensions), np.float32)
        said = [place for place, text in enumerate(texts) if text.strip()]
        for start in range(0, len(said), BATCH_TEXTS):
            places = said[start : start + BATCH_TEXTS]
            found = self._asked([texts[place] for place in places])
            if found.shape[1] != self._dimensions:
                raise self._unusable(f"vectors of {found.shape[1]} numbers where others had {self._dimensions}")
            rows[places] = found
        return unit(rows)

    def with_whole(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, and one of all of them joined by line ends."""
        return self.vectors([*texts, "\n".join(texts)])

    def _asked(self, texts: list[str]) -> Floats:
        """Ask for texts' vectors, (texts, dimensions), again after a pause where the server is busy."""
        body = msgspec.json.encode({"model": self._model, "input": texts, "encoding_format": "float"})
        status, answer = self._exchange(body)
        for tried in range(1, TRIES):
            if status != 429 and status < 500:
                break
            time.sleep(self._pause_s * 2 ** (tried - 1))
            status, answer = self._exchange(body)
        if status != 200:
            raise self._unusable(f"status {status}: {answer[:200].decode(errors='replace')}")
        try:
            rows = {row.index: row.embedding for row in msgspec.json.decode(answer, type=_Answer).data}
            found = np.array([rows[place] for place in range(len(texts))], np.float64)
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            raise self._unusable(f"no vectors, a row a text ({error!r})") from error
        if found.ndim != 2 or not found.shape[1] or not (np.abs(found) < _NUMBER_MAX).all():
            raise self._unusable("vectors without numbers, or with numbers beyond measure")
        return found.astype(np.float32)

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """Post a request over a connection of its own; a redirection is an answer, not a way."""
        headers = {"content-type": "application/json", "user-agent": f"bursar/{__version__}"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        connection = _connection(self._at)
        try:
            path = (self._at.path or "/") + (f"?{self._at.query}" if self._at.query else "")
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            data = answer.read(_ANSWER_BYTES_MAX + 1)
        except (OSError, HTTPException) as error:
            raise OperatorError(f"embedder {self._name} cannot be reached: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if len(data) > _ANSWER_BYTES_MAX:
            raise self._unusable(f"more than {_ANSWER_BYTES_MAX:,} bytes")
        return answer.status, data

    def _unusable(self, what: str) -> OperatorError:
        return OperatorError(f"embedder {self._name} answered {' '.join(what.split())}")


def _has_place(at: SplitResult) -> bool:
    """Tell whether an address has a host, and a port that can be one."""
    try:
        return bool(at.hostname) and at.port != 0
    except ValueError:
        return False


def _connection(at: SplitResult) -> HTTPConnection:
    """Return a connection not yet opened; certificates are verified."""
    assert at.hostname is not None
    if at.scheme == "https":
        return HTTPSConnection(at.hostname, at.port, timeout=TIMEOUT_S)
    return HTTPConnection(at.hostname, at.port, timeout=TIMEOUT_S)
