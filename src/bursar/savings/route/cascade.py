"""Try the cheap model first and keep its answer where it passes the checks; else the next one pays for the call."""

from collections.abc import Generator

import msgspec

from bursar.savings.route.able import able
from bursar.savings.route.choice import Asked, Choice, How, Nobody, Option
from bursar.savings.route.choose import Route, cheapest_first, choose
from bursar.savings.route.flow import Answer, Ask, Attempt, Flow, Wish
from bursar.savings.route.judge import OUTPUT_CAP, judging, read_verdict
from bursar.savings.route.policy import Check
from bursar.savings.route.verify import agree, free_complaint


def cascaded(route: Route, asked: Asked, unit: str = "") -> Flow:
    """Wish for attempts from the cheapest up, all but the last; return the choice whose answer stands.

    `Choice.answered` says that the answer of the last attempt at its model is to be kept. Where it is False the call is
    still to be made, as if nothing had been asked: so the last model's answer can stream.
    """
    first = choose(route, asked, unit)
    if isinstance(first, Nobody) or first.how in (How.rule, How.only):
        return first
    options = cheapest_first(route.policy, able(asked, route.options, route.policy.target).options, asked)
    complaints: list[str] = []
    for option in options[:-1]:
        answer = yield Attempt(option.model)
        complaint = "gave no answer" if answer is None else (yield from _checked(route, asked, option, answer))
        if not complaint:
            passed = ", ".join(route.policy.verify)
            why = f"its answer passed: {passed}{_after(complaints)}"
            return _choice(option, options, asked, why, answered=True)
        complaints.append(f"{option.model} {complaint}")
    return _choice(options[-1], options, asked, f"{'; '.join(complaints)}; it is the last")


def _checked(route: Route, asked: Asked, option: Option, answer: Answer) -> Generator[Wish, Answer | None, str]:
    """Return what is wrong with an answer, the checks that cost nothing first."""
    policy = route.policy
    if complaint := free_complaint(policy, asked, answer):
        return complaint
    if Check.twice in policy.verify:
        again = yield Attempt(option.model)
        if again is None or not agree(answer.text, again.text):
            return "did not say the same again"
    if Check.judge in policy.verify:
        verdict = read_verdict((yield Ask(policy.judge, judging(asked, answer.text), OUTPUT_CAP)))
        if verdict is not True:
            return f"was not found good by {policy.judge}" if verdict is False else f"got no verdict of {policy.judge}"
    return ""


def _after(complaints: list[str]) -> str:
    return f"; before it {'; '.join(complaints)}" if complaints else ""


def _choice(option: Option, options: list[Option], asked: Asked, why: str, *, answered: bool = False) -> Choice:
    choice = Choice(
        option.model,
        How.cascaded,
        why,
        cost_nano=option.expected_nano(asked),
        others=tuple(each.model for each in options if each is not option),
    )
    return msgspec.structs.replace(choice, answered=answered)
