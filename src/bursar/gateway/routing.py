"""Choose the models of calls that name a route, by its policy and by the prices in force."""

import asyncio
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from bursar.core.errors import BadRequest, ConfigError, Refusal
from bursar.core.records import TEXT_METERS, Protocol
from bursar.gateway.asking import asked_of
from bursar.gateway.balance import choose as choose_target
from bursar.gateway.embedders import read_folder
from bursar.gateway.passage import Passage
from bursar.gateway.routed import ANSWER_TOKENS, LEVER, NO_MANNERS, PPM_PER_PERCENT, Manner, Manners, Routed, manner_of
from bursar.gateway.routes import Candidate, Routes
from bursar.gateway.rules import Rules
from bursar.gateway.translation import translate_call
from bursar.prices.quote import missing_rate
from bursar.savings.proof import Arm, arm, unit_digest, unit_of
from bursar.savings.route.able import able
from bursar.savings.route.choice import Asked, Choice, How, Nobody, Option
from bursar.savings.route.choose import NO_CORRECTIONS, choose, prepare, strengths_of
from bursar.savings.route.choose import Route as Prepared
from bursar.savings.route.decide import decide
from bursar.savings.route.flow import Attempt
from bursar.savings.route.policy import LOCAL, STATIC, By, Policy
from bursar.savings.route.predictor import Corrections, Teaching
from bursar.store.keys import Key
from bursar.tokens.bounds import input_tokens_max
from bursar.wires.prefix import prefix_digest
from bursar.wires.protocols import TEXT_WIRES
from bursar.wires.wire import NO_MEDIA, Facts

if TYPE_CHECKING:
    from bursar.embed.embedder import Embedder
    from bursar.savings.route.router import Router

CHEAPER: Final = "cheaper"
"""How a model is chosen because a budget has no room for a dearer one."""

_ASKING: Final = (By.judged, By.cascaded)

_Taught: TypeAlias = tuple[str, str]
"""Names what was learned: the router's file, and the embedder it was trained with."""


class _Ready(msgspec.Struct):
    """Hold a policy with its models at the prices in force, until one of them changes."""

    route: Prepared
    until_us: int


class Routing:
    """Choose models; made anew with each configuration, and told from time to time how models answer.

    What those before were told holds on, until it is read again: by it calls go in the meantime. So do embedders, with
    the vectors they remember. Files of routers and embedders are read: while calls go on, it is made off their loop.
    """

    def __init__(self, routes: Routes, now_us: int, before: "Routing | None" = None) -> None:
        self._routes = copy(routes)  # which go on as they are when others take another configuration
        self._embedders: dict[str, Embedder] = before._embedders if before is not None else {}
        self._teachings, self._embedders = _teachings(routes.policies.values(), self._embedders)
        self._manners = before._manners if before is not None else NO_MANNERS
        # By route, from outcomes.
        self.corrections: dict[str, Corrections] = before.corrections if before is not None else {}
        self.told = False  # how models answer
        # What cannot be made ready is found out now, not at the first call.
        self._ready = self.ready_by(self._manners, now_us)

    @property
    def learns(self) -> bool:
        """Tell whether there is a route, which goes by how its models answer."""
        return bool(self._ready)

    def policy(self, name: str) -> Policy | None:
        """Return the policy of a route; None where no route has the name."""
        return self._routes.policies.get(name)

    def embeds(self, name: str) -> bool:
        """Tell whether it takes long to look at the calls of a name: their vectors are made beside the calls."""
        policy = self._routes.policies.get(name)
        return policy is not None and policy.by is By.learned and policy.embedder != STATIC

    async def look_ahead(self, passage: Passage) -> None:
        """Make the vectors of a call whose route needs such that take long."""
        policy = self._routes.policies.get(passage.facts.model)
        if policy is not None and passage.call.protocol in TEXT_WIRES:
            text = asked_of(passage).text
            await asyncio.to_thread(self._teachings[_taught(policy)].look_ahead, text)

    def ready_by(self, manners: Manners, now_us: int) -> dict[str, _Ready]:
        """Make all routes ready by how models answer, changing nothing here: it may be done beside the calls."""
        return {name: self._made_ready(policy, manners, now_us) for name, policy in self._routes.policies.items()}

    def adopt(self, manners: Manners, ready: dict[str, _Ready]) -> None:
        """Go by what was made ready from now on."""
        self._manners, self._ready, self.told = manners, ready, True

    def route(self, passage: Passage, key: Key, policy: Policy, output_cap: int) -> Sequence[Candidate]:
        """Choose the model of a call, write the choice into its record, and return the targets to ask.

        Raises `BadRequest` where no model can serve it, saying of each why.
        """
        if passage.call.protocol not in TEXT_WIRES:
            raise BadRequest(
                f"route {policy.name!r} chooses among models that answer in turns, not for {passage.wire.route}: name a"
                " model",
                param="model",
            )
        asked = asked_of(passage)
        prepared, lacking = self._usable(self._ready_at(policy, passage.call.opened_us).route, passage, key)
        found = able(asked, prepared.options, policy.target)
        if not found.options:
            raise _unable(policy, (*found.reasons, *lacking))
        strengths = strengths_of(policy, found.options, asked)
        best = max(found.options, key=lambda option: strengths[option.model]).model
        reference = self._routes.find(best, passage.call.protocol)[0]
        routed = Routed(policy.name, (best, reference), self._manners)
        routed.prepared, routed.asked = prepared, asked
        self._decide(passage, routed, prepared, asked)
        return self._take(passage, routed, output_cap, fall_back=policy.fall_back)

    def cheaper(self, passage: Passage) -> list[str]:
        """Name the models that may answer in place of a call's own where a budget has no room for that, in order.

        Of a route these are its able models that can cost less, the dearest first; of a plain model those
        its `cheaper` names, able as well and in the key's scope.
        """
        routed, key = passage.routed, passage.key
        # Another model's vectors, say, are of no use; and another provider has not the files that a call names.
        if passage.call.protocol not in TEXT_WIRES or passage.kept_at:
            return []
        if routed is None:
            names = self._routes.cheaper(passage.call.model)
            if not names or key is None:
                return []
            allowed = [name for name in names if key.may_use(name)]
            options = [self._option(name, self._manners, passage.call.opened_us) for name in allowed]
            return [option.model for option in able(asked_of(passage), options).options]
        assert routed.prepared is not None
        assert routed.asked is not None
        asked, options = routed.asked, routed.prepared.options
        # Each with an answer as long as the call may have: that is what a budget has to have room for.
        alike = [msgspec.structs.replace(each, output_tokens=passage.plan.output_cap) for each in options]
        costs = {each.model: each.expected_nano(asked) for each in able(asked, alike).options}
        now_nano = costs.get(routed.choice.model, 0)
        return sorted((each for each in costs if costs[each] < now_nano), key=lambda each: -costs[each])

    def take_cheaper(self, passage: Passage, model: str, why: str) -> None:
        """Have a cheaper model answer a call: its plan, its budgets and its record say so from then on.

        Raises `BadRequest` where the call cannot be carried to it.
        """
        call, routed = passage.call, passage.routed
        if routed is None:
            reference = (call.model, self._routes.find(call.model, call.protocol)[0])
            taken = Routed(call.model, reference, self._manners)
        else:
            taken = Routed(routed.name, (routed.reference_name, routed.reference), routed.manners)
            taken.arm, taken.prepared, taken.asked = CHEAPER, routed.prepared, routed.asked
        taken.how, taken.choice = CHEAPER, Choice(model, How.only, why)
        candidates = self._take(passage, taken, passage.plan.output_cap, fall_back=False)
        # A budget's choice is neither arm's: in a comparison it would pass for what the route has saved, or not.
        arms = {**passage.plan.arms, LEVER: taken.assignment()} if taken.arm else passage.plan.arms
        passage.plan = msgspec.structs.replace(passage.plan, candidates=candidates, arms=arms)
        passage.find_claim()

    def _take(self, passage: Passage, routed: Routed, output_cap: int, *, fall_back: bool) -> Sequence[Candidate]:
        """Return the targets of a choice, or of the nearest other that this call can be carried to.

        Raises what the last of them refuses, where there is none.
        """
        choice, refused = routed.choice, None
        for model in (choice.model, *choice.others):
            try:
                candidates = self.targets(passage, model, output_cap)
            except BadRequest as refusal:
                refused = refusal
                continue
            if refused is not None:
                why = f"{choice.why}; then {model}, for {choice.model} cannot be asked: {refused.message}"
                routed.choice = msgspec.structs.replace(choice, model=model, why=why, quality=None, cost_nano=None)
            if fall_back:
                passage.rules = _with_others(passage.rules, model, choice.others)
            passage.routed = routed
            passage.call = msgspec.structs.replace(passage.call, route=routed.recorded())
            return candidates
        assert refused is not None
        raise refused

    def targets(self, passage: Passage, model: str, output_cap: int) -> Sequence[Candidate]:
        """Return a model's targets in the order they are to be asked, and have the call go by that model's rules."""
        candidates = self._routes.find(model, passage.call.protocol)
        passage.rules = candidates[0].rules
        if passage.rules.several:
            candidates = choose_target(self._routes, passage, candidates)
        if passage.is_foreign_to(candidates):
            candidates = translate_call(passage, candidates, output_cap)
        return candidates

    def _decide(self, passage: Passage, routed: Routed, prepared: Prepared, asked: Asked) -> None:
        """Choose for a call, by the arm of what it is a part of."""
        policy, unit = prepared.policy, ""
        if policy.holdout_percent or policy.explore_percent:
            call = passage.call
            unit = unit_of(call.key_id, call.run, b"" if call.run else prefix_digest(passage.body))
            passage.unit = passage.unit or unit_digest(unit)
        holdout_ppm = round(policy.holdout_percent * PPM_PER_PERCENT)
        if holdout_ppm and arm(LEVER, policy.name, unit, holdout_ppm) is Arm.holdout:
            held = f"held out with {policy.holdout_percent:g} % of all, to compare the others with the strongest"
            routed.choice, routed.arm = Choice(routed.reference_name, How.only, held), Arm.holdout
            routed.how = routed.arm
            return
        if policy.by in _ASKING:
            self._begin(passage, routed, unit)
            return
        choice = choose(prepared, asked, unit, self.corrections.get(policy.name, NO_CORRECTIONS))
        assert isinstance(choice, Choice)  # some model is able: that was seen before
        routed.choice, routed.arm = choice, How.explored if choice.how is How.explored else Arm.treatment

    def _begin(self, passage: Passage, routed: Routed, unit: str) -> None:
        """Begin a flow that asks before it chooses; until it has, the call is held for by a choice that may change."""
        assert routed.prepared is not None
        assert routed.asked is not None
        policy, routed.arm = routed.prepared.policy, Arm.treatment
        shown = passage.facts.stream and not policy.checks_streams
        if policy.by is By.cascaded and (shown or passage.facts.choices > 1):
            what = "a stream shows its answer at once" if shown else "the checks read one answer of several"
            why = f"{what}, so none can be checked: the strongest model answers"
            routed.choice = Choice(routed.reference_name, How.cascaded, why)
            return
        flow = decide(routed.prepared, routed.asked, unit)
        try:
            wish = next(flow)
        except StopIteration as end:
            decided: Choice = end.value  # some model is able: that was seen before
            routed.choice = decided
            return
        routed.flow, routed.wish = flow, wish
        model = wish.model if isinstance(wish, Attempt) else routed.reference_name
        routed.choice = Choice(model, How(policy.by.value), "nothing was decided yet")

    def note(self, passage: Passage, choice: Choice) -> None:
        """Write what was decided into a call's record."""
        routed = passage.routed
        assert routed is not None
        routed.choice = choice
        passage.call = msgspec.structs.replace(passage.call, route=routed.recorded())

    def _usable(self, prepared: Prepared, passage: Passage, key: Key) -> tuple[Prepared, list[tuple[str, str]]]:
        """Leave out the models that a key may not use, and those with no price for what a call asks for.

        Where a key's scope names some of the route's models, it may use these; where it names the route alone, all.
        """
        options, lacking = prepared.options, list[tuple[str, str]]()
        if key.models and (named := [option for option in options if key.may_use(option.model)]):
            lacking += [(option.model, f"is not for key {key.name!r}") for option in options if option not in named]
            options = tuple(named)
        facts = passage.facts
        if facts.service_tier or facts.speed or facts.media is not NO_MEDIA or facts.traits.meters != TEXT_METERS:
            now_us = passage.call.opened_us
            why = {option.model: _unpriced(self.first(option.model), facts, now_us) for option in options}
            lacking += [(model, reason) for model, reason in why.items() if reason]
            options = tuple(option for option in options if not why[option.model])
        return (msgspec.structs.replace(prepared, options=options) if lacking else prepared), lacking

    def _ready_at(self, policy: Policy, now_us: int) -> _Ready:
        ready = self._ready[policy.name]
        if now_us >= ready.until_us:
            ready = self._ready[policy.name] = self._made_ready(policy, self._manners, now_us)
        return ready

    def _made_ready(self, policy: Policy, manners: Manners, now_us: int) -> _Ready:
        seen = [manners[name] for name in map(self._target, policy.models) if name in manners]
        tokens = sum(each.output_tokens for each in seen) // len(seen) if seen else ANSWER_TOKENS
        unseen = {name: Manner(tokens) for name in map(self._target, policy.models)}
        options = [self._option(model, {**unseen, **manners}, now_us) for model in policy.models]
        until_us = min(self.first(model).card(now_us).valid_until_us for model in policy.models)
        return _Ready(prepare(policy, options, self._teachings.get(_taught(policy))), until_us)

    def _option(self, name: str, manners: Manners, now_us: int) -> Option:
        """Describe a model by its first target's price and by how that answers."""
        candidate, model = self.first(name), self._routes.model(name)
        manner, rates = manner_of(candidate, manners), candidate.card(now_us).rates
        return Option(
            name,
            rates["input_tokens"].base_nano,
            rates["output_tokens"].base_nano,
            manner.output_tokens,
            model.context_tokens or candidate.price.context_window,
            takes_tools=model.tools,
            takes_images=model.images,
            local=model.local,
            seconds=manner.seconds,
        )

    def _target(self, model: str) -> str:
        candidate = self.first(model)
        return f"{candidate.upstream.name}/{candidate.model}"

    def first(self, model: str) -> Candidate:
        """Return the target a model goes to first; its price is the same whatever protocol it is asked in."""
        return self._routes.find(model, Protocol.openai_chat)[0]


def _teachings(
    policies: Iterable[Policy], before: "dict[str, Embedder]"
) -> "tuple[dict[_Taught, Teaching], dict[str, Embedder]]":
    """Load what routers have learned, by file and embedder; "" is the router that ships. Raises `ConfigError`.

    Returns the embedders as well, by the word that names them: those from `before` where they are the same still.
    """
    names = {_taught(policy): policy.name for policy in policies if policy.by is By.learned}
    if not names:
        return {}, {}
    # Here, because they bring NumPy: a worker without such a route does not load it.
    from bursar.savings.route.learned import Learned, load

    embedders: dict[str, Embedder] = {}
    teachings: dict[_Taught, Teaching] = {}
    for (file, word), route in names.items():
        router = _read(file, route) if file else load()
        try:
            if word not in embedders:
                embedders[word] = _embedder(word, before.get(word))
            teachings[file, word] = Learned(router, embedders[word])
        except ConfigError as error:
            raise ConfigError(f"routes.{route}.embedder: {error}") from None
    return teachings, embedders


def _embedder(word: str, before: "Embedder | None") -> "Embedder":
    """Return the embedder a word names: the one there was, with what it remembers, unless its folder has another now.

    Raises `ConfigError`.
    """
    from bursar.embed.remembering import Remembering  # with NumPy, as above
    from bursar.embed.table import load as load_table

    if word == STATIC:
        return load_table()
    read = read_folder(Path(word.removeprefix(LOCAL)))
    return before if before is not None and before.name == read.name else Remembering(read)


def _taught(policy: Policy) -> _Taught:
    return policy.router, policy.embedder


def _read(file: str, route: str) -> "Router":
    from bursar.savings.route.router import read_router  # with NumPy, as above

    try:
        return read_router(Path(file).read_bytes(), f"routes.{route}.router: {file}")
    except OSError as error:
        raise ConfigError(f"routes.{route}.router: cannot read {file}: {error.strerror}") from None


def _unpriced(candidate: Candidate, facts: Facts, now_us: int) -> str:
    """Say what of a call a model has no price or no bound for; empty where it has all."""
    if not candidate.priced_tier(facts.service_tier):
        return f"has no price for service tier {facts.service_tier!r}"
    if not candidate.priced_speed(facts.speed):
        return f"has no price for speed {facts.speed!r}"
    if input_tokens_max(facts, candidate.model, candidate.price.context_window) is None:
        return "has nothing that bounds the tokens of audio or documents"
    if missing := missing_rate(candidate.card(now_us, facts.service_tier, facts.speed), facts.traits):
        return f"has no price for {missing}"
    return ""


def _unable(policy: Policy, reasons: Sequence[tuple[str, str]]) -> Refusal:
    return BadRequest(f"{Nobody(tuple(reasons)).why}: see routes.{policy.name}", code="no_able_model", param="model")


def _with_others(rules: Rules, model: str, others: Sequence[str]) -> Rules:
    """Return a model's rules with the route's other models to fall back to, behind its own."""
    more = tuple(other for other in others if other != model and other not in rules.fallbacks)
    return msgspec.structs.replace(rules, fallbacks=rules.fallbacks + more, several=True) if more else rules
