"""Decide what the simulated provider does with a request: deterministic, and steered by the request itself.

A token is four bytes of text. The answer's length follows from a hash of the prompt, unless the last user message
carries a stage direction:

    [[output=200 reasoning=50 ttft_ms=300 tpot_ms=20 fault=cut after=12 tool=get_weather]]

    output, reasoning   tokens to answer with (the request's cap still holds)
    ttft_ms, tpot_ms    time to the first token, and for each token
    fault               429, 500, 503, stall, cut, malformed, silent (no usage), overrun (the cap is ignored)
    after               tokens after which the answer is cut
    tool                call this tool instead of answering in words
"""

import hashlib
import re
from typing import Any, Final

import msgspec

from bursar.core.usage import Usage

TOKEN_BYTES: Final = 4
IMAGE_TOKENS: Final = 765
FAULTS: Final = ("429", "500", "503", "stall", "cut", "malformed", "silent", "overrun")
_WORDS: Final = [
    "the",
    "sum",
    "of",
    "all",
    "due",
    "and",
    "owed",
    "was",
    "set",
    "out",
    "in",
    "new",
    "ink",
    "ere",
    "any",
    "one",
    "had",
    "put",
    "pen",
    "to",
    "tax",
    "day",
]
_DIRECTION: Final = re.compile(r"\[\[([^\[\]]*)\]\]")


class Direction(msgspec.Struct, frozen=True):
    """Hold a stage direction."""

    output: int | None = None
    reasoning: int = 0
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    fault: str = ""
    after: int = 3
    tool: str = ""


class Play(msgspec.Struct, frozen=True):
    """Hold what will be answered."""

    text_tokens: int
    reasoning_tokens: int
    stopped_by_cap: bool
    direction: Direction
    seed: int
    script: str = ""  # what is answered word for word, in place of words of our own

    def word(self, index: int) -> str:
        """Return the token at a place in the answer: four bytes, of a script's end also fewer."""
        if self.script:
            return self.script[index * TOKEN_BYTES : (index + 1) * TOKEN_BYTES]
        word = _WORDS[(self.seed + index * index + 7 * index) % len(_WORDS)][:3]
        return word.ljust(3, "-") + " "

    def text(self, first: int = 0, last: int | None = None) -> str:
        """Return the answer's text between two tokens."""
        return "".join(self.word(index) for index in range(first, self.text_tokens if last is None else last))


def tokens_of(size: int) -> int:
    """Count the tokens of a text of `size` bytes."""
    return -(-size // TOKEN_BYTES)


def read_direction(text: str) -> Direction:
    """Find the stage direction in a text; one that cannot be read is none."""
    match = _DIRECTION.search(text)
    if match is None:
        return Direction()
    words = dict(part.split("=", 1) for part in match[1].split() if "=" in part)
    try:
        return msgspec.convert(words, Direction, strict=False)
    except msgspec.ValidationError:
        return Direction()


def play_for(prompt: bytes, last_user_text: str, cap: int | None, model: str, script: str = "") -> Play:
    """Decide on the answer to a prompt. Models that reason (o, gpt-5, gemini-2.5) do so for a fifth of their answer.

    `script` is what must be answered, in ASCII; the cap may cut it short.
    """
    direction = read_direction(last_user_text)
    seed = int.from_bytes(hashlib.sha256(prompt).digest()[:4], "big")
    wanted = direction.output if direction.output is not None else 8 + seed % 120
    reasoning = direction.reasoning
    if script:
        wanted = tokens_of(len(script))
    if direction.output is None and not reasoning and re.match(r"o\d|gpt-5|gemini-2\.5", model):
        reasoning = wanted // 5
    if cap is None or direction.fault == "overrun":
        return Play(wanted, reasoning, stopped_by_cap=False, direction=direction, seed=seed, script=script)
    reasoning = min(reasoning, cap)
    text = min(wanted, cap - reasoning)
    return Play(text, reasoning, stopped_by_cap=text < wanted, direction=direction, seed=seed, script=script)


class PromptCache:
    """Remember prompts' beginnings the way providers do. The moment is a parameter; times in seconds."""

    MIN_TOKENS: Final = 1_024
    BLOCK_TOKENS: Final = 128
    LIFETIMES_S: Final = {"5m": 300.0, "1h": 3_600.0}

    def __init__(self) -> None:
        self._until: dict[tuple[str, bytes], float] = {}

    def automatic(self, model: str, prompt: bytes, now_s: float) -> int:
        """Return how many tokens of a prompt are cached, as OpenAI does: in blocks, from 1,024 tokens on."""
        digest, hit = hashlib.sha256(), 0
        block = self.BLOCK_TOKENS * TOKEN_BYTES
        for end in range(block, len(prompt) + 1, block):
            digest.update(prompt[end - block : end])
            tokens = end // TOKEN_BYTES
            if tokens < self.MIN_TOKENS:
                continue
            key = (model, digest.digest())
            if self._until.get(key, 0) > now_s:
                hit = tokens
            self._until[key] = now_s + self.LIFETIMES_S["5m"]
        return hit

    def marked(self, model: str, parts: list[tuple[bytes, str]], now_s: float) -> Usage:
        """Divide a prompt's tokens as Anthropic does: read to the last cached mark, write from there to the last mark.

        `parts` are the pieces in order, each with the lifetime of the mark that follows it, empty without one.
        """
        digest, size = hashlib.sha256(), 0
        marks: list[tuple[tuple[str, bytes], int, str]] = []
        for piece, lifetime in parts:
            digest.update(piece)
            size += len(piece)
            if lifetime and tokens_of(size) >= self.MIN_TOKENS:
                marks.append(((model, digest.digest()), tokens_of(size), lifetime))
        read = max((tokens for key, tokens, _ in marks if self._until.get(key, 0) > now_s), default=0)
        written = {"5m": 0, "1h": 0}
        reached = read
        for key, tokens, lifetime in marks:
            if tokens > reached:
                written[lifetime] += tokens - reached
                reached = tokens
            self._until[key] = now_s + self.LIFETIMES_S[lifetime]
        return Usage(tokens_of(size) - reached, read, written["5m"], written["1h"])


def canonical(value: Any) -> bytes:
    """Write a part of a prompt as bytes, the same for the same content."""
    return msgspec.json.encode(value, order="deterministic")
