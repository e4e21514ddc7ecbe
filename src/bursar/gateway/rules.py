"""Say how a model's calls behave when something fails: how often they try, how long they wait, where they go next."""

from typing import Final

import msgspec

from bursar.core.times import SECOND_US
from bursar.gateway.config import Balance, Model, Settings


class Rules(msgspec.Struct, frozen=True):
    """Hold what one model's calls do in failures. Times in seconds, but for `timeout_us`."""

    retries: int = 1  # rounds through the targets after the first
    attempts_max: int = 6  # over all targets and fallbacks
    retry_wait_max_s: float = 10.0  # a provider that asks for a longer pause is not waited for
    retry_lost: bool = False  # ask again although the first request may be billed
    timeout_us: int = 1_800 * SECOND_US  # for the whole call
    own_timeout_s: float | None = None  # where the model has one
    cancels: bool = False  # a client that leaves ends its stream at the provider too
    fallbacks: tuple[str, ...] = ()
    balance: Balance = "order"
    several: bool = False  # targets, or models to fall back to: there is a choice


USUAL: Final = Rules()


def rules_of(settings: Settings, model: Model | None) -> Rules:
    """Return the rules of a model: its own settings, then the gateway's."""
    timeout_s = model.timeout_s if model is not None else None
    retries = model.retries if model is not None else None
    on_disconnect = model.on_disconnect if model is not None else None
    return Rules(
        retries=settings.retries if retries is None else retries,
        attempts_max=settings.attempts_max,
        retry_wait_max_s=settings.retry_wait_max_s,
        retry_lost=settings.retry_lost,
        timeout_us=round((timeout_s or settings.call_timeout_s) * SECOND_US),
        own_timeout_s=timeout_s,
        cancels=(on_disconnect or settings.on_disconnect) == "cancel",
        fallbacks=model.fallbacks if model is not None else (),
        balance=model.balance if model is not None else "order",
        several=model is not None and len(model.targets) + len(model.fallbacks) > 1,
    )
