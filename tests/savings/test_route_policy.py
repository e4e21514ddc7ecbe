"""A `[routes.NAME]` table is read strictly."""

import pytest

from bursar.core.errors import ConfigError
from bursar.savings.route.choice import Target
from bursar.savings.route.policy import FREE_CHECKS, By, Check, Policy, read_policy
from bursar.savings.route.rules import Rule, When

KNOWN = ["small", "middle", "big"]


def test_a_table_with_everything_is_read() -> None:
    policy = read_policy(
        "auto",
        {
            "models": ["small", "big"],
            "by": "cascaded",
            "cost_max_usd": "0.002",
            "seconds_max": 2.0,
            "rules": [{"when": {"tools": True}, "model": "big"}],
            "judge": "middle",
            "verify": ["empty", "judge"],
            "prefer_local": True,
            "holdout_percent": 5,
            "strengths": {"small": 0, "big": 1},
        },
        KNOWN,
    )

    assert policy == Policy(
        name="auto",
        models=("small", "big"),
        by=By.cascaded,
        target=Target(None, 2_000_000, 2.0),
        rules=(Rule(model="big", when=When(tools=True)),),
        judge="middle",
        verify=(Check.empty, Check.judge),
        prefer_local=True,
        holdout_percent=5.0,
        strengths={"small": 0.0, "big": 1.0},
    )
    assert policy.asked_models == ("small", "big", "middle")


def test_a_learned_table_holds_what_learning_needs() -> None:
    table = {"models": ["small", "big"], "quality_percent": 95, "explore_percent": 1, "explore_cost_max_usd": "0.01"}
    policy = read_policy("auto", table, KNOWN)

    assert policy.target == Target(95.0)
    assert (policy.explore_percent, policy.explore_cost_max_nano) == (1.0, 10_000_000)


def test_models_alone_make_a_learned_route() -> None:
    policy = read_policy("auto", {"models": ["small", "big"]}, KNOWN)

    assert (policy.by, policy.target, policy.verify) == (By.learned, Target(), FREE_CHECKS)
    assert policy.asked_models == ("small", "big")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "routes.auto: expected a table"),
        ({}, 'routes.auto.models: expected models such as ["small", "big"]'),
        ({"models": []}, 'routes.auto.models: expected models, each once, such as ["small", "big"]'),
        ({"models": ["small", "small"]}, "routes.auto.models: expected models, each once"),
        ({"models": "small"}, "routes.auto.models: Expected `array`, got `str`"),
        ({"models": ["smal"]}, "routes.auto.models: no model 'smal'; near: small"),
        ({"models": ["zebra"]}, "routes.auto.models: no model 'zebra'; add a [models] table for it"),
        ({"models": ["auto"]}, "routes.auto.models: 'auto' is the route itself; name models it may choose"),
        ({"models": ["small"], "juge": "big"}, "unknown setting routes.auto.juge; near: judge"),
        ({"models": ["small"], "by": "luck"}, "routes.auto.by: expected learned or rule or judged or cascaded, got '"),
        (
            {"models": ["small"], "verify": ["luck"]},
            "routes.auto.verify[0]: expected empty or refusal or cut_off or json",
        ),
        ({"models": ["small"], "quality_percent": 101}, "routes.auto.quality_percent: Expected `float` <= 100"),
        ({"models": ["small"], "quality_percent": 0}, "routes.auto.quality_percent: Expected `float` > 0"),
        ({"models": ["small"], "cost_max_usd": "cheap"}, "routes.auto.cost_max_usd: expected USD as a decimal"),
        ({"models": ["small"], "cost_max_usd": "0"}, "routes.auto.cost_max_usd: expected more than 0 USD, got 0"),
        ({"models": ["small"], "cost_max_usd": 1}, "routes.auto.cost_max_usd: Expected `str | null`, got `int`"),
        ({"models": ["small"], "by": "rule"}, 'routes.auto.rules: expected at least one rule, for by = "rule"'),
        ({"models": ["small"], "by": "judged"}, "routes.auto.judge: expected the model that grades"),
        ({"models": ["small"], "by": "judged", "judge": "bg"}, "routes.auto.judge: no model 'bg'; near: big"),
        ({"models": ["small"], "by": "cascaded"}, "routes.auto.models: expected at least two"),
        (
            {"models": ["small", "big"], "by": "cascaded", "verify": []},
            'routes.auto.verify: expected checks such as ["empty", "refusal"]',
        ),
        (
            {"models": ["small", "big"], "by": "cascaded", "verify": ["judge"]},
            "routes.auto.judge: expected the model that judges",
        ),
        (
            {"models": ["small", "big"], "by": "cascaded", "verify": ["logprob"], "checks_streams": True},
            "routes.auto.checks_streams: log-probabilities of a stream are not read",
        ),
        (
            {"models": ["small"], "checks_streams": True},
            'routes.auto.checks_streams: has no meaning for by = "learned", only for cascaded',
        ),
        (
            {"models": ["small"], "by": "rule", "rules": [{"model": "small"}], "quality_percent": 95},
            'routes.auto.quality_percent: has no meaning for by = "rule", only for learned; leave it out',
        ),
        (
            {"models": ["small"], "by": "judged", "judge": "big", "explore_percent": 1},
            'routes.auto.explore_percent: has no meaning for by = "judged"',
        ),
        (
            {"models": ["small"], "judge": "big"},
            'routes.auto.judge: has no meaning for by = "learned", only for judged',
        ),
        (
            {"models": ["small", "big"], "by": "cascaded", "router": "a.json"},
            'routes.auto.router: has no meaning for by = "cascaded"',
        ),
        (
            {"models": ["small", "big"], "by": "cascaded", "judge": "big"},
            'routes.auto.judge: has no meaning without "judge" in verify',
        ),
        ({"models": ["small", "big"], "strengths": {"small": 0}}, "routes.auto.strengths: expected one for each model"),
        (
            {"models": ["small"], "strengths": {"huge": 0}},
            "routes.auto.strengths: 'huge' is none of the route's models",
        ),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_its_field(table, message) -> None:
    with pytest.raises(ConfigError) as refused:
        read_policy("auto", table, KNOWN)

    assert str(refused.value).startswith(message)
