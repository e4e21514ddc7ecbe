"""Read how calls under a name are to be routed: one `[routes.NAME]` table of the configuration."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from bursar.core.errors import ConfigError
from bursar.core.money import Money, usd_to_nano
from bursar.prices.near import near_names
from bursar.savings.route.choice import Target
from bursar.savings.route.rules import Rule, read_rules

STATIC: Final = "static"
LOCAL: Final = "local:"

QUALITY_PERCENT: Final = 95.0
"""What a learned route aims at where its table names no target."""
LOGPROB_MIN: Final = -0.35
"""A mean of log-probabilities below which a cheap answer is not believed: tokens at 70 % on average."""

Percent: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=100)]


class By(StrEnum):
    """Say how a route decides."""

    learned = "learned"
    rule = "rule"
    judged = "judged"
    cascaded = "cascaded"


class Check(StrEnum):
    """Say what a cheap answer must pass to be kept."""

    empty = "empty"  # it says something
    refusal = "refusal"  # it does not decline
    cut_off = "cut_off"  # it came to its end
    json = "json"  # it is JSON where JSON was asked for
    twice = "twice"  # asked again, the model says the same
    logprob = "logprob"  # its tokens were likely to the model itself
    judge = "judge"  # a small model finds that it answers the question


FREE_CHECKS: Final = (Check.empty, Check.refusal, Check.cut_off, Check.json)
"""Checks that cost nothing: what a cascade does where its table names none."""


_MEANT_FOR: Final[dict[str, tuple[By, ...]]] = {
    "quality_percent": (By.learned,),
    "router": (By.learned,),
    "embedder": (By.learned,),
    "explore_percent": (By.learned,),
    "explore_cost_max_usd": (By.learned,),
    "judge": (By.judged, By.cascaded),
    "verify": (By.cascaded,),
    "logprob_min": (By.cascaded,),
    "checks_streams": (By.cascaded,),
}
"""The ways of deciding that read a setting; what is not named is read by all."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Hold how a name routes: its models by the names clients use, in order of preference, and how one is taken.

    `strengths` place models between the router's weak one, 0, and its strong one, 1; without them prices do.
    """

    name: str
    models: tuple[str, ...]
    by: By = By.learned
    target: Target = Target()
    rules: tuple[Rule, ...] = ()
    judge: str = ""
    verify: tuple[Check, ...] = FREE_CHECKS
    logprob_min: float = LOGPROB_MIN
    checks_streams: bool = False  # a stream is kept back until it is checked; else the strongest answers it
    router: str = ""  # a file of `bursar route train`; empty: the one that ships
    embedder: str = STATIC  # whose vectors the router was trained on: the table that ships, or local:FOLDER
    strengths: dict[str, float] = {}
    prefer_local: bool = False
    fall_back: bool = True  # a model that fails is followed by the route's others
    explore_percent: float = 0.0
    explore_cost_max_nano: Money | None = None  # beyond the best guess, a call; None: as much again
    holdout_percent: float = 0.0

    @property
    def asked_models(self) -> tuple[str, ...]:
        """Name all models that the route may call, the judge with them."""
        return (*self.models, self.judge) if self.judge and self.judge not in self.models else self.models


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hold those settings that stand for themselves."""

    models: tuple[str, ...]
    by: By = By.learned
    quality_percent: Annotated[float, msgspec.Meta(gt=0, le=100)] | None = None
    cost_max_usd: str | None = None
    seconds_max: Annotated[float, msgspec.Meta(gt=0)] | None = None
    judge: str = ""
    verify: tuple[Check, ...] = FREE_CHECKS
    logprob_min: Annotated[float, msgspec.Meta(le=0)] = LOGPROB_MIN
    checks_streams: bool = False
    router: str = ""
    embedder: str = STATIC
    strengths: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}
    prefer_local: bool = False
    fall_back: bool = True
    explore_percent: Percent = 0.0
    explore_cost_max_usd: str | None = None
    holdout_percent: Annotated[float, msgspec.Meta(ge=0, le=90)] = 0.0


SETTINGS: Final = (*_Table.__struct_fields__, "rules")
"""What a `[routes.NAME]` table may hold."""


def read_policy(name: str, table: Any, known: Sequence[str]) -> Policy:
    """Read a `[routes.NAME]` table. `known` are the models that are configured.

    Raises `ConfigError` naming the setting, what was expected and the way out.
    """
    where = f"routes.{name}"
    own = _read_table(table, where)
    models = own.models
    if not models or len(set(models)) < len(models):
        raise ConfigError(f'{where}.models: expected models, each once, such as ["small", "big"]')
    for setting, named in (("models", models), ("judge", (own.judge,) if own.judge else ())):
        _check_known(named, known, name, f"{where}.{setting}")
    _check_strengths(own.strengths, models, f"{where}.strengths")
    rules = read_rules(table.get("rules", []), models, f"{where}.rules")
    _check_way(own, rules, where)
    _check_meaning(own, cast(dict[str, Any], table), where)
    _check_embedder(own, where)
    return Policy(
        name=name,
        models=models,
        by=own.by,
        target=Target(own.quality_percent, _usd(own.cost_max_usd, f"{where}.cost_max_usd"), own.seconds_max),
        rules=rules,
        judge=own.judge,
        verify=own.verify,
        logprob_min=own.logprob_min,
        checks_streams=own.checks_streams,
        router=own.router,
        embedder=own.embedder,
        strengths=own.strengths,
        prefer_local=own.prefer_local,
        fall_back=own.fall_back,
        explore_percent=own.explore_percent,
        explore_cost_max_nano=_usd(own.explore_cost_max_usd, f"{where}.explore_cost_max_usd"),
        holdout_percent=own.holdout_percent,
    )


def _read_table(table: Any, where: str) -> _Table:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table")
    given = cast(dict[str, Any], table)
    for word in given:
        if word not in SETTINGS:
            near = near_names(word, SETTINGS)
            hint = f"near: {', '.join(near)}" if near else f"known: {', '.join(SETTINGS)}"
            raise ConfigError(f"unknown setting {where}.{word}; {hint}")
    if "models" not in given:
        raise ConfigError(f'{where}.models: expected models such as ["small", "big"]')
    try:
        return msgspec.convert({word: value for word, value in given.items() if word != "rules"}, _Table)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").replace("[...]", "")
        if message.startswith("Invalid enum value"):
            kind = By if field == ".by" else Check
            message = f"expected {' or '.join(kind)}, got {message.removeprefix('Invalid enum value ')}"
        raise ConfigError(f"{where}{field}: {message}") from None


def _check_known(named: Sequence[str], known: Sequence[str], route: str, where: str) -> None:
    for model in named:
        if model == route:
            raise ConfigError(f"{where}: {model!r} is the route itself; name models it may choose")
        if model not in known:
            near = near_names(model, known)
            hint = f"near: {', '.join(near)}" if near else "add a [models] table for it"
            raise ConfigError(f"{where}: no model {model!r}; {hint}")


def _check_strengths(strengths: dict[str, float], models: Sequence[str], where: str) -> None:
    for model in strengths:
        if model not in models:
            raise ConfigError(f"{where}: {model!r} is none of the route's models: {', '.join(models)}")
    missing = [model for model in models if model not in strengths]
    if strengths and missing:
        raise ConfigError(f"{where}: expected one for each model, 0 weak to 1 strong; missing: {', '.join(missing)}")


def _check_way(own: _Table, rules: tuple[Rule, ...], where: str) -> None:
    """Check that what the way of deciding needs is there."""
    if own.by is By.rule and not rules:
        raise ConfigError(f'{where}.rules: expected at least one rule, for by = "rule"')
    if own.by is By.judged and not own.judge:
        raise ConfigError(f'{where}.judge: expected the model that grades, for by = "judged"')
    if own.by is By.cascaded:
        if len(own.models) < 2:
            raise ConfigError(f'{where}.models: expected at least two, for by = "cascaded"')
        if not own.verify:
            raise ConfigError(f'{where}.verify: expected checks such as ["empty", "refusal"], for by = "cascaded"')
        if Check.judge in own.verify and not own.judge:
            raise ConfigError(f'{where}.judge: expected the model that judges, for verify = ["judge"]')
        if own.checks_streams and Check.logprob in own.verify:
            raise ConfigError(
                f'{where}.checks_streams: log-probabilities of a stream are not read; leave "logprob" out of verify'
            )


def _check_meaning(own: _Table, given: dict[str, Any], where: str) -> None:
    """Refuse what is set and would do nothing: somebody believes that it does."""
    for word in given:
        ways = _MEANT_FOR.get(word, tuple(By))
        if own.by not in ways:
            raise ConfigError(
                f'{where}.{word}: has no meaning for by = "{own.by}", only for {" and ".join(ways)}; leave it out'
            )
    if own.by is By.cascaded and own.judge and Check.judge not in own.verify:
        raise ConfigError(f'{where}.judge: has no meaning without "judge" in verify; name it there, or leave it out')


def _check_embedder(own: _Table, where: str) -> None:
    """Check what makes the vectors: not a server elsewhere, which would be sent every prompt, and bill unseen."""
    word = own.embedder
    if word != STATIC and not (word.startswith(LOCAL) and len(word) > len(LOCAL)):
        raise ConfigError(f"{where}.embedder: expected {STATIC!r} or '{LOCAL}FOLDER', got {word!r}")
    if word != STATIC and not own.router:
        raise ConfigError(
            f"{where}.embedder: the router that ships knows the table that ships and no other; name a `router` of "
            f"`bursar route train --embedder {word}`"
        )


def _usd(text: str | None, where: str) -> Money | None:
    if text is None:
        return None
    try:
        nano = usd_to_nano(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if nano <= 0:
        raise ConfigError(f"{where}: expected more than 0 USD, got {text}")
    return nano
