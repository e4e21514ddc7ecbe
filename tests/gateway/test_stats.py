"""Counters say what was settled, whichever worker is asked, and never fall."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
from inline_snapshot import snapshot
from prometheus_client import CollectorRegistry, generate_latest

from bursar.core.records import Attempt, AttemptStatus, Call, CallStatus, Protocol, Record, Segments, UsageSource
from bursar.core.usage import Usage
from bursar.gateway.metrics import METRICS, Collector
from bursar.gateway.stats import SERIES_MAX, Reading, Stats
from bursar.gateway.watch import Lag
from bursar.store.spool import Position

OPENED_US = 1_000_000_000
USAGE = Usage(100, 40, 5, 3, 20, 7, {"input_audio_tokens": 11})


def attempt(provider: str = "openai", model: str = "gpt", **fields: Any) -> Attempt:
    made = Attempt(
        provider, model, AttemptStatus.ok, 200, OPENED_US + 150, OPENED_US + 90_000, OPENED_US + 100_000, USAGE,
        UsageSource.provider, "p", (), 1_500,
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def record(*attempts: Attempt, stream: bool = False, status: CallStatus = CallStatus.ok) -> Record:
    call = Call(b"\0" * 16, 1, "key", Protocol.openai_chat, "mine", stream, OPENED_US, Segments())
    cost = sum(each.cost_nano for each in attempts)
    return Record(call, status, attempts, 9_000, cost, 0, cost, attempts[-1].ended_us)


def stats(file: Path | None = None) -> Stats:
    """Make counters whose clock stands 30 microseconds after each answer."""
    return Stats(file, lambda: OPENED_US + 100_030)


def shown(of: Stats) -> dict[str, float]:
    registry, collector = CollectorRegistry(auto_describe=False), Collector(of)
    registry.register(collector)  # pyright: ignore[reportArgumentType] - it has what a collector needs
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_a_known_number_of_calls_gives_exactly_these_numbers() -> None:
    counters = stats()
    failed = attempt("dear", "big", status=AttemptStatus.failed, usage=Usage(), cost_nano=0)
    for _ in range(3):
        counters.count(record(attempt()))
    counters.count(record(attempt(), stream=True, status=CallStatus.client_gone))
    counters.count(record(failed, failed, attempt()))
    counters.refused["unpriced"] = 2
    counters.under_way = 4
    numbers = {
        name.removeprefix("bursar_"): value
        for name, value in shown(counters).items()
        if value and "_created" not in name and "_bucket" not in name and "build_info" not in name
    }
    assert numbers == snapshot(
        {
            'calls_total{model="gpt",protocol="openai_chat",provider="openai",status="ok",stream="false"}': 4.0,
            'calls_total{model="gpt",protocol="openai_chat",provider="openai",status="client_gone",stream="true"}': 1.0,
            'first_byte_seconds_count{model="gpt",provider="openai"}': 5.0,
            'first_byte_seconds_sum{model="gpt",provider="openai"}': 0.45,
            'call_seconds_count{model="gpt",provider="openai"}': 5.0,
            'call_seconds_sum{model="gpt",provider="openai"}': 0.5,
            'attempts_total{model="gpt",provider="openai",status="ok"}': 5.0,
            'attempts_total{model="big",provider="dear",status="failed"}': 2.0,
            'cost_usd_total{model="gpt",provider="openai"}': 7.5e-06,
            'tokens_total{kind="input",model="gpt",provider="openai"}': 500.0,
            'tokens_total{kind="cache_read",model="gpt",provider="openai"}': 200.0,
            'tokens_total{kind="cache_write",model="gpt",provider="openai"}': 40.0,
            'tokens_total{kind="output",model="gpt",provider="openai"}': 100.0,
            'tokens_total{kind="reasoning",model="gpt",provider="openai"}': 35.0,
            'tokens_total{kind="other",model="gpt",provider="openai"}': 55.0,
            'refused_total{code="unpriced"}': 2.0,
            'retries_total{provider="dear"}': 1.0,
            'fallbacks_total{provider="dear"}': 1.0,
            "added_seconds_count": 5.0,
            "added_seconds_sum": 0.0009,
            "calls_under_way": 4.0,
            "workers": 1.0,
        }
    )
    buckets = {name: value for name, value in shown(counters).items() if name.startswith("bursar_added_seconds_bucket")}
    assert list(buckets.values()) == [0.0, 0.0] + [5.0] * 13  # 180 microseconds each


def test_counters_of_all_workers_are_one_and_their_gauges_too(tmp_path: Path) -> None:
    first, second = (stats(tmp_path / name) for name in ("spool.stats", "spool-1.stats"))
    for counters, age in ((first, 10.0), (second, 30.0)):
        counters.count(record(attempt()))
        counters.under_way = 2
        readings = [Reading("bursar_price_age_seconds", age), Reading("bursar_breaker_open", 1, ("openai", "gpt"))]
        counters.watch(lambda readings=readings: readings)
        counters.write()
    for counters in (first, second):
        numbers = shown(counters)
        assert numbers['bursar_attempts_total{model="gpt",provider="openai",status="ok"}'] == 2
        assert (numbers["bursar_workers"], numbers["bursar_calls_under_way"]) == (2, 4)
        assert numbers["bursar_price_age_seconds"] == 30
        assert numbers['bursar_breaker_open{model="gpt",provider="openai"}'] == 2


def test_a_worker_goes_on_counting_where_its_last_life_has_stopped(tmp_path: Path) -> None:
    file = tmp_path / "spool.stats"
    before = stats(file)
    before.count(record(attempt()))
    before.refused["unpriced"] = 1
    before.predicted = 5
    before.write()
    after = stats(file)
    after.count(record(attempt()))
    after.predicted = 2
    after.write()
    numbers = shown(stats(file))
    assert numbers["bursar_expected_holds_total"] == 7
    assert numbers['bursar_refused_total{code="unpriced"}'] == 1
    assert numbers['bursar_attempts_total{model="gpt",provider="openai",status="ok"}'] == 2
    assert numbers["bursar_added_seconds_count"] == 2


def test_of_a_worker_that_has_ended_the_counters_stay_and_the_gauges_go(tmp_path: Path) -> None:
    ended = stats(tmp_path / "spool-1.stats")
    ended.count(record(attempt()))
    ended.under_way = 9
    ended.write()
    long_ago = time.time() - 60
    os.utime(tmp_path / "spool-1.stats", (long_ago, long_ago))
    numbers = shown(stats(tmp_path / "spool.stats"))
    assert (numbers["bursar_workers"], numbers["bursar_calls_under_way"]) == (1, 0)
    assert numbers["bursar_call_seconds_count" + '{model="gpt",provider="openai"}'] == 1


def test_a_file_of_another_version_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "spool.stats"
    for content in (b"", b"\xc1", msgspec.msgpack.encode({"series": [[1, 2]]}), msgspec.msgpack.encode([1])):
        file.write_bytes(content)
        assert stats(file).counts().series == []
        assert shown(stats(tmp_path / "spool-1.stats"))["bursar_workers"] == 1


def test_histograms_of_a_version_with_other_bounds_begin_anew_and_the_rest_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "spool.stats"
    before = stats(file)
    before.count(record(attempt()))
    counts = before.counts()
    counts.added.counts = counts.series[0].whole.counts = [1, 2, 3]
    file.write_bytes(msgspec.msgpack.encode(counts))
    after = stats(file)
    after.count(record(attempt()))
    numbers = shown(after)
    assert numbers['bursar_attempts_total{model="gpt",provider="openai",status="ok"}'] == 2
    assert numbers["bursar_added_seconds_count"] == 1
    assert numbers['bursar_call_seconds_count{model="gpt",provider="openai"}'] == 1
    assert numbers['bursar_first_byte_seconds_count{model="gpt",provider="openai"}'] == 2


def test_however_many_models_there_are_the_series_stay_few_and_no_call_is_lost() -> None:
    counters = stats()
    for number in range(SERIES_MAX + 200):
        counters.count(record(attempt(model=f"m{number}")))
    series = counters.counts().series
    assert len(series) == SERIES_MAX + 1
    assert sum(each.count for each in series) == SERIES_MAX + 200
    assert {each.count for each in series if each.model == "other"} == {200}


def test_a_clock_that_was_set_back_makes_no_counter_fall() -> None:
    counters = Stats(None, lambda: 0)
    counters.count(record(attempt(first_byte_us=OPENED_US - 5, ended_us=OPENED_US - 4)))
    numbers = shown(counters)
    assert {name: value for name, value in numbers.items() if value < 0} == {}
    assert numbers["bursar_added_seconds_count"] == 1


def test_the_listener_is_given_each_record() -> None:
    counters, heard = stats(), []
    counters.listener = lambda *each: heard.append(each)
    counters.count(record(attempt()), b"00-ab-cd-01")
    assert heard == [(record(attempt()), b"00-ab-cd-01")]


def test_every_gauge_and_counter_says_what_it_is() -> None:
    assert len({each.name for each in METRICS}) == len(METRICS)
    for metric in Collector(stats()).collect():
        assert metric.documentation


def test_the_lag_is_that_of_the_oldest_entry_which_is_not_in_the_books() -> None:
    lag, at = Lag(), [Position(0, offset) for offset in (0, 100, 200, 300)]
    assert lag.look(at[0], at[0], 1_000) == 0
    assert lag.look(at[1], at[0], 2_000) == 0
    assert lag.look(at[2], at[0], 3_000) == 1_000
    assert lag.look(at[3], at[1], 5_000) == 2_000
    assert lag.look(at[3], at[1], 6_000) == 3_000
    assert lag.look(at[3], at[3], 7_000) == 0
