"""Remember the vectors of the last texts, so that they can be made where time is and used where there is none."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from bursar.embed.embedder import Embedder, Floats

ASKED_MAX: Final = 256
"""How many times of asking are remembered: by a digest of their texts, which are not kept."""


class Remembering:
    """Be an embedder that answers at once what it was asked lately. Several threads may ask it."""

    def __init__(self, embedder: Embedder, asked_max: int = ASKED_MAX) -> None:
        self._embedder = embedder
        self._asked_max = asked_max
        self._made: dict[bytes, Floats] = {}

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return self._embedder.dimensions

    @property
    def name(self) -> str:
        """Return what it is known by: what is behind it."""
        return self._embedder.name

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Return one row a text, of length 1, or 0 where a text holds nothing it knows."""
        return self._of(b"", texts, self._embedder.vectors)

    def with_whole(self, texts: Sequence[str]) -> Floats:
        """Return the same, and a last row of all texts joined by line ends."""
        return self._of(b"whole", texts, self._embedder.with_whole)

    def _of(self, kind: bytes, texts: Sequence[str], make: Callable[[Sequence[str]], Floats]) -> Floats:
        digest = blake2b(kind, digest_size=16)
        for text in texts:
            data = text.encode(errors="surrogatepass")
            digest.update(b"%d:%b" % (len(data), data))
        name = digest.digest()
        found = self._made.get(name)
        if found is None:
            found = make(texts)
            self._made[name] = found
            for oldest in tuple(self._made)[: -self._asked_max]:
                self._made.pop(oldest, None)
        return found
