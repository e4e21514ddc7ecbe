"""Series over the API add up to the statement, and what cannot be asked is said with its name and the way out."""

import html
from decimal import Decimal
from urllib.parse import quote

import pytest

from bench.harness import LocalBursar
from tests.asking import ask_and_wait, fetch


@pytest.fixture(scope="module")
def spending(shared_bursar: LocalBursar) -> LocalBursar:
    secret = shared_bursar.create_key("series", "5.00", tags={"series": "one"})
    for text, options in (("[[output=30]] hi", {}), ("[[output=9 reasoning=4]] hi", {"model": "gpt-5-mini"})):
        ask_and_wait(shared_bursar, secret, text, **options)
    ask_and_wait(shared_bursar, secret, "[[output=20]] hi", stream=True)
    return shared_bursar


@pytest.mark.parametrize("by", ["model", "key", "account", "provider", "tag:series"])
@pytest.mark.parametrize("grain", ["hour", "day", "week", "month"])
def test_a_series_adds_up_to_the_statement(spending: LocalBursar, by: str, grain: str) -> None:
    query = f"since=2026-01-01&grain={grain}&groups=1" if grain != "hour" else "grain=hour"
    series = fetch(spending, "GET", f"/api/series/spend?by={quote(by)}&{query}").json()
    since, until = quote(series["since"]), quote(series["until"])
    total = fetch(spending, "GET", f"/api/statement?since={since}&until={until}").json()["total"]
    assert Decimal(series["cost_usd"]) == Decimal(total["cost_usd"]) > 0
    assert series["calls"] == total["calls"]
    assert sum(map(Decimal, series["costs_usd"])) == Decimal(series["cost_usd"])
    for place, cost in enumerate(series["costs_usd"]):
        assert sum(Decimal(group["costs_usd"][place]) for group in series["groups"]) == Decimal(cost)
    assert sum(Decimal(group["cost_usd"]) for group in series["groups"]) == Decimal(series["cost_usd"])
    assert sum(group["share"] for group in series["groups"]) == pytest.approx(1, abs=1e-5)
    assert len(series["groups"]) <= (2 if "groups" in query else 9)
    assert {len(group["costs_usd"]) for group in series["groups"]} == {len(series["times"])}


def test_tokens_add_up_by_kind_and_over_time(spending: LocalBursar) -> None:
    series = fetch(spending, "GET", "/api/series/tokens").json()
    assert series["tokens"] == sum(kind["tokens"] for kind in series["kinds"])
    assert all(sum(kind["counts"]) == kind["tokens"] for kind in series["kinds"])
    assert {"input_tokens", "output_tokens", "reasoning_tokens"} <= {kind["kind"] for kind in series["kinds"]}


def test_latency_is_told_of_all_and_of_each(spending: LocalBursar) -> None:
    series = fetch(spending, "GET", "/api/series/latency?by=tag:series").json()
    one = next(group for group in series["groups"] if group["name"] == "one")
    assert (one["which"], one["calls"], one["streams"]) == ("named", 3, 1)
    assert 0 < one["ttft_ms"][0] <= one["took_ms"][2]
    assert series["all"]["calls"] == sum(group["calls"] for group in series["groups"])
    assert [each for each in one["over_time"]["p50"] if each is not None] == one["took_ms"][:1]


def test_where_nothing_was_spent_all_is_nothing(spending: LocalBursar) -> None:
    times = "since=2001-01-01&until=2001-01-07"
    spent = fetch(spending, "GET", f"/api/series/spend?{times}").json()
    assert (spent["cost_usd"], spent["change"], spent["groups"], len(spent["times"])) == ("0.00", None, [], 7)
    assert fetch(spending, "GET", f"/api/series/tokens?{times}").json()["kinds"] == []
    assert fetch(spending, "GET", f"/api/series/latency?{times}").json()["all"] is None


def test_what_was_spent_before_is_compared(spending: LocalBursar) -> None:
    month = fetch(spending, "GET", "/api/series/spend").json()
    later = fetch(
        spending, "GET", f"/api/series/spend?since={quote(month['until'])}&until=2070-01-01&grain=month"
    ).json()
    assert later["before_since"] < month["since"]
    assert Decimal(later["before_usd"]) >= Decimal(month["cost_usd"])
    assert later["change"] == -1.0


REFUSED = {
    "by=colour": "by: expected model, key, account, provider or tag:NAME, got 'colour'",
    "by=tag:": "by: expected model",
    "by=kind": "by: expected model",
    "since=yesterday": "since: expected a date",
    "until=2026-13-01": "until: expected a date",
    "since=2026-11-02&until=2026-11-01T00:00": "since: expected a moment before until",
    "grain=minute": "grain: expected a longer part",
    "grain=hour&since=1970-01-01": "grain: expected a longer part",
}


@pytest.mark.parametrize("query", REFUSED)
@pytest.mark.parametrize("route", ["/api/series/spend", "/spend"])
def test_what_cannot_be_asked_is_said_with_its_name(shared_bursar: LocalBursar, query: str, route: str) -> None:
    answer = fetch(shared_bursar, "GET", f"{route}?{query}")
    assert answer.status == 400
    assert REFUSED[query] in html.unescape(answer.body.decode())


@pytest.mark.parametrize("query", ["grain=year", "groups=0", "groups=51"])
def test_what_is_out_of_bounds_is_refused(shared_bursar: LocalBursar, query: str) -> None:
    assert fetch(shared_bursar, "GET", f"/api/series/spend?{query}").status == 400


def test_a_stranger_needs_an_admin_key(shared_bursar: LocalBursar) -> None:
    forwarded = {"x_forwarded_for": "203.0.113.9"}
    for path in ("/api/series/spend", "/api/series/tokens", "/api/series/latency"):
        mine, theirs = (fetch(shared_bursar, "GET", path, **each) for each in ({}, forwarded))
        assert mine.status == 200
        assert theirs.status == fetch(shared_bursar, "GET", "/api/overview", **forwarded).status
