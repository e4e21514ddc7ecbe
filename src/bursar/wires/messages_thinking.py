"""Say in Anthropic's words how much a model shall think."""

import re
from typing import Final

from bursar.wires.fields import Fields
from bursar.wires.neutral import (
    BUDGETS_TOKENS,
    CannotBeCarried,
    JsonObject,
    Reasoning,
    Sending,
    Thinking,
    Turn,
    effort_of,
)

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_BUDGET_MIN_TOKENS: Final = 1_024
# Models that think within a budget alone; later ones see for themselves, guided by a word.
_THINKS_BY_BUDGET: Final = re.compile(r"claude-(?:3|haiku-4|(?:opus|sonnet)-4(?:-[015](?!\d)|-2|@|$))")


def read_thinking(given: Fields | None, effort: str) -> Thinking | None:
    """Read `thinking` and `output_config.effort`; disabled is what it is when nothing is said."""
    if given is None:
        return Thinking(effort) if effort else None
    kind = given.text("type")
    if kind not in ("enabled", "adaptive", "disabled"):
        raise CannotBeCarried(given.at("type"), "thinking is none of enabled, adaptive, disabled")
    tokens = given.whole("budget_tokens") if kind == "enabled" else -1
    if tokens is None:
        raise given.wrong("budget_tokens", "an integer")
    display = given.word("display", ("summarized", "omitted"))
    given.end()
    if kind == "disabled":
        return Thinking(effort) if effort else None
    return Thinking(effort, tokens, {"summarized": True, "omitted": False}.get(display))


def write_thinking(thinking: Thinking, turns: tuple[Turn, ...], sending: Sending) -> tuple[JsonObject | None, str]:
    """Return the `thinking` object and the effort to write, either of which may be none."""
    effort, tokens = thinking.effort, thinking.tokens
    if not effort and tokens is None:
        return None, ""
    if effort == "none" or tokens == 0:
        return {"type": "disabled"}, ""
    if tokens == -1 or not _THINKS_BY_BUDGET.search(sending.model):
        return _shown({"type": "adaptive"}, thinking), _known(effort_of(thinking))
    if _resumes_unsigned(turns):
        return None, ""
    budget_tokens = min(max(tokens or BUDGETS_TOKENS[effort], _BUDGET_MIN_TOKENS), sending.cap - 1)
    if budget_tokens < _BUDGET_MIN_TOKENS:
        raise CannotBeCarried("thinking", f"in messages it takes an output cap above {_BUDGET_MIN_TOKENS} tokens")
    return _shown({"type": "enabled", "budget_tokens": budget_tokens}, thinking), _known(effort) if tokens else ""


def _shown(written: JsonObject, thinking: Thinking) -> JsonObject:
    if thinking.shown is None:
        return written
    return written | {"display": "summarized" if thinking.shown else "omitted"}


def _known(effort: str) -> str:
    return "low" if effort == "minimal" else effort


def _resumes_unsigned(turns: tuple[Turn, ...]) -> bool:
    """Tell whether a tool's result is answered to a model that thought, if it did, without leaving its signature.

    Such models do not begin to think between a call and its result, and refuse to be asked to.
    """
    if not turns or turns[-1].role != "tool":
        return False
    asked = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    return asked is None or not any(isinstance(part, Reasoning) for part in asked.parts)
