"""Judge what `bursar doctor` has looked at: values in, findings out, each with what to do. No I/O and no clock."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from bursar.core.money import nano_to_usd
from bursar.core.times import DAY_US, SECOND_US, moment_from_text
from bursar.prices.near import near_names

PRICE_DAYS_MAX: Final = 30
SKEW_WARN_US: Final = SECOND_US
SKEW_FAIL_US: Final = 5 * SECOND_US
DATE_SKEW_US: Final = 60 * SECOND_US
"""A provider's Date header has whole seconds, and may come from a cache."""

UNSEEN_US: Final = 5 * SECOND_US
DISK_WARN_BYTES: Final = 2 * 1024**3
DISK_FAIL_BYTES: Final = 200 * 1024**2
_MIB: Final = 1024**2


class State(StrEnum):
    """Say how a check went."""

    ok = "ok"
    warn = "warn"
    fail = "fail"


class Finding(msgspec.Struct, frozen=True):
    """Be one line of the doctor's: what was looked at, how it is, and what to do about it."""

    check: str
    state: State
    text: str
    remedy: str = ""


class Probe(msgspec.Struct):
    """Hold what asking a provider for its models came to; times in milliseconds, -1 for a step not reached."""

    host: str
    dns_ms: int = -1
    connect_ms: int = -1
    tls_ms: int = -1
    answer_ms: int = -1
    status: int = 0
    date_us: int = 0  # of the answer's Date header, 0 without one
    error: str = ""  # a word for the step that failed
    keyed: bool = True


class GatewaySeen(msgspec.Struct, frozen=True):
    """Say how a gateway stands: how long it was not seen, whether it stopped in order or was given up."""

    name: str
    unseen_us: int
    closed: bool
    given_up: bool
    undecided_nano: int = 0


def judge_prices(release: str, checked: str, now_us: int) -> Finding:
    """Judge the age of the price book."""
    if not checked:
        text = f"{release}: nobody says when its prices were checked"
        return Finding("price age", State.warn, text, "upgrade Bursar")
    days = (now_us - moment_from_text(checked)) // DAY_US
    text = f"{release}, checked on {checked}, {days} days ago"
    if days < 0:
        return Finding("price age", State.fail, text, "this machine's clock is behind: set it, calls are dated by it")
    if days > PRICE_DAYS_MAX:
        return Finding("price age", State.warn, text, "upgrade Bursar, or give your own prices as [[prices]]")
    return Finding("price age", State.ok, text)


def judge_unmetered(listed: Mapping[str, str]) -> Iterator[Finding]:
    """Say which routes pass without a price, each with its provider; nothing where none does."""
    if listed:
        text = f"pass without a price: {', '.join(f'{route} to {name}' for route, name in listed.items())}"
        remedy = "compare the provider's bill (`bursar reconcile`), or take them out of gateway.unmetered_routes"
        yield Finding("unmetered routes", State.warn, text, remedy)


def judge_skew(skew_us: int) -> Finding:
    """Judge how far the database's clock is from this machine's; a later database is positive."""
    text = f"the database is {abs(skew_us) / 1_000:,.0f} ms {'ahead' if skew_us > 0 else 'behind'}"
    remedy = "set both clocks by NTP: windows of budgets begin by the one, holds expire by the other"
    if abs(skew_us) < SKEW_WARN_US:
        return Finding("clock", State.ok, text)
    return Finding("clock", State.fail if abs(skew_us) >= SKEW_FAIL_US else State.warn, text, remedy)


def judge_key_names(named: Sequence[str], keys: Sequence[str]) -> Finding | None:
    """Judge the names that `compress.keys` gives: of a key that is not there, it says nothing. None without names."""
    if not named:
        return None
    unknown = [name for name in named if name not in keys]
    if not unknown:
        return Finding("compress.keys", State.ok, f"each of {len(named)} names is a key's")
    near = near_names(unknown[0], list(keys))
    hint = f"; near: {', '.join(near)}" if near else ""
    text = f"no key is named {unknown[0]!r}{hint}"
    return Finding("compress.keys", State.warn, text, "correct the name, or make the key: `bursar keys create --name`")


def judge_disk(path: str, free_bytes: int, spool_bytes: int) -> Finding:
    """Judge the room that is left for the spool and the books."""
    text = f"{free_bytes // _MIB:,} MiB free in {path}, the spool takes {spool_bytes // _MIB:,}"
    if free_bytes < DISK_FAIL_BYTES:
        return Finding("disk", State.fail, text, "make room: calls are refused when the spool cannot grow")
    if free_bytes < DISK_WARN_BYTES:
        return Finding("disk", State.warn, text, "make room")
    return Finding("disk", State.ok, text)


def judge_gateways(seen: Sequence[GatewaySeen]) -> Iterator[Finding]:
    """Judge who serves this database."""
    serving = [each for each in seen if not each.closed and not each.given_up]
    alive = [each for each in serving if each.unseen_us <= UNSEEN_US]
    if alive:
        yield Finding("workers", State.ok, f"{len(alive)} serve: {', '.join(each.name for each in alive)}")
    else:
        yield Finding("workers", State.warn, "none serves this database", "start `bursar up`")
    for each in serving:
        if each.unseen_us > UNSEEN_US:
            text = f"{each.name} was not seen for {each.unseen_us // SECOND_US:,} s"
            yield Finding("workers", State.warn, text, "start it again: what it has leased is set aside meanwhile")
    for each in seen:
        if each.undecided_nano:
            text = f"{each.name} was given up with {nano_to_usd(each.undecided_nano)} USD undecided"
            remedy = f"start it again, or decide with `bursar gateways settle {each.name} spent|returned`"
            yield Finding("workers", State.warn, text, remedy)


def judge_schema(version: str, applied: Sequence[int], known: Sequence[int]) -> Finding:
    """Judge the server's version and which migrations it has."""
    text = f"PostgreSQL {version}, {len(applied)} of {len(known)} migrations"
    if unknown := sorted(set(applied) - set(known)):
        return Finding("database", State.fail, f"{text}, and {unknown[-1]}, which is newer", "upgrade Bursar")
    if missing := sorted(set(known) - set(applied)):
        return Finding("database", State.warn, f"{text}: {missing[0]} is missing", "`bursar up` applies it")
    return Finding("database", State.ok, text)


def judge_sums(sums: Mapping[str, tuple[int, int]]) -> Finding:
    """Judge the books by their sums alone: in each unit debits and credits are the same, posted and pending."""
    wrong = sorted(unit for unit, gaps in sums.items() if any(gaps))
    if wrong:
        return Finding("books", State.fail, f"debits and credits differ in {', '.join(wrong)}", "`bursar books check`")
    return Finding("books", State.ok, f"debits and credits agree: {', '.join(sums)}")


def judge_probe(name: str, probe: Probe) -> Finding:
    """Judge what a provider has answered when it was asked for its models, which costs nothing."""
    check = f"provider {name}"
    steps = (("dns", probe.dns_ms), ("connect", probe.connect_ms), ("tls", probe.tls_ms), ("answer", probe.answer_ms))
    took = ", ".join(f"{step} {time_ms} ms" for step, time_ms in steps if time_ms >= 0)
    text = f"{probe.host}: {probe.error or f'status {probe.status}'}" + (f" ({took})" if took else "")
    if probe.error:
        return Finding(check, State.fail, text, "look at base_url, the network and this machine's certificates")
    if probe.status in (401, 403):
        remedy = "look at the key" if probe.keyed else "give it a key: api_key_env or api_key_file"
        return Finding(check, State.fail, f"{text}: the key is refused", remedy)
    if probe.status >= 500:
        return Finding(check, State.fail, text, "the provider fails: ask its status page")
    if 300 <= probe.status < 400:
        return Finding(check, State.fail, text, "redirections are not followed: give where it leads as base_url")
    if probe.status == 429:
        return Finding(check, State.warn, text, "its limit is reached: calls will be refused too")
    if probe.status >= 400:
        return Finding(check, State.warn, f"{text}: it has no list of models", "the key could not be tried for free")
    return Finding(check, State.ok, text)


def judge_dates(probes: Mapping[str, Probe], now_us: int) -> Iterator[Finding]:
    """Judge this machine's clock by those of the providers, where most of them say the same."""
    skews = sorted(probe.date_us - now_us for probe in probes.values() if probe.date_us)
    if skews and abs(skews[len(skews) // 2]) >= DATE_SKEW_US:
        seconds = skews[len(skews) // 2] // SECOND_US
        text = f"providers' clocks are {abs(seconds):,} s {'ahead' if seconds > 0 else 'behind'}"
        yield Finding("clock", State.fail, text, "set this machine's clock by NTP")
