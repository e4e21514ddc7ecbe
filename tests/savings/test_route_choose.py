"""A route takes the model a rule names, else the one whose quality is worth what it costs."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.savings.route.choice import Choice, How, Nobody, Option, Target
from bursar.savings.route.choose import choose, corrected, explores, prepare
from bursar.savings.route.policy import By, Policy
from bursar.savings.route.predictor import Exchange
from bursar.savings.route.rules import Rule, When
from tests.savings.routing import BIG, SMALL, Knows, asked

BOTH = ("small", "big")
LEARNED = Policy(name="auto", models=BOTH)
EVEN = Knows({"small": 0.8, "big": 0.9})


def test_a_dearer_model_is_taken_when_what_it_adds_is_worth_its_price() -> None:
    dear = 0.1 / ((BIG.cost_nano(1_000) - SMALL.cost_nano(1_000)) / 1e9)
    for per_dollar, model in ((dear * 0.99, "big"), (dear * 1.01, "small")):
        knows = Knows({"small": 0.8, "big": 0.9}, Exchange(per_dollar, promised=True, why="kept on 100 labels"))
        choice = choose(prepare(LEARNED, [BIG, SMALL], knows), asked())

        assert (choice.model, choice.how, choice.promised) == (model, How.learned, True)


def test_a_choice_says_what_is_expected_of_it_and_of_the_others() -> None:
    choice = choose(prepare(LEARNED, [SMALL, BIG], EVEN), asked())

    assert choice == Choice(
        "big",
        How.learned,
        "good enough is expected of big 90% for 0.0055 USD, small 80% for 0.00027 USD; kept on 100 labels",
        quality=0.9,
        cost_nano=5_500_000,
        promised=True,
        others=("small",),
        chance=0.9,
    )


def test_of_equals_the_cheaper_is_taken() -> None:
    assert choose(prepare(LEARNED, [BIG, SMALL], Knows({"small": 0.9, "big": 0.9})), asked()).model == "small"


def test_a_rule_comes_before_what_was_learned() -> None:
    policy = Policy(name="auto", models=BOTH, rules=(Rule(model="small", when=When(words="hello")),))
    route = prepare(policy, [SMALL, BIG], EVEN)

    assert choose(route, asked("Hello there")).model == "small"
    assert choose(route, asked("Hello there")).why == "rule 1: the word hello"
    assert choose(route, asked("Prove it")).model == "big"


def test_a_rule_whose_model_cannot_serve_the_call_is_passed_over_with_a_word() -> None:
    blind = msgspec.structs.replace(SMALL, takes_images=False)
    rules = (Rule(model="small"), Rule(model="big", when=When(images=True)))
    route = prepare(Policy(name="auto", models=BOTH, by=By.rule, rules=rules), [blind, BIG])

    choice = choose(route, asked(images=True))

    assert choice.model == "big"
    assert choice.why == "rule 2: with images; rule 1 names small, which takes no images"


def test_without_a_rule_that_matches_the_first_model_is_taken() -> None:
    rules = (Rule(model="big", when=When(tools=True)),)
    route = prepare(Policy(name="auto", models=BOTH, by=By.rule, rules=rules), [BIG, SMALL])

    assert choose(route, asked()).why == "no rule matched; it is the first of the route's models"
    assert choose(route, asked()).model == "small"


def test_the_only_model_left_is_taken_and_nothing_is_promised() -> None:
    route = prepare(LEARNED, [msgspec.structs.replace(SMALL, takes_tools=False), BIG], EVEN)

    choice = choose(route, asked(tools=True))

    assert (choice.model, choice.how, choice.why) == ("big", How.only, "small takes no tools")
    assert not choice.promised


def test_nobody_is_chosen_when_none_can_and_each_reason_is_said() -> None:
    route = prepare(LEARNED, [SMALL, msgspec.structs.replace(BIG, input_rate_nano=None)], EVEN)

    nobody = choose(route, asked(prompt_tokens=100_000))

    assert isinstance(nobody, Nobody)
    assert nobody.why == (
        "no model can serve this call: small holds 16,000 tokens of the 100,200 needed; big has no known price"
    )


def test_the_most_a_call_may_cost_excludes_the_dearer_whatever_is_expected() -> None:
    policy = Policy(name="auto", models=BOTH, target=Target(cost_max_nano=2_000_000))

    assert choose(prepare(policy, [SMALL, BIG], EVEN), asked()).model == "small"


def test_a_promise_does_not_hold_for_a_call_that_some_models_cannot_serve() -> None:
    middle = msgspec.structs.replace(BIG, model="middle", takes_images=False)
    knows = Knows({"small": 0.8, "big": 0.9, "middle": 0.95})
    route = prepare(Policy(name="auto", models=("small", "middle", "big")), [SMALL, BIG, middle], knows)

    assert choose(route, asked()).promised
    choice = choose(route, asked(images=True))
    assert not choice.promised
    assert choice.why.endswith("the target was set for models that this call cannot use")


def test_a_local_model_costs_nothing_where_local_ones_are_preferred() -> None:
    local = msgspec.structs.replace(BIG, model="local", local=True)
    knows = Knows({"small": 0.8, "local": 0.8}, Exchange(1_000.0, promised=False, why="x"))
    plain = Policy(name="auto", models=("small", "local"))
    preferred = msgspec.structs.replace(plain, prefer_local=True)

    assert choose(prepare(plain, [SMALL, local], knows), asked()).model == "small"
    knows = Knows({"small": 0.8, "local": 0.79}, Exchange(1_000.0, promised=False, why="x"))
    assert choose(prepare(preferred, [SMALL, local], knows), asked()).model == "local"


@pytest.mark.parametrize(
    ("policy", "options", "knows", "message"),
    [
        (LEARNED, [SMALL], EVEN, "routes.auto.models: nothing is known of big"),
        (LEARNED, [SMALL, BIG], None, 'routes.auto.router: expected a router, for by = "learned"'),
        (LEARNED, [SMALL, BIG], Knows({"small": 1.0}), "routes.auto.models: the router was not taught big; train one"),
    ],
)
def test_a_route_that_cannot_be_made_ready_is_refused(policy, options, knows, message) -> None:
    with pytest.raises(ConfigError) as refused:
        prepare(policy, options, knows)

    assert str(refused.value).startswith(message)


def test_exploring_is_the_same_for_a_unit_and_as_frequent_as_asked() -> None:
    policy = msgspec.structs.replace(LEARNED, explore_percent=10.0)
    units = [f"run-{number}" for number in range(5_000)]
    explored = [unit for unit in units if explores(policy, unit)]

    assert 420 < len(explored) < 580
    assert explored == [unit for unit in units if explores(policy, unit)]
    assert set(explored) != {unit for unit in units if explores(policy, unit, seed=1)}
    assert not explores(policy, "")  # who is nobody is not tried on


def test_exploring_takes_the_next_best_that_costs_little_more() -> None:
    unit = next(str(number) for number in range(100) if explores(LEARNED_EXPLORING, str(number)))
    cheap = Exchange(1_000.0, promised=True, why="kept on 100 labels")
    knows = Knows({"small": 0.8, "big": 0.9}, cheap)
    near = msgspec.structs.replace(BIG, input_rate_nano=300_000_000, output_rate_nano=800_000_000)

    def tried(big: Option, cap_nano: int | None) -> Choice | Nobody:
        policy = msgspec.structs.replace(LEARNED_EXPLORING, explore_cost_max_nano=cap_nano)
        return choose(prepare(policy, [SMALL, big], knows), asked(), unit)

    for choice in (tried(BIG, 10_000_000), tried(near, None)):
        assert isinstance(choice, Choice)
        assert (choice.model, choice.how, choice.promised) == ("big", How.explored, False)
        assert choice.why.endswith("; it is tried to learn how good it is, and nothing is promised")
    for bound in (tried(BIG, 1_000_000), tried(BIG, None)):  # without an amount, no more than twice the choice's
        assert isinstance(bound, Choice)
        assert (bound.model, bound.how, bound.promised) == ("small", How.learned, True)


LEARNED_EXPLORING = msgspec.structs.replace(LEARNED, explore_percent=50.0)


@given(st.floats(0, 1), st.floats(-3, 3), st.floats(0.2, 3))
def test_a_corrected_chance_stays_a_chance_and_keeps_the_order(chance, shift, slope) -> None:
    corrections = {"small": (shift, slope)}
    low, high = sorted((corrected(chance, "small", corrections), corrected(chance / 2, "small", corrections)))

    assert 0 <= low <= high <= 1
    assert corrected(chance, "big", corrections) == chance
    assert corrected(chance, "small", corrections) >= corrected(chance / 2, "small", corrections)


def test_outcomes_can_turn_a_choice_and_then_nothing_is_promised() -> None:
    route = prepare(LEARNED, [SMALL, BIG], EVEN)

    choice = choose(route, asked(), corrections={"big": (-2.0, 1.0)})

    assert isinstance(choice, Choice)
    assert (choice.model, choice.promised) == ("small", False)
    assert choice.why.endswith(
        "; outcomes have corrected what is expected, and nothing is promised until it is trained again"
    )


def test_a_time_alone_asks_for_the_cheapest_within_it() -> None:
    policy = Policy(name="auto", models=("small", "big", "slow"), target=Target(seconds_max=5.0))
    quick = msgspec.structs.replace(SMALL, seconds=1.0)
    slow = msgspec.structs.replace(SMALL, model="slow", input_rate_nano=1, output_rate_nano=1, seconds=9.0)
    knows = Knows({"small": 0.1, "big": 0.99, "slow": 0.9})

    choice = choose(prepare(policy, [quick, BIG, slow], knows), asked())

    assert isinstance(choice, Choice)
    assert (choice.model, choice.promised) == ("small", False)
