"""An operator's own prices are read from TOML, exactly and strictly."""

import tomllib

import pytest
from inline_snapshot import snapshot

from bursar.core.errors import ConfigError
from bursar.core.times import FOREVER_US, moment_from_text
from bursar.core.usage import Usage
from bursar.prices.charge import charge
from bursar.prices.file import read_model_price, read_prices
from bursar.prices.price import Price, Rate, Source, Volume

HEAD = '[[prices]]\nprovider = "house"\nmodel = "m"\n'
RATES = 'input = "2"\noutput = "10"\n'


def read(text: str) -> list[Price]:
    return read_prices(tomllib.loads(text)["prices"])


def read_one(text: str) -> Price:
    found = read(text)
    assert len(found) == 1
    return found[0]


def test_an_entry_says_all_there_is_to_a_price() -> None:
    price = read_one(
        HEAD
        + RATES
        + """
        cache_read = "0.02"
        web_search = "10000"
        source = "contract of 2026"
        checked = 2026-11-01
        above.200_000 = { input = "4", output = "15" }
        above.500_000 = { input = "8" }
        tier.flex = { input = "1", output = "5" }
        speed.fast = { output = "60" }
        processing.batch = { input = "1" }
        volume = { period = "month", free = { input = 1_000 }, discounts = { 1_000_000_000 = "10", 5_000 = "2.5" } }
        """
    )
    rates = price.versions[0].rates
    assert rates == {
        "input_tokens": Rate(2_000_000_000, ((200_000, 4_000_000_000), (500_000, 8_000_000_000))),
        "output_tokens": Rate(10_000_000_000, ((200_000, 15_000_000_000),)),
        "cache_read_tokens": Rate(20_000_000),
        "web_searches": Rate(10_000_000_000_000),
    }
    assert price.source == Source("contract of 2026", "2026-11-01")
    assert price.volume == Volume("month", {"input_tokens": 1_000}, ((5_000, 25_000), (1_000_000_000, 100_000)))
    assert [(variant.context, sorted(variant.rates)) for variant in price.variants] == [
        ({"service_tier": "flex"}, ["input_tokens", "output_tokens"]),
        ({"speed": "fast"}, ["output_tokens"]),
        ({"processing": "batch"}, ["input_tokens"]),
    ]
    assert not price.free


def test_what_is_not_said_is_empty() -> None:
    price = read_one(HEAD + RATES)
    assert price.source == Source("bursar.toml", "")
    assert (price.variants, price.volume, price.context_window) == ((), None, None)
    assert price.at(0).valid_until_us == FOREVER_US


def at(price: Price, moment: str, **context: str) -> int:
    return price.at(moment_from_text(moment), context).rates["input_tokens"].base_nano // 1_000_000_000


def test_entries_of_one_model_are_its_history_in_whatever_order_they_stand() -> None:
    price = read_one(
        HEAD
        + 'from = 2026-06-01\ninput = "1"\ntier.flex = { input = "5" }\n'
        + HEAD
        + 'input = "3"\ntier.flex = { input = "6" }\n'
        + HEAD
        + 'from = 2026-01-01\ninput = "2"\n'
    )
    moments = ("2025-12-31T23:59", "2026-01-01", "2026-05-31T23:59", "2026-06-01")
    assert [at(price, moment) for moment in moments] == [3, 2, 2, 1]
    assert [at(price, moment, service_tier="flex") for moment in moments] == [6, 6, 6, 5]


def test_a_time_of_day_overrules_the_entry_for_the_rest_of_the_day() -> None:
    price = read_one(HEAD + 'daily = "16:30-00:30"\ninput = "1"\n' + HEAD + 'input = "2"\n')
    moments = ("2026-01-01T00:29", "2026-01-01T00:30", "2026-01-01T16:29", "2026-01-01T16:30")
    assert [at(price, moment) for moment in moments] == [1, 2, 2, 1]


def test_the_newest_entry_that_has_a_volume_gives_it_for_all_hours() -> None:
    price = read_one(
        HEAD
        + RATES
        + 'volume = { period = "day" }\n'
        + HEAD
        + RATES
        + 'from = 2026-02-01\nvolume = { period = "month", free = { input = 5 } }\n'
        + HEAD
        + 'from = 2026-02-01\ndaily = "16:30-00:30"\ninput = "1"\n'
    )
    assert price.volume == Volume("month", {"input_tokens": 5})


def test_models_are_kept_apart() -> None:
    found = read(HEAD + RATES + '[[prices]]\nprovider = "house"\nmodel = "n"\ninput = "1"\n')
    assert [(price.provider, price.model) for price in found] == [("house", "m"), ("house", "n")]


def test_free_hours_of_audio_are_hours() -> None:
    price = read_one(HEAD + RATES + 'audio_hour = "0.36"\nvolume = { period = "month", free = { audio_hour = 2 } }\n')
    made = charge(Usage(other={"audio_seconds": 7_201}), price.at(0))
    assert [(line.quantity, line.rate_nano) for line in made] == [(7_200, 0), (1, 360_000_000)]


# Each entry is wrong in one word; the message names it.
WRONG: list[tuple[str, str]] = [
    ("prices = [3]", snapshot("prices[0]: expected a table")),
    ('[[prices]]\nmodel = "m"\n', snapshot("prices[0].provider: expected a text")),
    ('[[prices]]\nprovider = ""\nmodel = "m"\n', snapshot("prices[0].provider: expected a text")),
    ('[[prices]]\nprovider = "house"\nmodel = 3\n', snapshot("prices[0].model: expected a text")),
    (HEAD, snapshot('prices[0]: expected at least one rate, such as input = "0.15"')),
    (HEAD + RATES + 'inptu = "1"\n', snapshot("prices[0]: unknown word 'inptu'; near: input")),
    (HEAD + RATES + 'zzzzzz = "1"\n', snapshot("prices[0]: unknown word 'zzzzzz'")),
    (
        HEAD + "input = 0.15\n",
        snapshot('prices[0].input: expected USD per million as a string, such as "0.15", got float'),
    ),
    (HEAD + "input = 1\n", snapshot('prices[0].input: expected USD per million as a string, such as "0.15", got int')),
    (HEAD + 'input = "-1"\n', snapshot("prices[0].input: a price cannot be negative")),
    (
        HEAD + 'input = "1e3"\n',
        snapshot("prices[0].input: expected USD as a decimal with at most nine decimals, such as 5.00; got '1e3'"),
    ),
    (
        HEAD + 'input = "0.0000000001"\n',
        snapshot(
            "prices[0].input: expected USD as a decimal with at most nine decimals, such as 5.00; got '0.0000000001'"
        ),
    ),
    (HEAD + RATES + 'from = "2026-01-01"\n', snapshot("prices[0].from: expected a date, such as 2026-01-01")),
    (HEAD + RATES + "from = 2026-01-01T00:00:00Z\n", snapshot("prices[0].from: expected a date, such as 2026-01-01")),
    (HEAD + RATES + 'checked = "last week"\n', snapshot("prices[0].checked: expected a date, such as 2026-11-01")),
    (HEAD + RATES + "source = 3\n", snapshot("prices[0].source: expected a text")),
    (
        HEAD + RATES + 'daily = "16:30"\n',
        snapshot('prices[0].daily: expected times of day in UTC, such as "16:30-00:30"'),
    ),
    (
        HEAD + RATES + 'daily = "16:30-24:00"\n',
        snapshot('prices[0].daily: expected times of day in UTC, such as "16:30-00:30"'),
    ),
    (HEAD + RATES + "daily = 1630\n", snapshot('prices[0].daily: expected times of day in UTC, such as "16:30-00:30"')),
    (
        HEAD + RATES + 'daily = "16:30-00:30"\n',
        snapshot("prices of house/m: expected an entry without daily, for the rest of the day"),
    ),
    (HEAD + RATES + "above = 5\n", snapshot("prices[0].above: expected a table, got int")),
    (
        HEAD + RATES + 'above.long = { input = "1" }\n',
        snapshot('prices[0].above: expected a table by input tokens, such as above.200_000 = { input = "0.30" }'),
    ),
    (
        HEAD + RATES + 'above."\u00b2" = { input = "1" }\n',
        snapshot('prices[0].above: expected a table by input tokens, such as above.200_000 = { input = "0.30" }'),
    ),
    (
        HEAD + RATES + 'above.200_000 = "1"\n',
        snapshot('prices[0].above: expected a table by input tokens, such as above.200_000 = { input = "0.30" }'),
    ),
    (
        HEAD + RATES + "above.200_000 = { input = 1 }\n",
        snapshot('prices[0].above.200_000.input: expected USD per million as a string, such as "0.15", got int'),
    ),
    (
        HEAD + RATES + 'above.200_000 = { cache_read = "1" }\n',
        snapshot("prices[0].above.200_000.cache_read: there is no rate cache_read below that bound"),
    ),
    (
        HEAD + RATES + 'above.200_000 = { inputs = "1" }\n',
        snapshot("prices[0].above.200_000: unknown word 'inputs'; near: input"),
    ),
    (HEAD + RATES + 'tier = "flex"\n', snapshot("prices[0].tier: expected a table, got str")),
    (HEAD + RATES + 'tier.flex = "1"\n', snapshot("prices[0].tier.flex: expected a table, got str")),
    (HEAD + RATES + "tier.flex = 0.5\n", snapshot("prices[0].tier.flex: expected a table, got float")),
    (
        HEAD + RATES + "tier.flex = {}\n",
        snapshot('prices[0].tier.flex: expected at least one rate, such as input = "0.15"'),
    ),
    (
        HEAD + RATES + "speed.fast = { output = 60 }\n",
        snapshot('prices[0].speed.fast.output: expected USD per million as a string, such as "0.15", got int'),
    ),
    (
        HEAD + RATES + "volume = 5\n",
        snapshot("prices[0].volume: expected period (day, month, total), free and discounts"),
    ),
    (
        HEAD + RATES + 'volume = { period = "year" }\n',
        snapshot("prices[0].volume: expected period (day, month, total), free and discounts"),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", fee = 1 }\n',
        snapshot("prices[0].volume: expected period (day, month, total), free and discounts"),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", free = 1 }\n',
        snapshot("prices[0].volume.free: expected a table, got int"),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", free = { inptu = 1 } }\n',
        snapshot("prices[0].volume.free: expected units and counts, such as input = 1_000_000; got 'inptu'"),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", free = { input = "1" } }\n',
        snapshot("prices[0].volume.free: expected units and counts, such as input = 1_000_000; got 'input'"),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", free = { input = true } }\n',
        snapshot("prices[0].volume.free: expected units and counts, such as input = 1_000_000; got 'input'"),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", free = { input = -1 } }\n',
        snapshot("prices[0].volume.free: expected units and counts, such as input = 1_000_000; got 'input'"),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", discounts = { many = "10" } }\n',
        snapshot('prices[0].volume.discounts: expected tokens = "percent", such as 1_000_000_000 = "10", got \'many\''),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", discounts = { 1__0 = "10" } }\n',
        snapshot('prices[0].volume.discounts: expected tokens = "percent", such as 1_000_000_000 = "10", got \'1__0\''),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", discounts = { 10 = 10 } }\n',
        snapshot('prices[0].volume.discounts: expected a percentage as a string, such as "12.5"'),
    ),
    (
        HEAD + RATES + 'volume = { period = "day", discounts = { 10 = "110" } }\n',
        snapshot('prices[0].volume.discounts: expected a percentage as a string, such as "12.5"'),
    ),
    (
        HEAD + 'input = "0.000000001"\nvolume = { period = "day", discounts = { 10 = "5" } }\n',
        snapshot(
            "prices of house/m: volume.discounts: 50000 parts per million off 1 nano-USD per million units is not exact"
        ),
    ),
    # A discount must leave whole numbers of every entry's rates, not only of the one that names it.
    (
        HEAD + 'input = "0.000000001"\n' + HEAD + RATES + "from = 2026-01-01\n"
        'volume = { period = "day", discounts = { 10 = "5" } }\n',
        snapshot(
            "prices of house/m: volume.discounts: 50000 parts per million off 1 nano-USD per million units is not exact"
        ),
    ),
]


@pytest.mark.parametrize(("text", "complaint"), WRONG)
def test_what_is_wrong_is_named_with_what_was_expected(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == complaint
    assert "\n" not in str(caught.value)


def test_the_price_of_one_model_is_a_table_of_rates() -> None:
    price = read_model_price({"input": "0.15", "output": "0.60"}, "house", "m", "models.m.price")
    assert price.at(0).rates["input_tokens"] == Rate(150_000_000)
    assert (price.provider, price.model, price.free) == ("house", "m", False)


def test_free_is_a_word_and_covers_tokens_only() -> None:
    price = read_model_price("free", "house", "m", "models.m.price")
    assert price.free
    rates = price.at(0).rates
    for leaf in ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens"):
        assert rates[leaf] == Rate(0)
    assert "web_searches" not in rates


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("gratis", 'models.m.price: expected a table such as { input = "0.15", output = "0.60" } or "free"'),
        (0, 'models.m.price: expected a table such as { input = "0.15", output = "0.60" } or "free"'),
        ({}, 'models.m.price: expected at least one rate, such as input = "0.15"'),
        ({"input": 0}, 'models.m.price.input: expected USD per million as a string, such as "0.15", got int'),
        ({"inputs": "1"}, "models.m.price: unknown word 'inputs'; near: input"),
    ],
)
def test_a_wrong_price_of_one_model_is_named(value: object, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_model_price(value, "house", "m", "models.m.price")
    assert str(caught.value) == complaint
