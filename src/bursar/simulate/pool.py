"""Hold the blocks of a key-value cache: who uses them, and what those that nobody uses still remember."""

from collections import OrderedDict
from collections.abc import Sequence

from bursar.simulate.engine import BLOCK_TOKENS


class Pool:
    """Count the free blocks, and remember what they held until their room is taken, the longest unused first.

    Blocks are counted in runs, not one by one. A run that nobody uses is either a piece of a prompt, by its name, or
    blocks of one request, by a number below 0. Pieces in use are counted in `users`.
    """

    __slots__ = ("_idle", "_made", "_waste", "free", "piece_blocks", "remembers", "users")

    def __init__(self, blocks: int, piece_blocks: int, *, remembers: bool) -> None:
        self.free = blocks
        self.piece_blocks = piece_blocks
        self.remembers = remembers
        self.users: dict[int, int] = {}
        self._idle: OrderedDict[int, int] = OrderedDict({-1: blocks})
        self._made = 1
        self._waste = -1

    def take(self, blocks: int) -> None:
        """Use free blocks, those unused longest first; what they remember is lost."""
        self.free -= blocks
        assert self.free >= 0, "more blocks are taken than are free"
        if not self.remembers:
            return
        idle = self._idle
        while blocks:
            key = next(iter(idle))
            held = idle[key]
            if held > blocks and key < 0:  # of a request the first blocks are left
                idle[key] = held - blocks
                return
            del idle[key]
            if held > blocks:  # the rest of a piece of a prompt is of no use
                name = self._name()
                idle[name] = held - blocks
                idle.move_to_end(name, last=False)
                return
            blocks -= held

    def give(self, blocks: int) -> int:
        """Free blocks of one request; return the name they are remembered by."""
        self.free += blocks
        if not (self.remembers and blocks):
            return 0
        name = self._name()
        self._idle[name] = blocks
        return name

    def drop(self, blocks: int) -> None:
        """Free blocks that nobody will ask for again."""
        self.free += blocks
        if not (self.remembers and blocks):
            return
        idle = self._idle
        if not idle or next(reversed(idle)) != self._waste:
            self._waste = self._name()
            idle[self._waste] = 0
        idle[self._waste] += blocks

    def left(self, name: int) -> int:
        """Count the blocks that are left of those remembered by a name."""
        return self._idle.get(name, 0) if name else 0

    def again(self, name: int, blocks: int) -> None:
        """Use the first blocks of those remembered by a name once more."""
        self.free -= blocks
        rest = self._idle[name] - blocks
        if rest:
            self._idle[name] = rest
        else:
            del self._idle[name]

    def known(self, pieces: Sequence[int]) -> tuple[int, int]:
        """Count the pieces, from the first on, that are remembered, and how many of them somebody uses."""
        found = used = 0
        for piece in pieces:
            if piece in self.users:
                used += 1
            elif piece not in self._idle:
                break
            found += 1
        return found, used

    def share(self, pieces: Sequence[int]) -> None:
        """Use pieces that are remembered."""
        for piece in pieces:
            users = self.users.get(piece, 0)
            if not users:
                self.free -= self._idle.pop(piece)
            self.users[piece] = users + 1

    def learn(self, piece: int) -> bool:
        """Remember blocks in use as a piece of a prompt, unless it is known; say whether it was new."""
        if piece in self.users or piece in self._idle:
            return False
        self.users[piece] = 1
        return True

    def leave(self, pieces: Sequence[int]) -> None:
        """Use pieces no longer; the last of a prompt is forgotten first."""
        for piece in reversed(pieces):
            users = self.users[piece] - 1
            if users:
                self.users[piece] = users
            else:
                del self.users[piece]
                self._idle[piece] = self.piece_blocks
                self.free += self.piece_blocks

    def _name(self) -> int:
        self._made += 1
        return -self._made


def piece_count(input_tokens: int, prefix_tokens: int) -> int:
    """Count the pieces of a prompt that can be shared: whole ones, with at least one token left to be read."""
    return (input_tokens - 1) // prefix_tokens


def piece_blocks(prefix_tokens: int) -> int:
    """Count the blocks of a piece."""
    return prefix_tokens // BLOCK_TOKENS
