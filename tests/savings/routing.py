"""Set up models, calls and answers for the tests of routing."""

from collections.abc import Sequence

from bursar.savings.route.choice import Asked, Choice, Nobody, Option, Target
from bursar.savings.route.flow import Answer, Flow, Wish
from bursar.savings.route.policy import Policy
from bursar.savings.route.predictor import Exchange

SMALL = Option("small", 150_000_000, 600_000_000, output_tokens=200, context_tokens=16_000)
BIG = Option("big", 2_500_000_000, 10_000_000_000, output_tokens=300, context_tokens=128_000, seconds=4.0)


def asked(text: str = "What is the capital of Peru?", prompt_tokens: int = 1_000, **more: object) -> Asked:
    return Asked(text, prompt_tokens, **more)  # type: ignore[arg-type]


class Knows:
    """Expect what it was told, whatever is asked: a predictor that needs no coefficients."""

    def __init__(self, chances: dict[str, float], exchange: Exchange | None = None) -> None:
        self._chances = chances
        self._exchange = exchange or Exchange(0.0, promised=True, why="kept on 100 labels")

    def predictor(self, policy: Policy, options: Sequence[Option]) -> "Knows":
        return self

    def chances(self, asked: Asked, options: Sequence[Option]) -> tuple[float, ...]:
        return tuple(self._chances[option.model] for option in options)

    def exchange(self, options: Sequence[Option], target: Target) -> Exchange:
        return self._exchange

    def knows(self, models: Sequence[str]) -> tuple[str, ...]:
        return tuple(model for model in models if model not in self._chances)


def played(flow: Flow, answers: Sequence[Answer | str | None]) -> tuple[list[Wish], Choice | Nobody]:
    """Drive a flow from a list of answers; return what it wished for and what it chose."""
    left = [Answer(each) if isinstance(each, str) else each for each in answers]
    wishes: list[Wish] = []
    try:
        wish = next(flow)
        while True:
            wishes.append(wish)
            wish = flow.send(left.pop(0))
    except StopIteration as end:
        assert not left, "an answer was not asked for"
        return wishes, end.value
