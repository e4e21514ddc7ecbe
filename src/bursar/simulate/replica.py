"""Run one replica: decide who is in the batch, then jump over the steps in which nothing changes.

Between an admission, an end and the moment at which blocks run out, the batch is the same and each step's context is
one token longer a sequence than that of the step before. So the time of n steps is a sum that needs no loop, and the
blocks they take follow from how many sequences stand at each place within a block.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf, sqrt
from typing import Final

from bursar.simulate.engine import BATCH, BLOCK_TOKENS, Engine, blocks_of
from bursar.simulate.journal import Journal, Timeline, Work
from bursar.simulate.pool import Pool, piece_blocks, piece_count
from bursar.simulate.timer import Line, Timer
from bursar.simulate.trace import Trace

RANK_BITS: Final = 32
"""A rank is a request's priority above these bits and its place in the trace below: the smallest goes first."""

_INDEX: Final = (1 << RANK_BITS) - 1
_IN_BLOCK: Final = BLOCK_TOKENS - 1


@dataclass(slots=True)
class _Reading:
    """Hold the one prompt that is read in part: its tokens, and those that are in the cache."""

    rank: int
    tokens: int
    done: int


@dataclass(slots=True)
class _Chunks:
    """Add up the prompts that a step reads: how many, their tokens, and tokens times those before them."""

    count: int = 0
    tokens: int = 0
    past: int = 0
    squares: int = 0

    def add(self, tokens: int, past: int) -> None:
        self.count += 1
        self.tokens += tokens
        self.past += tokens * past
        self.squares += tokens * tokens


@dataclass(frozen=True, slots=True)
class _Aside:
    """Hold what is left of a request that was put aside: tokens to read again, and blocks that may be remembered."""

    tokens: int
    name: int
    pieces: int
    blocks: int


class Replica:
    """Serve requests of a trace, handed over in order of arrival.

    Steps are numbered, and one in which nothing runs does not exist. A decoding sequence's tokens in the cache are its
    offset and the number of the step, so they need no counting. What is decided is a plan of one or more steps; a plan
    is carried out when its end has come, and cut when a request arrives meanwhile.
    """

    __slots__ = (
        "_arriving", "_aside", "_at_place", "_context", "_decided_s", "_ends", "_engine", "_first_s", "_growth_s",
        "_held", "_input", "_journal", "_leaving", "_line", "_line_decodes", "_line_from", "_pieces", "_plan", "_pool",
        "_read", "_reading", "_running", "_step", "_timer", "_trace", "_waiting", "clock_s", "plan_end_s", "timeline",
        "work",
    )  # fmt: skip

    def __init__(self, engine: Engine, timer: Timer, trace: Trace, journal: Journal, timeline: Timeline) -> None:
        self._engine, self._timer, self._trace, self._journal = engine, timer, trace, journal
        self._input, self._pieces = trace.input_tokens, trace.prefix if engine.prefix_cache else ()
        self.timeline, self.work = timeline, Work()
        self._pool = Pool(engine.blocks, piece_blocks(trace.prefix_tokens), remembers=engine.prefix_cache)
        self.clock_s = self._decided_s = self.plan_end_s = 0.0
        self._first_s = self._growth_s = 0.0
        self._plan = self._step = self._context = 0
        self._arriving: list[int] = []
        self._waiting: list[int] = []
        self._running: dict[int, int] = {}
        self._ends: list[tuple[int, int]] = []
        self._read: list[tuple[int, int]] = []
        self._reading: _Reading | None = None
        self._leaving: list[tuple[int, int, list[int]]] = []
        self._held: dict[int, list[int]] = {}
        self._aside: dict[int, _Aside] = {}
        self._at_place = [0] * BLOCK_TOKENS
        self._line: Line = (0.0, 0.0, -1.0)
        self._line_decodes = self._line_from = -1

    @property
    def outstanding(self) -> int:
        """Count the requests that were handed over and are not answered."""
        return (
            len(self._arriving)
            + len(self._waiting)
            + len(self._running)
            + len(self._read)
            + (self._reading is not None)
        )

    @property
    def due_s(self) -> float:
        """Give the moment up to which nothing of what is outstanding changes."""
        if self._plan:
            return self.plan_end_s
        return self.clock_s if self.outstanding else inf

    def advance(self, until_s: float) -> None:
        """Carry out every plan that ends by a moment, up to which all arrivals are handed over."""
        while True:
            if not self._plan and (self.clock_s >= until_s or not self._decide(until_s)):
                return
            if self.plan_end_s > until_s:
                return
            self._carry_out()

    def hand_over(self, rank: int, at_s: float) -> None:
        """Take a request that arrives now, after `advance` to this moment."""
        waiting = self._waiting
        if self._plan > 1 and (not waiting or rank < waiting[0]):
            self._cut(at_s)
        self._arriving.append(rank)

    def _decide(self, until_s: float) -> bool:
        """Plan the next steps; say whether there is anything to do."""
        if self._try():
            return True
        # Nothing could be planned ahead, so it is planned when the step before has ended.
        self._decided_s = self.clock_s
        self._release(self._step + 2)
        if self._try():
            return True
        if not self._arriving:
            return False
        at_s = self._trace.arrival_s[self._arriving[0] & _INDEX]
        self.clock_s = self._decided_s = at_s
        return at_s < until_s and self._try()

    def _try(self) -> bool:
        self._release(self._step)
        self._gather()
        chunks = _Chunks()
        settled = self._make_room()
        if self._reading is not None:
            self._read_on(self._reading, chunks)
        if settled and self._waiting:
            self._admit(chunks)
        if chunks.count:
            decodes = len(self._running)
            past = chunks.past / chunks.tokens
            seconds = self._timer.mixed(decodes, self._context, chunks.tokens, chunks.count, past)
            self._plan, self.plan_end_s = 1, self.clock_s + seconds
            self._first_s, self._growth_s = seconds, 0.0
            self.work.prefill_steps += 1
            self.work.prefill_tokens += chunks.tokens
            self.work.prefill_pairs += chunks.past + chunks.squares / 2
            return True
        if not self._running:
            return False
        self._jump(settled=settled)
        return True

    def _release(self, step: int) -> None:
        """Free what belonged to requests that ended, as far as the engine knows of it in a step."""
        leaving = self._leaving
        while leaving and leaving[0][0] <= step:
            _, blocks, pieces = leaving.pop(0)
            self._pool.drop(blocks)
            if pieces:
                self._pool.leave(pieces)

    def _gather(self) -> None:
        """Let those wait in line who came before the step was decided."""
        arriving, arrival_s, count = self._arriving, self._trace.arrival_s, 0
        for rank in arriving:
            if arrival_s[rank & _INDEX] > self._decided_s:
                break
            heappush(self._waiting, rank)
            count += 1
        if count:
            del arriving[:count]

    def _make_room(self) -> bool:
        """Take the blocks of this step, putting requests aside where there are too few; say whether none was."""
        pool, settled = self._pool, True
        needed = self._needed()
        while needed > pool.free:
            ranks = list(self._running)
            if self._reading is not None:
                ranks.append(self._reading.rank)
            self._put_aside(max(ranks))
            settled, needed = False, self._needed()
        pool.take(needed)
        return settled

    def _needed(self) -> int:
        needed = self._at_place[-self._step & _IN_BLOCK]
        reading = self._reading
        if reading is not None:
            needed += blocks_of(reading.done + self._chunk(reading)) - blocks_of(reading.done)
        return needed

    def _chunk(self, reading: _Reading) -> int:
        return min(reading.tokens - reading.done, self._engine.step_tokens - len(self._running))

    def _put_aside(self, rank: int) -> None:
        """Free what a request holds; it is to be read in again, its answer so far included."""
        index = rank & _INDEX
        reading = self._reading
        if reading is not None and reading.rank == rank:
            held, tokens = reading.done, reading.tokens
            self._reading = None
        else:
            held = self._forget(rank)
            tokens = held + 1
        pieces = self._held.pop(index, [])
        shared = len(pieces) * self._pool.piece_blocks
        name = self._pool.give(blocks_of(held) - shared)
        self._pool.leave(pieces)
        self._aside[index] = _Aside(tokens, name, len(pieces), held // BLOCK_TOKENS - shared)
        heappush(self._waiting, rank)
        self._journal.preemptions[index] += 1
        self.work.preemptions += 1

    def _forget(self, rank: int) -> int:
        """Take a sequence out of the batch; return its tokens in the cache."""
        offset = self._running.pop(rank)
        self._at_place[offset & _IN_BLOCK] -= 1
        held = offset + self._step
        self._context -= held
        return held

    def _read_on(self, reading: _Reading, chunks: _Chunks) -> None:
        chunk = self._chunk(reading)
        chunks.add(chunk, reading.done)
        self._reading = None
        self._has_read(_Reading(reading.rank, reading.tokens, reading.done + chunk))

    def _has_read(self, reading: _Reading) -> None:
        """Note how far a prompt is read when this step ends."""
        if self._pieces:
            self._learn(reading.rank & _INDEX, reading.done)
        if reading.done == reading.tokens:
            self._read.append((reading.rank, reading.tokens))
        else:
            self._reading = reading

    def _learn(self, index: int, done: int) -> None:
        """Remember the pieces of a prompt that are read; one that somebody else has made is shared."""
        size, held = self._trace.prefix_tokens, self._held[index]
        count = min(done // size, piece_count(self._input[index], size), len(self._pieces[index]))
        for piece in self._pieces[index][len(held) : count]:
            if not self._pool.learn(piece):
                self._pool.share((piece,))
                self._pool.drop(self._pool.piece_blocks)
            held.append(piece)

    def _admit(self, chunks: _Chunks) -> None:
        """Let requests into the batch, in order, while there are seats, tokens and blocks.

        Where a prompt is read in part, it has taken all tokens of the step, so that nobody comes in beside it.
        """
        waiting = self._waiting
        budget = self._engine.step_tokens - len(self._running) - chunks.tokens
        seats = self._engine.sequences - len(self._running) - len(self._leaving) - len(self._read)
        while waiting and budget > 0 and seats > 0:
            before = chunks.tokens
            if not self._enter(waiting[0], budget, chunks):
                return
            heappop(waiting)
            budget -= chunks.tokens - before
            seats -= 1

    def _enter(self, rank: int, budget: int, chunks: _Chunks) -> bool:
        """Let a request in if all its prompt fits; say whether it did."""
        index, pool = rank & _INDEX, self._pool
        aside = self._aside.get(index)
        tokens = aside.tokens if aside is not None else self._input[index]
        pieces, used, done, again = self._remembered(index, aside) if self._pieces or aside else ((), 0, 0, 0)
        needed = blocks_of(tokens) - used * pool.piece_blocks
        if needed > pool.free - self._kept_from(rank):
            return False
        if pieces:
            pool.share(pieces)
        if aside is not None:
            del self._aside[index]
            if again:
                pool.again(aside.name, again)
        else:
            self._journal.hit_tokens[index] = done
        if self._pieces:
            self._held[index] = list(pieces)
        chunk = min(tokens - done, budget)
        pool.take(blocks_of(done + chunk) - done // BLOCK_TOKENS)
        chunks.add(chunk, done)
        self._has_read(_Reading(rank, tokens, done + chunk))
        return True

    def _kept_from(self, rank: int) -> int:
        """Count the free blocks a request may not take: the batch lane's reserve, unless nobody else has any.

        Without that exception a request of the batch lane that needs more than the rest would wait for ever.
        """
        if rank >> RANK_BITS < BATCH or self._pool.free == self._engine.blocks:
            return 0
        return self._engine.reserve

    def _remembered(self, index: int, aside: _Aside | None) -> tuple[tuple[int, ...], int, int, int]:
        """Find what the cache has of a prompt: pieces, how many are in use, tokens in all, own blocks among them."""
        pool, size = self._pool, self._trace.prefix_tokens
        pieces: tuple[int, ...] = ()
        used = again = 0
        if self._pieces:
            names = tuple(self._pieces[index][: piece_count(self._input[index], size)])
            found, used = pool.known(names)
            pieces = names[:found]
        if aside is not None and len(pieces) == aside.pieces:
            again = min(pool.left(aside.name), aside.blocks)
        return pieces, used, len(pieces) * size + again * BLOCK_TOKENS, again

    def _jump(self, *, settled: bool) -> None:
        """Plan as many steps as the batch stays the same for; one where requests were put aside and may come back."""
        decodes, context, step, ends = len(self._running), self._context, self._step, self._ends
        if self._line_decodes != decodes or not self._line_from <= context <= self._line[2]:
            self._line = self._timer.decode(decodes, context)
            self._line_decodes, self._line_from = decodes, context
        base, slope, until = self._line
        while not self._is_end(*ends[0]):
            heappop(ends)
        steps = ends[0][0] - step + 1 if settled else 1
        if self._leaving:
            steps = min(steps, self._leaving[0][0] - step)
        if context + steps * decodes > until:
            steps = min(steps, int((until - context) // decodes) + 1)
        if (steps // BLOCK_TOKENS + 1) * decodes > self._pool.free:
            steps = self._steps_in(self._pool.free, steps)
        self._first_s, self._growth_s = base + slope * context, slope * decodes
        self._plan, self.plan_end_s = steps, self.clock_s + self._seconds(steps)
        if self._arriving and steps > 1:
            self._cut(self._trace.arrival_s[self._arriving[0] & _INDEX])

    def _is_end(self, step: int, rank: int) -> bool:
        """Tell an end that will come from one of a request that was put aside since."""
        index = rank & _INDEX
        final = self._input[index] + self._trace.output_tokens[index] - 2
        return rank in self._running and self._running[rank] + step == final

    def _steps_in(self, free: int, steps: int) -> int:
        """Count the steps, at most `steps`, whose blocks are free; those of the first are taken already."""
        rounds = free // max(len(self._running), 1)
        count, free = 1 + rounds * BLOCK_TOKENS, free - rounds * len(self._running)
        while count < steps and (needed := self._at_place[-(self._step + count) & _IN_BLOCK]) <= free:
            free -= needed
            count += 1
        return min(count, steps)

    def _seconds(self, steps: int) -> float:
        return steps * self._first_s + self._growth_s * (steps * (steps - 1) // 2)

    def _cut(self, at_s: float) -> None:
        """End the plan where a request that arrives at a moment can be let in."""
        count = 0
        if (wanted_s := at_s - self.clock_s) > 0:
            half = self._growth_s / 2
            linear = self._first_s - half
            count = ceil(wanted_s / linear)
            if half > 1e-9 * linear:
                count = ceil((sqrt(linear * linear + 4 * half * wanted_s) - linear) / (2 * half))
            # The root may be off by its last digit.
            while self.clock_s + self._seconds(count) < at_s:
                count += 1
            while self.clock_s + self._seconds(count - 1) >= at_s:
                count -= 1
        count = max(count + self._engine.ahead, 1)
        if count < self._plan:
            self._plan, self.plan_end_s = count, self.clock_s + self._seconds(count)

    def _carry_out(self) -> None:
        """Let the planned steps be done."""
        steps, decodes, work, pool = self._plan, len(self._running), self.work, self._pool
        used = self._engine.blocks - pool.free
        if steps > 1:
            pool.take(self._taken(steps))
        start_s, end_s = self.clock_s, self.plan_end_s
        blocks = self._engine.blocks - pool.free
        work.busy_s += end_s - start_s
        work.block_s += (end_s - start_s) * (used + blocks) / 2
        work.blocks_max = max(work.blocks_max, blocks)
        work.steps += steps
        work.decode_tokens += steps * decodes
        work.context_tokens += steps * self._context + decodes * (steps * (steps - 1) // 2)
        self._decided_s = start_s + self._seconds(steps - 1) if self._engine.ahead else end_s
        self._context += steps * decodes
        self._step += steps
        self.clock_s, self._plan = end_s, 0
        ends = self._ends
        while ends and ends[0][0] < self._step:
            step, rank = heappop(ends)
            if self._is_end(step, rank):
                self._end(rank, self._forget(rank))
        if self._read:
            self._join()
        if end_s >= self.timeline.next_s:
            self.timeline.note(end_s, len(self._running) + (self._reading is not None), len(self._waiting), blocks)

    def _taken(self, steps: int) -> int:
        """Count the blocks that the steps after the first of a plan take."""
        rounds, rest = divmod(steps - 1, BLOCK_TOKENS)
        at_place, step = self._at_place, self._step
        return rounds * len(self._running) + sum(at_place[-(step + 1 + each) & _IN_BLOCK] for each in range(rest))

    def _join(self) -> None:
        """Give prompts that are read their first token, and let them decode from here on."""
        output, first_s, clock_s = self._trace.output_tokens, self._journal.first_s, self.clock_s
        for rank, tokens in self._read:
            index = rank & _INDEX
            if first_s[index] < 0 and output[index]:
                first_s[index] = clock_s
            made = tokens - self._input[index] + 1
            if made >= output[index]:
                self._end(rank, tokens)
                continue
            offset = tokens - self._step
            self._running[rank] = offset
            self._at_place[offset & _IN_BLOCK] += 1
            self._context += tokens
            heappush(self._ends, (self._step + output[index] - made - 1, rank))
        self._read.clear()

    def _end(self, rank: int, held: int) -> None:
        index = rank & _INDEX
        self._journal.end_s[index] = self.clock_s
        pieces = self._held.pop(index, [])
        blocks = blocks_of(held) - len(pieces) * self._pool.piece_blocks
        if self._engine.ahead:
            self._leaving.append((self._step + 1, blocks, pieces))
            return
        self._pool.drop(blocks)
        self._pool.leave(pieces)
