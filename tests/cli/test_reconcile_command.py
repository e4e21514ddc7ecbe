"""What a provider billed agrees with the books to the nano-USD; what is planted in its invoice is found and booked."""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bench.books import provider
from bench.harness import ROOT, LocalBursar, bursar
from bursar.core.times import to_datetime
from bursar.ledger.causes import Cause
from bursar.ledger.invoices import InvoiceFormat
from bursar.prices import load
from tests.asking import ask, fetch
from tests.cli.outcome import Cli, Outcome

PAGE = (ROOT / "docs" / "how-to" / "reconcile.md").read_text()
CHAT = ("gpt-4o-mini", "gpt-5-mini")
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
prices = "openai"

[providers.anthropic]
kind = "anthropic"
base_url = "http://127.0.0.1:{port}"
prices = "anthropic"

[providers.doubtful]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
prices = "openai"

[models."gpt-4o"]
targets = ["doubtful/gpt-4o"]

[models."gpt-4o-mini"]
targets = ["openai/gpt-4o-mini"]

[models."gpt-5-mini"]
targets = ["openai/gpt-5-mini"]

[models."claude-haiku-4-5"]
targets = ["anthropic/claude-haiku-4-5"]
"""
MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "[[output=30]]"}]}
Result = dict[str, Any]


class House:
    """Hold a Bursar that made some calls, and what their provider billed for them."""

    def __init__(self, local: LocalBursar, port: int) -> None:
        self.local = local
        self.port = port
        at_us = local.query("select max(opened_us) as at_us from calls")[0]["at_us"]
        self.day = to_datetime(at_us).date()

    def bill(self) -> dict[str, dict[str, int]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/sandbox/bill") as answer:
            return json.load(answer)["usage"]

    def costs(self, models: tuple[str, ...] = CHAT) -> list[Result]:
        """Write OpenAI's costs of the day, from its bill and the list prices."""
        items = {"input_tokens": "input", "cache_read_tokens": "cached input", "output_tokens": "output"}
        results = []
        for model in models:
            used = self.bill()[model]
            for leaf, item in items.items():
                count = used.get(leaf, 0) + (used.get("reasoning_tokens", 0) if leaf == "output_tokens" else 0)
                usd = str(usd_of(model, leaf, count))
                name = f"{model}-2025-08-07, {item}"
                results.append({"line_item": name, "quantity": count, "amount": {"value": usd, "currency": "usd"}})
        return results

    def usage(self) -> list[Result]:
        """Write OpenAI's usage of the day."""
        results = []
        for model, requests in zip(CHAT, (2, 1), strict=True):
            used = self.bill()[model]
            read = used.get("cache_read_tokens", 0)
            results.append(
                {
                    "model": f"{model}-2025-08-07",
                    "num_model_requests": requests,
                    "input_tokens": used["input_tokens"] + read,
                    "input_cached_tokens": read,
                    "output_tokens": used["output_tokens"] + used.get("reasoning_tokens", 0),
                }
            )
        return results

    def openai_page(self, results: list[Result], days_later: int = 0, *more: Result) -> str:
        start = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC) + timedelta(days=days_later)
        start_s = int(start.timestamp())
        data = [{"start_time": start_s, "end_time": start_s + 86_400, "results": results}, *more]
        return json.dumps({"object": "page", "data": data, "has_more": False})

    def anthropic_page(self, *more: Result) -> str:
        """Write Anthropic's cost report of the day."""
        used = self.bill()["claude-haiku-4-5"]
        results = [
            {"amount": str(usd_of("claude-haiku-4-5", leaf, count) * 100), "cost_type": "tokens", "token_type": leaf}
            for leaf, count in used.items()
        ]
        named = [{"model": "claude-haiku-4-5-20251001", "currency": "USD"} | result for result in results]
        end = self.day + timedelta(days=1)
        bucket = {"starting_at": f"{self.day}T00:00:00Z", "ending_at": f"{end}T00:00:00Z", "results": [*named, *more]}
        return json.dumps({"data": [bucket], "has_more": False, "next_page": None})


def usd_of(model: str, leaf: str, count: int) -> Decimal:
    """Price tokens by the list, outside of what charges calls."""
    rate = load().find_any(model).at(time.time_ns() // 1_000).rates[leaf]
    return Decimal(count) * rate.base_nano / 10**15


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Make a few calls of several models: one reads the provider's cache, one fails."""
    with provider() as port, bursar(CONFIG.format(port=port)) as local:
        secret = local.create_key("reconcile")
        for model in ("gpt-4o-mini", "gpt-4o-mini", "gpt-5-mini"):
            answer = ask(local, secret, f"[[output=40 reasoning=7]] {'x' * 6_000}", model=model)
            assert answer.status == 200, answer.body
        assert ask(local, secret, "[[fault=500]] hi").status == 500
        ask(local, secret, "[[output=40 fault=malformed]] hi", model="gpt-4o")
        headers = {"x_api_key": secret, "content_type": "application/json", "anthropic_version": "2023-06-01"}
        answer = fetch(local, "POST", "/v1/messages", json.dumps(MESSAGE).encode(), **headers)
        assert answer.status == 200, answer.body
        local.wait_journaled(6)
        yield House(local, port)


@pytest.fixture
def books(bare_cli: Cli, house: House, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run commands beside it."""
    monkeypatch.setenv("BURSAR_DATA", str(house.local.data))
    return bare_cli


@pytest.fixture
def told(books: Cli, tmp_path: Path) -> Callable[..., Outcome]:
    """Reconcile what some files say, exactly."""

    def work(provider: str, *texts: str, options: tuple[str, ...] = ()) -> Outcome:
        names = []
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.json").write_text(text)
            names.append(f"{number}.json")
        return books("reconcile", *names, "--provider", provider, "--tolerance", "0", *options)

    return work


Told = Callable[..., Outcome]


def test_what_the_provider_billed_agrees_to_the_nano(house: House, told: Told) -> None:
    costs, usage = house.openai_page(house.costs()), house.openai_page(house.usage())
    for texts in ((costs,), (usage,), (costs, usage)):
        outcome = told("openai", *texts)
        assert (outcome.code, outcome.err) == (0, ""), outcome.out
        assert outcome.out.startswith(f"agrees: openai, {house.day} to {house.day}: ")
    shown = told("openai", costs, usage, options=("--json",)).json()
    assert (shown["agrees"], shown["difference_usd"], shown["corrections"]) == (True, "0.00", [])
    assert shown["ours_usd"] == shown["theirs_usd"] != "0.00"
    assert [line["model"] for line in shown["lines"]] == list(CHAT)
    assert all(line["ours"] | {"cache_write_tokens": None} == line["theirs"] for line in shown["lines"])
    assert shown["lines"][0]["ours"]["cached_tokens"] > 0


def more(results: list[Result], start: str, field: str, by: int) -> None:
    """Add to a count of the results of a model."""
    for result in results:
        if result.get("model", "").startswith(start):
            result[field] += by


def dearer(costs: list[Result], start: str, times: str = "1.1") -> None:
    """Bill a model's lines at another price."""
    for result in costs:
        if result["line_item"].startswith(start):
            result["amount"]["value"] = str(Decimal(result["amount"]["value"]) * Decimal(times))


def plant(cause: Cause, costs: list[Result], usage: list[Result]) -> None:
    """Change an invoice so that it differs from the books for this cause."""
    extra = {"line_item": "", "amount": {"value": "0.01", "currency": "usd"}}
    match cause:
        case Cause.credit:
            costs.append(extra | {"line_item": "Startup credits", "amount": {"value": -0.01}})
        case Cause.tax:
            costs.append(extra | {"line_item": "VAT"})
        case Cause.other_line:
            costs.append(extra | {"line_item": "web search tool calls"})
        case Cause.unknown_model:
            costs.append(extra | {"line_item": "gpt-5-nano, output"})
        case Cause.missing_here:
            more(usage, "gpt-5-mini", "num_model_requests", 1)
            more(usage, "gpt-5-mini", "output_tokens", 10)
            dearer(costs, "gpt-5-mini")
        case Cause.missing_there:
            costs[:] = [result for result in costs if "gpt-5" not in result["line_item"]]
            usage.pop()
        case Cause.cache_differs:
            more(usage, "gpt-4o-mini", "input_cached_tokens", -128)
            dearer(costs, "gpt-4o-mini")
        case Cause.tokens_differ:
            more(usage, "gpt-5-mini", "output_tokens", 10)
            dearer(costs, "gpt-5-mini")
        case Cause.price_differs:
            dearer(costs, "gpt-5-mini")
        case _:
            dearer(costs, "gpt-5-mini")
            for result in costs:
                del result["quantity"]
            usage.clear()


PLANTED = [
    Cause.credit,
    Cause.tax,
    Cause.other_line,
    Cause.unknown_model,
    Cause.missing_here,
    Cause.missing_there,
    Cause.cache_differs,
    Cause.tokens_differ,
    Cause.price_differs,
    Cause.unexplained,
]


@pytest.mark.parametrize("cause", PLANTED, ids=[cause.name for cause in PLANTED])
def test_a_planted_difference_is_found_with_its_cause(house: House, told: Told, cause: Cause) -> None:
    costs, usage = house.costs(), house.usage()
    plant(cause, costs, usage)
    texts = [house.openai_page(costs), *([house.openai_page(usage)] if usage else [])]
    outcome = told("openai", *texts)
    assert (outcome.code, outcome.err) == (1, "")
    head, row, *folded, total, verdict = outcome.out.splitlines()[1:]
    assert head.split()[:3] == ["day", "model", "calls"]
    assert f" {cause.name.replace('_', ' ')}: " in row
    assert all(line.startswith(" ") for line in folded)
    assert total.startswith("total ")
    assert re.fullmatch(rf"differs: openai, {house.day} to {house.day}: 1 of \d lines differ, billed is .+", verdict)


def test_a_call_whose_answer_could_not_be_read_was_charged_its_hold(house: House, told: Told) -> None:
    outcome = told("doubtful", house.openai_page(house.costs(("gpt-4o",))))
    assert outcome.code == 1
    assert " held: calls charged their whole hold: 1, 0." in outcome.out


def test_use_billed_a_day_later_is_a_day_boundary(house: House, told: Told) -> None:
    late = [result for result in house.costs() if "gpt-5" in result["line_item"]]
    rest = [result for result in house.costs() if "gpt-5" not in result["line_item"]]
    tomorrow = json.loads(house.openai_page(late, 1))["data"][0]
    outcome = told("openai", house.openai_page(rest, 0, tomorrow))
    assert outcome.code == 1
    assert outcome.out.count("day boundary: cancels with ") == 2


def test_what_differs_is_booked_once_and_the_books_balance(house: House, told: Told, books: Cli) -> None:
    credit = {"amount": "-0.1", "cost_type": None, "description": "Promotional credit"}
    invoice = house.anthropic_page(credit)
    assert told("anthropic", invoice).code == 1
    booked = told("anthropic", invoice, options=("--book",))
    assert (booked.code, booked.err) == (0, "")
    assert "booked: anthropic, " in booked.out
    assert "1 correction of -0.001 USD in all" in booked.out
    assert told("anthropic", invoice).out.startswith("agrees: anthropic, ")
    again = told("anthropic", invoice, options=("--book",))
    assert (again.code, again.out.startswith("nothing to book: anthropic, ")) == (0, True)
    other = house.anthropic_page()
    refused = told("anthropic", other, options=("--book",))
    assert (refused.code, refused.out) == (1, "")
    assert "say --supersede if this one replaces it" in refused.err
    shown = told("anthropic", other, options=("--book", "--supersede", "--json")).json()
    assert [each["amount_usd"] for each in shown["corrections"]] == ["0.001"]
    assert books("books", "check").out.startswith("books balance: ")
    owed = house.local.query(
        "select name, debits_posted, credits_posted from accounts where name ~ '^(corr|pay).*anthr'"
    )
    net = {row["name"]: row["credits_posted"] - row["debits_posted"] for row in owed}
    assert net["correction:anthropic"] == net["payable:anthropic:0"] == 0
    assert net["payable:anthropic:1"] > 0


def test_everything_is_shown_when_asked(house: House, told: Told) -> None:
    outcome = told("openai", house.openai_page(house.costs()), options=("--all",))
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 6
    assert outcome.out.splitlines()[0].startswith("Reconciled with openai, ")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("0.json --provider opanai", "no calls to provider 'opanai' are in the books; the books know openai"),
        ("none.json --provider openai", "cannot read none.json: No such file or directory"),
        ("0.json --provider openai --tolerance x", "--tolerance: expected USD as a decimal"),
        ("0.json --provider openai --tolerance=-1", "--tolerance: expected 0 or more"),
        ("0.json --provider openai --since soon", "--since: expected a date such as 2026-11-21, got 'soon'"),
        ("0.json --provider openai --until 0001-01-01", "--until: expected a date from 1970 to 9998, got '0001-01-01'"),
        ("0.json --provider openai --until 1980-01-01", "the invoice does not say its days"),
        ("0.json --provider openai --format csv", "0.json: expected csv, got JSON"),
        ("1.json --provider openai --book", "a usage export does not say what is to be paid"),
    ],
)
def test_what_cannot_be_reconciled_is_refused_in_one_line(
    house: House, books: Cli, tmp_path: Path, line: str, complaint: str
) -> None:
    (tmp_path / "0.json").write_text(house.openai_page(house.costs()))
    (tmp_path / "1.json").write_text(house.openai_page(house.usage()))
    outcome = books("reconcile", *line.split())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"bursar: {complaint}")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("line", ["", "0.json", "--provider openai", "0.json --provider openai --format word"])
def test_wrong_usage_ends_with_2(bare_cli: Cli, line: str) -> None:
    outcome = bare_cli("reconcile", *line.split())
    assert (outcome.code, outcome.out) == (2, "")


def test_the_page_names_every_cause_and_format() -> None:
    named = set(re.findall(r"`([\w-]+)`", PAGE)) | set(re.findall(r"^\| ([a-z ]+?) \|", PAGE, re.MULTILINE))
    causes = {cause.name.replace("_", " ") for cause in Cause if cause > Cause.rounding}
    assert causes - named == set()
    assert {str(format_) for format_ in InvoiceFormat} - named == set()
