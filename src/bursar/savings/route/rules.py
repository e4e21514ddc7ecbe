"""Route by what a person wrote down: the first rule whose conditions a call meets names its model."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from bursar.core.errors import ConfigError
from bursar.prices.near import near_names
from bursar.savings.route.choice import Asked
from bursar.savings.route.features import effort, look
from bursar.savings.route.language import KNOWN, language

Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Effort: TypeAlias = Annotated[float, msgspec.Meta(ge=-10, le=10)]
Words: TypeAlias = str | tuple[str, ...]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold conditions that all must be met; what is not given does not matter.

    `words` and `languages` ask for any of theirs in the last turn of the user; sizes count what they name.
    """

    tokens_min: Size | None = None  # of all that is sent
    tokens_max: Size | None = None
    characters_min: Size | None = None  # of the last turn of the user
    characters_max: Size | None = None
    turns_min: Size | None = None
    turns_max: Size | None = None
    words: Words = ()
    language: Words = ()
    effort_min: Effort | None = None  # of the last turn: 0 is a usual problem's, 1 a spread more
    effort_max: Effort | None = None
    tags: dict[str, str] = {}
    tools: bool | None = None
    images: bool | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Send calls that meet the conditions to a model; without any, all calls."""

    model: str
    when: When = When()


_RANGES: Final = ("tokens", "characters", "turns", "effort")


def read_rules(value: Any, models: Sequence[str], where: str) -> tuple[Rule, ...]:
    """Read a list of rules as a TOML table has them. Raises `ConfigError` naming the rule and the field."""
    if not isinstance(value, list):
        raise ConfigError(f'{where}: expected a list such as [{{when = {{tools = true}}, model = "{models[0]}"}}]')
    return tuple(_read_rule(each, models, f"{where}.{place}") for place, each in enumerate(cast(list[Any], value), 1))


def matches(rule: Rule, asked: Asked) -> bool:
    """Tell whether a call meets all conditions of a rule."""
    when = rule.when
    return (
        _within(asked.prompt_tokens, when.tokens_min, when.tokens_max)
        and _within(len(asked.text), when.characters_min, when.characters_max)
        and _within(asked.turns, when.turns_min, when.turns_max)
        and when.tools in (None, asked.tools)
        and when.images in (None, asked.images)
        and all(asked.tags.get(name) == word for name, word in when.tags.items())
        and (not when.words or _has_word(asked.text, _each(when.words)))
        and _effort_within(asked.text, when)
        and (not when.language or language(asked.text) in _each(when.language))
    )


def said(rule: Rule) -> str:
    """Say a rule's conditions in words."""
    given = {name: value for name, value in msgspec.structs.asdict(rule.when).items() if value not in (None, (), {})}
    told = [_said(name, value) for name, value in given.items()]
    return " and ".join(told) if told else "any call"


def _said(name: str, value: Any) -> str:
    thing, _, bound = name.rpartition("_")
    if bound in ("min", "max") and thing in _RANGES:
        return f"{'at least' if bound == 'min' else 'at most'} {value:,} {thing}"
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {name}"
    if isinstance(value, dict):
        pairs = cast(dict[str, str], value)
        return "tagged " + ", ".join(f"{key}={word}" for key, word in pairs.items())
    return f"{'the word' if name == 'words' else 'in'} {' or '.join(_each(value))}"


def _effort_within(text: str, when: When) -> bool:
    """Tell whether a text asks for as much work as wanted; it is not looked at where nobody asks."""
    if when.effort_min is None and when.effort_max is None:
        return True
    return _within(effort(look(text)), when.effort_min, when.effort_max)


def _within(size: float, least: float | None, most: float | None) -> bool:
    return (least is None or size >= least) and (most is None or size <= most)


def _each(words: Words) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words


def _has_word(text: str, words: tuple[str, ...]) -> bool:
    """Look for whole words or phrases, in whatever case they are written."""
    lowered = text.lower()
    return any(re.search(rf"(?<!\w){re.escape(word.lower())}(?!\w)", lowered) for word in words)


def _read_rule(value: Any, models: Sequence[str], where: str) -> Rule:
    _only_known(value, Rule, where)
    if "when" in value:
        _only_known(value["when"], When, f"{where}.when")
        _none_empty(value["when"], f"{where}.when")
    try:
        rule = msgspec.convert(value, Rule)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise ConfigError(f"{where}{path.rstrip('`').replace('[...]', '')}: {message}") from None
    if rule.model not in models:
        raise ConfigError(f"{where}.model: {rule.model!r} is none of the route's models: {', '.join(models)}")
    _check(rule.when, f"{where}.when")
    return rule


def _none_empty(when: dict[str, Any], where: str) -> None:
    """Refuse a condition of nothing: it would be met by every call."""
    for name, value in when.items():
        if value in ("", [], {}):
            raise ConfigError(f"{where}.{name}: expected at least one, got none; leave it out where it does not matter")


def _check(when: When, where: str) -> None:
    for name in _RANGES:
        least, most = getattr(when, f"{name}_min"), getattr(when, f"{name}_max")
        if least is not None and most is not None and least > most:
            raise ConfigError(f"{where}.{name}_min: {least} is more than {name}_max, {most}: no call can meet both")
    if any(not word.strip() for word in _each(when.words)) and when.words != ():
        raise ConfigError(f'{where}.words: expected words such as ["urgent"], got an empty one')
    for name in _each(when.language) if when.language else ():
        if name not in KNOWN:
            raise ConfigError(f"{where}.language: {name!r} cannot be told from others; known: {', '.join(KNOWN)}")


def _only_known(value: Any, kind: type[msgspec.Struct], where: str) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table")
    for word in cast(dict[str, Any], value):
        if word not in kind.__struct_fields__:
            near = near_names(word, kind.__struct_fields__)
            hint = f"near: {', '.join(near)}" if near else f"known: {', '.join(kind.__struct_fields__)}"
            raise ConfigError(f"unknown setting {where}.{word}; {hint}")
