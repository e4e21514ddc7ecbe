"""Simulate a replica the slow way: every block an object, every step made, every token counted."""

from collections import deque
from dataclasses import dataclass, field

from bursar.simulate.engine import BATCH, Engine
from bursar.simulate.timer import Timer
from bursar.simulate.trace import Trace


@dataclass(eq=False)
class Block:
    users: int = 0
    holds: tuple | None = None


@dataclass(eq=False)
class Sequence:
    index: int
    priority: int
    known: int  # tokens whose values are known: the prompt and the answer so far
    cached: int = 0
    blocks: list[Block] = field(default_factory=list)
    pieces: int = 0
    lost: "tuple[list[Block], int, int] | None" = None

    @property
    def rank(self) -> tuple[int, int]:
        return self.priority, self.index


class Naive:
    def __init__(self, engine: Engine, timer: Timer, trace: Trace) -> None:
        self.engine, self.timer, self.trace = engine, timer, trace
        self.free: deque[Block] = deque(Block() for _ in range(engine.blocks))
        self.pieces: dict[int, list[Block]] = {}
        self.arrivals = deque(
            Sequence(i, trace.priority[i] if trace.priority else 0, trace.input_tokens[i]) for i in range(len(trace))
        )
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.ended: list[tuple[int, Sequence]] = []
        self.step, self.clock_s, self.decided_s = 0, 0.0, 0.0
        self.first_s, self.end_s = [-1.0] * len(trace), [-1.0] * len(trace)
        self.preemptions, self.hit_tokens = [0] * len(trace), [0] * len(trace)
        self.blocks_used: list[int] = []

    def run(self) -> "Naive":
        while self.arrivals or self.waiting or self.running:
            planned = self.plan()
            if not planned:
                self.decided_s = self.clock_s
                self.release(everyone=True)
                planned = self.plan()
            if not planned:
                self.clock_s = self.decided_s = self.trace.arrival_s[self.arrivals[0].index]
                planned = self.plan()
            self.do(planned)
        return self

    def plan(self) -> dict[Sequence, int]:
        self.release()
        while self.arrivals and self.trace.arrival_s[self.arrivals[0].index] <= self.decided_s:
            self.waiting.append(self.arrivals.popleft())
        put_aside = False
        while sum(map(self.missing, self.running)) > len(self.free):
            self.put_aside(max(self.running, key=lambda each: each.rank))
            put_aside = True
        planned = {each: self.share(each) for each in self.running}
        for each, tokens in planned.items():
            self.grow(each, each.cached + tokens)
        for each, tokens in planned.items():
            self.learn(each, each.cached + tokens)
        while self.waiting and not put_aside:
            each = min(self.waiting, key=lambda each: each.rank)
            left = self.engine.step_tokens - sum(planned.values())
            if not left or len(self.running) + len(self.ended) >= self.engine.sequences or not self.enter(each):
                break
            planned[each] = min(each.known - each.cached, left)
            self.grow(each, each.cached + planned[each])
            self.learn(each, each.cached + planned[each])
        return planned

    def share(self, each: Sequence) -> int:
        decodes = sum(other.known - other.cached == 1 and other.cached >= self.prompt(other) for other in self.running)
        if each.cached >= self.prompt(each):
            return 1
        return min(each.known - each.cached, self.engine.step_tokens - decodes)

    def prompt(self, each: Sequence) -> int:
        """Give the tokens that are read before it decodes: one that was put aside reads its answer again, too."""
        return each.reads if hasattr(each, "reads") else self.trace.input_tokens[each.index]

    def missing(self, each: Sequence) -> int:
        return max(-(-(each.cached + self.share(each)) // 16) - len(each.blocks), 0)

    def grow(self, each: Sequence, tokens: int) -> None:
        while len(each.blocks) * 16 < tokens:
            block = self.free.popleft()
            if block.holds and block.holds[0] == "piece":
                # A piece that lost a block is of no use: nobody finds it any more.
                for other in self.pieces.pop(block.holds[1], []):
                    other.holds = None
            block.holds, block.users = None, 1
            each.blocks.append(block)

    def enter(self, each: Sequence) -> bool:
        found, blocks = self.find(each)
        busy = sum(block.users > 0 for block in blocks)
        needed = -(-each.known // 16) - busy
        reserve = self.engine.reserve if each.priority >= BATCH and len(self.free) < self.engine.blocks else 0
        if needed > len(self.free) - reserve:
            return False
        for block in blocks:
            if not block.users:
                self.free.remove(block)
            block.users += 1
        each.blocks, each.pieces, each.cached = list(blocks), found, 16 * len(blocks)
        if not self.preemptions[each.index]:
            self.hit_tokens[each.index] = each.cached
        each.lost = None
        each.reads = each.known
        self.waiting.remove(each)
        self.running.append(each)
        return True

    def find(self, each: Sequence) -> tuple[int, list[Block]]:
        if not self.engine.prefix_cache:
            return 0, []
        blocks: list[Block] = []
        found = 0
        for name in self.names(each):
            if name not in self.pieces:
                break
            blocks += self.pieces[name]
            found += 1
        if each.lost and each.lost[1] == found:
            for number, block in enumerate(each.lost[0][: each.lost[2]]):
                if block.holds != ("own", each.index, self.preemptions[each.index], number):
                    break
                blocks.append(block)
        return found, blocks

    def names(self, each: Sequence) -> list[int]:
        if not self.trace.prefix:
            return []
        count = (self.trace.input_tokens[each.index] - 1) // self.trace.prefix_tokens
        return list(self.trace.prefix[each.index][:count])

    def learn(self, each: Sequence, tokens: int) -> None:
        if not self.engine.prefix_cache:
            return
        size = self.trace.prefix_tokens // 16
        for name in self.names(each)[each.pieces : tokens // self.trace.prefix_tokens]:
            place = slice(each.pieces * size, (each.pieces + 1) * size)
            known = self.pieces.get(name)
            if known is None:
                self.pieces[name] = each.blocks[place]
                for block in each.blocks[place]:
                    block.holds = ("piece", name)
            else:
                for block in known:
                    if not block.users:
                        self.free.remove(block)
                    block.users += 1
                for block in each.blocks[place]:
                    block.users = 0
                    self.free.append(block)
                each.blocks[place] = known
            each.pieces += 1

    def give_back(self, each: Sequence) -> None:
        for block in reversed(each.blocks):
            block.users -= 1
            if not block.users:
                self.free.append(block)
        each.blocks = []

    def put_aside(self, each: Sequence) -> None:
        self.preemptions[each.index] += 1
        own = each.blocks[each.pieces * (self.trace.prefix_tokens // 16) :]
        for number, block in enumerate(own):
            block.holds = ("own", each.index, self.preemptions[each.index], number)
        each.lost = (own, each.pieces, each.cached // 16 - (len(each.blocks) - len(own)))
        self.give_back(each)
        each.cached = each.pieces = 0
        self.running.remove(each)
        self.waiting.append(each)

    def release(self, *, everyone: bool = False) -> None:
        for due in [due for due in self.ended if everyone or due[0] <= self.step]:
            self.give_back(due[1])
            self.ended.remove(due)

    def do(self, planned: dict[Sequence, int]) -> None:
        reads = {each: n for each, n in planned.items() if each.cached < self.prompt(each)}
        decodes = [each for each in planned if each not in reads]
        context = sum(each.cached for each in decodes)
        if reads:
            tokens = sum(reads.values())
            past = sum(n * each.cached for each, n in reads.items()) / tokens
            seconds = self.timer.mixed(len(decodes), context, tokens, len(reads), past)
        else:
            base, slope, _ = self.timer.decode(len(decodes), context)
            seconds = base + slope * context
        self.blocks_used.append(self.engine.blocks - len(self.free))
        self.decided_s = self.clock_s if self.engine.ahead else self.clock_s + seconds
        self.clock_s += seconds
        self.step += 1
        for each, n in planned.items():
            each.cached += n
        for each in [*decodes, *(each for each in reads if each.cached == self.prompt(each))]:
            self.answer(each)

    def answer(self, each: Sequence) -> None:
        """Give a sequence its next token."""
        index = each.index
        made = each.known + 1 - self.trace.input_tokens[index]
        if self.first_s[index] < 0 and self.trace.output_tokens[index]:
            self.first_s[index] = self.clock_s
        each.known += 1
        if made >= self.trace.output_tokens[index]:
            self.end_s[index] = self.clock_s
            self.running.remove(each)
            self.ended.append((self.step + (1 if self.engine.ahead else 0), each))
