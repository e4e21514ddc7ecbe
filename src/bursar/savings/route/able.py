"""Leave out the models that cannot serve a call: it needs what they lack, or nobody knows their price."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bursar.savings.route.choice import Asked, Option, Target

COMMON_CONTEXT_TOKENS: Final = 8_192
"""What every model in use today holds: below it nobody needs to know a context's size."""


TIMES_FEWER_MAX: Final = 4
"""How many times fewer tokens a prompt may be than is estimated: sixteen bytes to one, as of blanks and long words."""


class Able(msgspec.Struct, frozen=True):
    """Hold the models that can serve a call, in their order, and of the others why not.

    `unsure` says of those that are kept what is not known of them.
    """

    options: tuple[Option, ...]
    reasons: tuple[tuple[str, str], ...] = ()
    unsure: dict[str, str] = {}


def able(asked: Asked, options: Sequence[Option], target: Target | None = None) -> Able:
    """Return those that can, are priced, and keep the most a call may cost and take.

    A context of unknown size matters only for a long call, and time only where it is promised: there a model nobody
    knows it of is left out, unless of none it is known. Where the estimated size alone leaves nobody, the model that
    holds most is kept, if the prompt may fit into it.
    """
    wanted = target or Target()
    reasons = [(option.model, _lacks(asked, option, wanted)) for option in options]
    left = [option for option, (_, reason) in zip(options, reasons, strict=True) if not reason]
    unsure = {option.model: doubt for option in left if (doubt := _doubt(asked, option, wanted))}
    sure = [option for option in left if option.model not in unsure]
    why_not = [(model, reason) for model, reason in reasons if reason]
    if sure:
        why_not += [(option.model, unsure[option.model]) for option in left if option.model in unsure]
        return Able(tuple(sure), tuple(why_not))
    largest = None if left else _largest(asked, options, wanted)
    if largest is None:
        return Able(tuple(left), tuple(why_not), unsure)
    others = tuple((model, reason) for model, reason in why_not if model != largest.model)
    return Able((largest,), others, {largest.model: f"may be too small: it {_overflow(asked, largest)}"})


def needed_tokens(asked: Asked, option: Option) -> int:
    """Return how much context a call takes up with its answer."""
    return asked.prompt_tokens + (option.output_tokens if asked.output_cap is None else asked.output_cap)


def _lacks(asked: Asked, option: Option, target: Target) -> str:
    if not option.priced:
        return "has no known price"
    if asked.tools and not option.takes_tools:
        return "takes no tools"
    if asked.images and not option.takes_images:
        return "takes no images"
    return _overflow(asked, option) or _breaks(asked, option, target)


def _overflow(asked: Asked, option: Option) -> str:
    needed = needed_tokens(asked, option)
    if option.context_tokens is not None and needed > option.context_tokens:
        return f"holds {option.context_tokens:,} tokens of the {needed:,} needed"
    return ""


def _largest(asked: Asked, options: Sequence[Option], target: Target) -> Option | None:
    """Return the model that holds most, of those that lack nothing but room and may have enough of that."""
    least = msgspec.structs.replace(asked, prompt_tokens=asked.prompt_tokens // TIMES_FEWER_MAX)
    fitting = [each for each in options if not _lacks(least, each, target) and not _breaks(asked, each, target)]
    return max(fitting, key=lambda each: each.context_tokens or 0, default=None)


def _breaks(asked: Asked, option: Option, target: Target) -> str:
    if target.cost_max_nano is not None and option.expected_nano(asked) > target.cost_max_nano:
        return "is expected to cost more than a call may"
    if target.seconds_max is not None and option.seconds is not None and option.seconds > target.seconds_max:
        return f"answers within {option.seconds:g} s on average, not {target.seconds_max:g}"
    return ""


def _doubt(asked: Asked, option: Option, target: Target) -> str:
    if option.context_tokens is None and needed_tokens(asked, option) > COMMON_CONTEXT_TOKENS:
        return "has a context of unknown size"
    if target.seconds_max is not None and option.seconds is None:
        return "has no known time to answer"
    return ""
