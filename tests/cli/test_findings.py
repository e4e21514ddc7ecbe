"""What the doctor says of what it has seen: a table for each kind of check, at its bounds."""

import pytest

from bursar.api.doctor.findings import (
    DISK_FAIL_BYTES,
    DISK_WARN_BYTES,
    GatewaySeen,
    Probe,
    State,
    judge_dates,
    judge_disk,
    judge_gateways,
    judge_key_names,
    judge_prices,
    judge_probe,
    judge_schema,
    judge_skew,
    judge_sums,
)
from bursar.core.times import DAY_US, SECOND_US, moment_from_text

NOW_US = moment_from_text("2026-11-22T12:00Z")
OK, WARN, FAIL = State.ok, State.warn, State.fail


@pytest.mark.parametrize(
    ("checked", "state"),
    [
        ("2026-11-22", OK),
        ("2026-10-23", OK),
        ("2026-10-22", WARN),
        ("2025-01-01", WARN),
        ("", WARN),
        ("2026-11-23", FAIL),
    ],
)
def test_prices_are_old_after_thirty_days_and_those_of_tomorrow_say_that_the_clock_is_wrong(
    checked: str, state: State
) -> None:
    assert judge_prices("genai-prices 1", checked, NOW_US).state is state


@pytest.mark.parametrize(
    ("skew_us", "state", "word"),
    [
        (0, OK, "behind"),
        (SECOND_US - 1, OK, "ahead"),
        (SECOND_US, WARN, "ahead"),
        (-SECOND_US, WARN, "behind"),
        (5 * SECOND_US, FAIL, "ahead"),
        (-30 * DAY_US, FAIL, "behind"),
    ],
)
def test_a_databases_clock_may_be_a_second_off_and_not_five(skew_us: int, state: State, word: str) -> None:
    finding = judge_skew(skew_us)
    assert (finding.state, word in finding.text) == (state, True)


def test_a_name_that_no_key_has_is_told_with_the_nearest() -> None:
    wrong, right = judge_key_names(["legal team", "leagl"], ["legal", "legal team"]), judge_key_names(["a"], ["a", "b"])
    assert wrong is not None
    assert right is not None
    assert (wrong.state, wrong.text) == (WARN, "no key is named 'leagl'; near: legal")
    assert (right.state, right.text) == (OK, "each of 1 names is a key's")
    assert judge_key_names([], ["a"]) is None


@pytest.mark.parametrize(
    ("free", "state"),
    [(DISK_WARN_BYTES, OK), (DISK_WARN_BYTES - 1, WARN), (DISK_FAIL_BYTES, WARN), (DISK_FAIL_BYTES - 1, FAIL)],
)
def test_room_on_disk_is_judged_by_what_the_spool_needs(free: int, state: State) -> None:
    assert judge_disk("here", free, 0).state is state


@pytest.mark.parametrize(
    ("applied", "known", "state"),
    [([1, 2], [1, 2], OK), ([1], [1, 2], WARN), ([], [1], WARN), ([1, 2, 3], [1, 2], FAIL), ([1, 3], [1, 2], FAIL)],
)
def test_a_schema_that_is_newer_than_this_version_fails(applied: list[int], known: list[int], state: State) -> None:
    assert judge_schema("18.1", applied, known).state is state


def test_books_whose_sides_differ_fail_and_name_the_unit() -> None:
    assert judge_sums({"usd": (0, 0), "token": (0, 0)}).state is OK
    for wrong in ((1, 0), (0, -1)):
        finding = judge_sums({"usd": (0, 0), "token": wrong})
        assert (finding.state, "token" in finding.text, "usd" in finding.text) == (FAIL, True, False)


@pytest.mark.parametrize(
    ("seen", "states"),
    [
        ([], [WARN]),
        ([GatewaySeen("a", 0, False, False)], [OK]),
        ([GatewaySeen("a", 9 * SECOND_US, False, False)], [WARN, WARN]),
        ([GatewaySeen("a", 0, False, False), GatewaySeen("b", 9 * SECOND_US, True, False)], [OK]),
        ([GatewaySeen("a", 0, False, False), GatewaySeen("b", 9 * SECOND_US, False, True, 5)], [OK, WARN]),
        ([GatewaySeen("a", 0, True, False)], [WARN]),
    ],
)
def test_who_serves_is_judged_by_who_was_seen(seen: list[GatewaySeen], states: list[State]) -> None:
    assert [finding.state for finding in judge_gateways(seen)] == states


@pytest.mark.parametrize(
    ("probe", "state", "word"),
    [
        (Probe("h", 1, 2, 3, 4, 200), OK, "status 200 (dns 1 ms, connect 2 ms, tls 3 ms, answer 4 ms)"),
        (Probe("h", 1, error="connect failed: connection refused"), FAIL, "connection refused (dns 1 ms)"),
        (Probe("h", status=401), FAIL, "the key is refused"),
        (Probe("h", status=403, keyed=False), FAIL, "the key is refused"),
        (Probe("h", status=302), FAIL, "302"),
        (Probe("h", status=404), WARN, "no list of models"),
        (Probe("h", status=429), WARN, "429"),
        (Probe("h", status=503), FAIL, "503"),
    ],
)
def test_a_provider_is_judged_by_what_it_answers(probe: Probe, state: State, word: str) -> None:
    finding = judge_probe("p", probe)
    assert (finding.state, word in finding.text, bool(finding.remedy)) == (state, True, state is not OK)


@pytest.mark.parametrize(
    ("skews_s", "told"), [([], False), ([0, 0, 900], False), ([900], True), ([-59], False), ([-900, -901, 0], True)]
)
def test_this_machines_clock_is_judged_by_the_middle_of_the_providers(skews_s: list[int], told: bool) -> None:
    probes = {str(n): Probe("h", date_us=NOW_US + skew * SECOND_US) for n, skew in enumerate(skews_s)}
    probes["silent"] = Probe("h")
    assert bool(list(judge_dates(probes, NOW_US))) is told
