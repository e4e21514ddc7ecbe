"""The first rule whose conditions a call meets names its model."""

import msgspec
import pytest

from bursar.core.errors import ConfigError
from bursar.savings.route.language import language
from bursar.savings.route.rules import Rule, When, matches, read_rules, said
from tests.savings.routing import asked

EASY = "Tom has 3 apples. How many apples does he have?"
HARD = (
    "Tom has 3 apples, Ann has twice as many as Tom, and Ben has a third more than both of them together. "
    "They sell half of the rest at 25 cents each. How much more does Ben earn than Tom, in percent?"
)


@pytest.mark.parametrize(
    ("when", "call", "met"),
    [
        ({}, {}, True),
        ({"tokens_min": 1_000}, {"prompt_tokens": 1_000}, True),
        ({"tokens_min": 1_001}, {"prompt_tokens": 1_000}, False),
        ({"tokens_max": 999}, {"prompt_tokens": 1_000}, False),
        ({"characters_max": 2}, {"text": "abc"}, False),
        ({"characters_min": 3}, {"text": "abc"}, True),
        ({"turns_min": 3}, {"turns": 2}, False),
        ({"turns_max": 2}, {"turns": 2}, True),
        ({"words": ["lawsuit", "Contract law"]}, {"text": "About CONTRACT LAW, please"}, True),
        ({"words": "law"}, {"text": "an unlawful flaw"}, False),
        ({"words": "c++"}, {"text": "write C++ code"}, True),
        ({"tags": {"team": "legal"}}, {"tags": {"team": "legal", "x": "y"}}, True),
        ({"tags": {"team": "legal"}}, {"tags": {}}, False),
        ({"tools": True}, {"tools": True}, True),
        ({"tools": False}, {"tools": True}, False),
        ({"images": True}, {"images": False}, False),
        ({"language": "de"}, {"text": "Wie ist das Wetter in der Stadt?"}, True),
        ({"language": ["fr", "es"]}, {"text": "Wie ist das Wetter in der Stadt?"}, False),
        ({"tools": True, "tokens_min": 5_000}, {"tools": True}, False),
        ({"effort_min": 0.0}, {"text": EASY}, False),
        ({"effort_min": 0.0}, {"text": HARD}, True),
        ({"effort_max": 0.0}, {"text": HARD}, False),
    ],
)
def test_a_rule_is_met_when_all_its_conditions_are(when, call, met) -> None:
    assert matches(Rule(model="big", when=msgspec.convert(when, When)), asked(**call)) is met


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, 'routes.auto.rules: expected a list such as [{when = {tools = true}, model = "small"}]'),
        ([3], "routes.auto.rules.1: expected a table"),
        ([{"when": {}}], "routes.auto.rules.1: Object missing required field `model`"),
        ([{"model": "huge"}], "routes.auto.rules.1.model: 'huge' is none of the route's models: small, big"),
        ([{"model": "big", "wen": {}}], "unknown setting routes.auto.rules.1.wen; near: when"),
        (
            [{"model": "big"}, {"model": "big", "when": {"token_min": 1}}],
            "unknown setting routes.auto.rules.2.when.token_min; near: tokens_min",
        ),
        (
            [{"model": "big", "when": {"tokens_min": -1}}],
            "routes.auto.rules.1.when.tokens_min: Expected `int` >= 0",
        ),
        (
            [{"model": "big", "when": {"tokens_min": 9, "tokens_max": 8}}],
            "routes.auto.rules.1.when.tokens_min: 9 is more than tokens_max, 8: no call can meet both",
        ),
        ([{"model": "big", "when": {"words": [" "]}}], 'routes.auto.rules.1.when.words: expected words such as ["urge'),
        ([{"model": "big", "when": {"language": "xx"}}], "routes.auto.rules.1.when.language: 'xx' cannot be told from"),
        ([{"model": "big", "when": {"words": []}}], "routes.auto.rules.1.when.words: expected at least one, got none;"),
        ([{"model": "big", "when": {"language": ""}}], "routes.auto.rules.1.when.language: expected at least one, got"),
        ([{"model": "big", "when": {"tags": {}}}], "routes.auto.rules.1.when.tags: expected at least one, got none"),
        ([{"model": "big", "when": {"effort_min": 11}}], "routes.auto.rules.1.when.effort_min: Expected `float` <= 10"),
        (
            [{"model": "big", "when": {"effort_min": 1, "effort_max": 0.5}}],
            "routes.auto.rules.1.when.effort_min: 1.0 is more than effort_max, 0.5",
        ),
        ([{"model": "big", "when": {"tools": "yes"}}], "routes.auto.rules.1.when.tools: Expected `bool | null`"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_its_place(rules, message) -> None:
    with pytest.raises(ConfigError) as refused:
        read_rules(rules, ["small", "big"], "routes.auto.rules")

    assert str(refused.value).startswith(message)


def test_conditions_are_said_in_words() -> None:
    when = When(tokens_min=4_000, words=("lawsuit", "contract"), tags={"team": "legal"}, tools=False)

    assert said(Rule(model="big", when=when)) == (
        "at least 4,000 tokens and the word lawsuit or contract and tagged team=legal and without tools"
    )
    assert said(Rule(model="big", when=When(effort_min=0.5))) == "at least 0.5 effort"
    assert said(Rule(model="big", when=When(effort_min=0.0))) == "at least 0.0 effort"
    assert said(Rule(model="big")) == "any call"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What is the weather like in the city?", "en"),
        ("¿Cuál es la capital de Perú y por qué?", "es"),
        ("Quelle est la capitale de la France, et pour qui ?", "fr"),
        ("Qual è la capitale del Perù e come si chiama?", "it"),
        ("東京の天気はどうですか", "ja"),
        ("今天天气怎么样", "zh"),
        ("Какая сегодня погода?", "ru"),
        ("كيف حال الطقس اليوم", "ar"),
        ("12 + 30 = ?", None),
        ("", None),
        ("zzz qqq", None),
    ],
)
def test_a_language_is_told_by_letters_and_common_words_or_not_at_all(text, name) -> None:
    assert language(text) == name
