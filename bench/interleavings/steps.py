"""Take the steps of a schedule, drawn by weight, and bring a world to quiescence."""

from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from bench.interleavings.database import Fenced, Violation
from bench.interleavings.gateway import Gateway
from bench.interleavings.world import FACTORS, World, claim_of
from bursar.budgets.purse import IDLE_US, Ask
from bursar.budgets.tree import Claim
from bursar.core.times import DAY_US, MINUTE_US, SECOND_US
from bursar.ledger.journal import Closed

STEPS_MIN, STEPS_MAX = 15, 40
_ROUNDS_MAX: Final = 200
_DRAWS: Final = 4  # until there is something to do


def call(world: World, gateway: Gateway) -> str:
    """Begin a call."""
    claim = gateway.view
    if claim.frozen:
        return "is frozen"
    wish, now_us = world.wish(claim), world.now(gateway)
    flight = gateway.open_call(wish, now_us)
    held = gateway.try_hold(flight, now_us)
    return f"call {wish.amounts}: {'held' if flight.windows else 'waits' if held else 'refused'}"


def retry(world: World, gateway: Gateway) -> str:
    """Have a call that waits try again, or give up."""
    if not gateway.waiting:
        return ""
    flight = gateway.waiting.pop(world.dice.randrange(len(gateway.waiting)))
    if world.dice.random() < 0.1:
        return "a waiting client has gone"
    held = gateway.try_hold(flight, world.now(gateway))
    return f"tries again: {'held' if flight.windows else 'waits' if held else 'refused'}"


def end(world: World, gateway: Gateway) -> str:
    """End a call that is under way, or settle one that was forgotten."""
    dice, now_us = world.dice, world.now(gateway)
    if gateway.forgotten and dice.random() < 0.3:
        flight = gateway.forgotten.pop(dice.randrange(len(gateway.forgotten)))
    elif gateway.under_way:
        flight = dice.choice(list(gateway.under_way.values()))
    else:
        return ""
    held = flight.wish.amounts[0]
    known = dice.random() > 0.1
    costs = world.costs(held) if known else (held,)
    gateway.end_call(flight, costs, now_us, known=known)
    return f"a call of {held} ends with {costs}{' after its hold expired' if flight.expired else ''}"


def exchange(world: World, gateway: Gateway) -> str:
    """Carry a message to the database or back, or lose the answer and ask again."""
    if not gateway.requests:
        return ""
    dice = world.dice
    request = gateway.requests[dice.randrange(len(gateway.requests))]
    if request.after > gateway.position:
        return ""
    again = request.done
    if not again or dice.random() < 0.2:
        gateway.send(request)
    heard = dice.random() < 0.7
    if heard:
        gateway.hear(request, world.now(gateway))
        gateway.wake(world.now(gateway))
    act = request.act
    what = f"ask for {act.budget.budget_id}" if isinstance(act, Ask) else f"return of {act.amount_nano}"
    return f"{what} {'again' if again else 'arrives'}{', answered' if heard else ''}"


def journal(world: World, gateway: Gateway) -> str:
    """Take one of the journal's steps: gather a group, have it written, hear of it or not."""
    dice, now_us = world.dice, world.now(gateway)
    if gateway.group is None:
        if gateway.position == len(gateway.spool) and not gateway.journal.hold_is_due(now_us):
            return ""
        gateway.gather(now_us, dice.choice((1, 2, 3, 8)))
        if dice.random() < 0.5:
            return "gathers"
    group = gateway.group
    if group is not None and not group.done:
        gateway.write()
        if dice.random() < 0.4:
            return "writes"
    if dice.random() < 0.25:
        gateway.read_books()
        return "loses the answer of a commit"
    gateway.written()
    return "commits"


def clock(world: World, _gateway: Gateway) -> str:
    """Let time pass: a moment, or to the edge of a window."""
    dice, now_us = world.dice, world.clock.now_us
    draw = dice.random()
    if draw < 0.5:
        more = dice.randint(1, 2 * SECOND_US)
    elif draw < 0.7:
        more = 10 * SECOND_US - now_us % (10 * SECOND_US) - dice.randint(-1, 1)
    elif draw < 0.85:
        more = MINUTE_US - now_us % MINUTE_US - dice.randint(-1, 1)
    elif draw < 0.95:
        more = IDLE_US + dice.randint(0, SECOND_US)
    else:
        more = DAY_US - now_us % DAY_US
    world.clock.now_us += max(1, more)
    return f"time passes: {more} us"


def sweep(world: World, gateway: Gateway) -> str:
    """Do what time demands."""
    gateway.sweep(world.now(gateway))
    return "sweeps"


def sync(_world: World, gateway: Gateway) -> str:
    """Make the spool safe from loss of power."""
    gateway.synced = len(gateway.spool)
    return "syncs its spool"


def hear(world: World, gateway: Gateway) -> str:
    """Hear of a change, read it, or take in what was read; or give back what another is short of."""
    dice = world.dice
    if gateway.recalls and dice.random() < 0.5:
        gateway.recalled(gateway.recalls.pop(), world.now(gateway))
        return "is asked to give back"
    if gateway.news:
        gateway.news -= 1
        gateway.views.append(claim_of(world.shape, world.factors, world.frozen))
        return "reads the limits"
    if gateway.views:
        view(world, gateway, gateway.views.pop(dice.randrange(len(gateway.views))))
        return "takes the limits in"
    return ""


def view(world: World, gateway: Gateway, claim: Claim) -> None:
    """Take in what limits are now."""
    gateway.view = claim
    for budget in claim.budgets:
        gateway.changed(budget.budget_id, budget.terms, world.now(gateway))


def change(world: World, _gateway: Gateway) -> str:
    """Raise or lower a limit, freeze or thaw the key."""
    dice, database = world.dice, world.database
    if world.frozen or dice.random() < 0.15:
        world.frozen = not world.frozen
        told = "frozen" if world.frozen else "thawed"
    else:
        place = dice.randrange(len(world.factors))
        factors = list(world.factors)
        factors[place] = dice.choice(FACTORS)
        world.factors = tuple(factors)
        world.set_in_force()
        budget = claim_of(world.shape, world.factors, world.frozen).budgets[place]
        database.set_limit(budget, world.clock.now_us)
        world.oracle.limit_set(budget.budget_id, budget.terms)
        told = f"{budget.budget_id} may spend {budget.terms.most_nano}"
    for each in world.gateways:
        each.news += dice.choice((0, 1, 1, 2))
    return told


def kill(world: World, gateway: Gateway) -> str:
    """Kill a gateway, with or without its power."""
    power = world.dice.random() < 0.4
    gateway.die(power=power)
    return "loses power" if power else "is killed"


def stop(world: World, gateway: Gateway) -> str:
    """Stop a gateway in order, which takes no more calls and has none."""
    if gateway.under_way:
        return ""
    settle_down(world, gateway)
    gateway.spool.append(Closed(world.now(gateway)))
    drain(world, gateway)
    gateway.die(power=False)
    return "stops in order"


def give_up(world: World, gateway: Gateway) -> str:
    """Give a gateway up that nobody has seen: it is dead, or cut off."""
    place = world.database.places[gateway.number]
    if place.given_up:
        if world.dice.random() < 0.3:
            spent = world.dice.random() < 0.5
            world.database.decide(gateway.number, world.clock.now_us, spent=spent)
            return f"was given up: decided to have spent {'all' if spent else 'nothing'}"
        return ""
    if place.closed or (gateway.serving and world.dice.random() < 0.7):
        return ""
    world.database.give_up(gateway.number, world.clock.now_us)
    return "is given up"


def live(world: World, gateway: Gateway) -> str:
    """Begin anew, or get on with that."""
    if gateway.serving:
        if world.database.places[gateway.number].epoch != gateway.epoch:
            raise Fenced
        return ""
    if gateway.recovery is None:
        world.begin(gateway)
        return "begins anew"
    world.recover(gateway)
    return "recovers"


Act = Callable[[World, Gateway], str]

OF_SERVING: Final[tuple[tuple[Act, int], ...]] = (
    (call, 24),
    (retry, 6),
    (end, 18),
    (exchange, 60),
    (journal, 18),
    (sweep, 4),
    (sync, 3),
    (hear, 5),
    (kill, 1),
    (stop, 1),
)
OF_ALL: Final[tuple[tuple[Act, int], ...]] = ((clock, 6), (change, 2), (give_up, 1), (live, 1))
OF_DEAD: Final[tuple[tuple[Act, int], ...]] = ((live, 40), (kill, 2))


def _table(acts: tuple[tuple[Act, int], ...]) -> tuple[list[Act], list[int]]:
    return [act for act, _ in acts], list(accumulate(weight for _, weight in acts))


_SERVING: Final = _table(OF_SERVING + OF_ALL)
_DEAD: Final = _table(OF_DEAD + OF_ALL)


def step(world: World) -> None:
    """Take one step."""
    dice = world.dice
    gateway = dice.choice(world.gateways)
    acts, weights = _SERVING if gateway.serving else _DEAD
    world.clock.now_us += 1
    told = ""
    try:
        for _ in range(_DRAWS):
            told = told or acts[bisect(weights, dice.random() * weights[-1])](world, gateway)
    except Fenced:
        gateway.die(power=False)
        told = "learns that it was given up, and ends"
    if told:
        world.steps += 1
        if world.say is not None:
            world.say(f"{world.clock.now_us % (10 * DAY_US):>14} gateway {gateway.number} {told}")
        world.oracle.check()
        if gateway.serving and dice.random() < 0.2:
            world.oracle.check_leases(gateway)


def drain(world: World, gateway: Gateway) -> None:
    """Write everything in a gateway's spool to the books."""
    if gateway.group is not None:
        if not gateway.group.done:
            gateway.write()
        gateway.written()
    while gateway.position < len(gateway.spool):
        gateway.gather(world.now(gateway), 8)
        gateway.write()
        gateway.written()


def settle_down(world: World, gateway: Gateway) -> None:
    """Put every lease of a gateway aside and have all messages arrive."""
    now_us = world.now(gateway)
    for _ in range(2):
        drain(world, gateway)
        while gateway.requests:
            request = gateway.requests[0]
            if not request.done:
                gateway.send(request)
            gateway.hear(request, now_us)
        for purse in gateway.purses.values():
            purse.retire()
            gateway.return_all(purse, now_us)
    while gateway.requests:
        gateway.send(gateway.requests[0])
        gateway.hear(gateway.requests[0], now_us)


def quiesce(world: World) -> None:
    """End all calls, replay all spools, return all leases, and check what is left."""
    database, dice = world.database, world.dice
    world.frozen = False
    for gateway in world.gateways:
        if not gateway.serving and database.places[gateway.number].given_up and dice.random() < 0.2:
            world.clock.now_us += 1
            database.decide(gateway.number, world.clock.now_us, spent=dice.random() < 0.5)
    if any(not flight.expired for gateway in world.gateways for flight in gateway.forgotten):
        world.clock.now_us += 2 * MINUTE_US
    for gateway in world.gateways:
        world.clock.now_us += 1
        if gateway.serving and database.places[gateway.number].epoch != gateway.epoch:
            gateway.die(power=False)
        rounds = 0
        while not gateway.serving:
            if gateway.recovery is None:
                world.begin(gateway)
            world.recover(gateway)
            rounds += 1
            if rounds > _ROUNDS_MAX:
                raise Violation("a gateway does not come back")
        _end_all(world, gateway)
    world.oracle.check()
    world.oracle.check_end(world.clock.now_us)


def _end_all(world: World, gateway: Gateway) -> None:
    gateway.waiting.clear()
    gateway.recalls.clear()
    gateway.news, gateway.views = 0, []
    for flight in list(gateway.under_way.values()):
        gateway.end_call(flight, world.costs(flight.wish.amounts[0]), world.now(gateway))
    settle_down(world, gateway)
    gateway.sweep(world.now(gateway))
    for flight in gateway.forgotten:
        if world.dice.random() < 0.5:
            gateway.end_call(flight, world.costs(flight.wish.amounts[0]), world.now(gateway))
    gateway.forgotten.clear()
    settle_down(world, gateway)
    gateway.sweep(world.now(gateway))
    world.oracle.check_leases(gateway)
    drain(world, gateway)
    view(world, gateway, claim_of(world.shape, world.factors, world.frozen))
    world.oracle.check_leases(gateway)
    if gateway.purses:
        raise Violation(f"gateway {gateway.number} keeps a purse with nothing under way")


def run_schedule(world: World) -> None:
    """Run one schedule of a world to its end."""
    for _ in range(world.dice.randint(STEPS_MIN, STEPS_MAX)):
        step(world)
    quiesce(world)
