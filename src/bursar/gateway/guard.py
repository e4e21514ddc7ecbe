"""Stop agent runs that go in circles or too deep, with a reason the agent can read."""

from bursar.budgets.runs import Runs, depth_below, enter, leave, times_before
from bursar.core.errors import BooksError, Forbidden
from bursar.core.ids import CALL_PREFIX, call_name
from bursar.gateway.control import Control
from bursar.gateway.passage import Passage
from bursar.store.runs import depth_of
from bursar.wires.turns import turn_digest


class Guard:
    """Watch the runs whose holders ask for it."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._runs = Runs()

    async def check(self, passage: Passage) -> None:
        """Check that a call's run may go on. Raises `Forbidden` saying why it may not."""
        call, claim = passage.call, passage.claim
        run = self._runs.find(call.key_id, call.run)
        if claim.repeats_max is not None:
            passage.turn = turn_digest(passage.body)
            times = times_before(run, passage.turn)
            if times >= claim.repeats_max:
                raise Forbidden(
                    f"run {call.run!r} is stopped: it has made this same turn {times} times already and would go on in"
                    " a circle; change what it says or does, or begin another run",
                    code="run_repeats_itself",
                    details={"run": call.run, "times": str(times)},
                )
        if claim.depth_max is not None:
            depth = depth_below(run, call.parent)
            if depth is None:
                depth = depth_below(run, call.parent, await self._depth(passage, claim.depth_max)) or 2
            if depth > claim.depth_max:
                raise Forbidden(
                    f"run {call.run!r} is too deep: this call lies {depth} calls below one another, and"
                    f" {claim.depth_max} are allowed; let a call further up do the work",
                    code="run_too_deep",
                    details={"run": call.run, "depth": str(depth)},
                )
            enter(run, call_name(call.call_id), depth)

    def answered(self, passage: Passage) -> None:
        """Remember the turn of a call that was answered."""
        if passage.turn:
            leave(self._runs.find(passage.call.key_id, passage.call.run), passage.turn)

    async def _depth(self, passage: Passage, most: int) -> int | None:
        """Ask the books how deep a call's parent lies; another gateway may have made it."""
        call = passage.call
        if not call.parent.startswith(CALL_PREFIX):  # a step's name
            return None
        try:
            return await self._control.run(lambda connection: depth_of(connection, call.run, call.parent, most + 1))
        except BooksError:
            return None
