"""Check a cheap answer by what can be seen of it: each check says what is wrong, or nothing."""

import re
from typing import Final

import msgspec

from bursar.savings.route.choice import Asked
from bursar.savings.route.flow import Answer
from bursar.savings.route.policy import Check, Policy

OPENING_CHARS: Final = 240
"""Where refusals stand: further on, the same words belong to an answer."""
OVERLAP_MIN: Final = 0.5
_REFUSAL: Final = re.compile(
    r"\b(?:i[^\w\s]?m sorry|i am sorry|i apologi[sz]e|i(?:[^\w\s]| a)m (?:not able|unable)|as an ai"
    r"|i can[^\w\s]?(?:no)?t (?:help|assist|answer|provide|do|fulfil|comply|access|determine)"
    r"|i do(?:n[^\w\s]t| not) (?:know|have (?:enough|access|the information))"
    r"|(?:there is|there[^\w\s]s) not enough information|cannot be (?:determined|answered))",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_LETTER: Final = re.compile(r"\(?([A-J])\)?[.:]?")
_WORD: Final = re.compile(r"\w+")
_FENCE: Final = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?```\s*", re.DOTALL | re.IGNORECASE)


def free_complaint(policy: Policy, asked: Asked, answer: Answer) -> str:
    """Return what the checks find that need nobody else, in their order; empty where it passes."""
    for check in policy.verify:
        if complaint := _complaint(check, policy, asked, answer):
            return complaint
    return ""


def agree(one: str, other: str) -> bool:
    """Tell whether two answers come to the same: the same JSON, letter or last number, else mostly the same words."""
    values = [_json(one), _json(other)]
    if None not in values:
        return values[0] == values[1]
    letters = [match[1] if (match := _LETTER.fullmatch(text.strip())) else None for text in (one, other)]
    if None not in letters:
        return letters[0] == letters[1]
    numbers = [_last_number(one), _last_number(other)]
    if None not in numbers:
        return numbers[0] == numbers[1]
    words = [set(_WORD.findall(text.lower())) for text in (one, other)]
    union = words[0] | words[1]
    return not union or len(words[0] & words[1]) >= OVERLAP_MIN * len(union)


def _complaint(check: Check, policy: Policy, asked: Asked, answer: Answer) -> str:
    if check is Check.empty and not answer.text.strip() and not answer.calls_tools:
        return "said nothing"
    if check is Check.cut_off and answer.cut_off:
        return "was cut off"
    if check is Check.refusal and not answer.calls_tools and _REFUSAL.search(answer.text[:OPENING_CHARS]):
        return "declined"
    if check is Check.json and asked.wants_json and not answer.calls_tools and _json(answer.text) is None:
        return "wrote no JSON"
    if check is Check.logprob:
        if answer.logprob is None:
            return "came without log-probabilities"
        if answer.logprob < policy.logprob_min:
            return f"was not sure, with a mean log-probability of {answer.logprob:.2f}"
    return ""


def _json(text: str) -> msgspec.Raw | object | None:
    fenced = _FENCE.fullmatch(text)
    bare = fenced[1] if fenced else text
    if not bare.lstrip().startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(bare)
    except msgspec.DecodeError:
        return None


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None
