"""Machine time costs what is paid for it: owned or rented, busy or idle."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError, NotThere
from bursar.core.money import nano_to_usd, usd_to_nano
from bursar.physics.cost import Owned, Rented, Terms, capital_recovery, dollars, electricity, nano_per_million
from bursar.physics.facts import load

FACTS = load()
TEN_CENTS = usd_to_nano("0.10")
TERMS = Terms(Owned(usd_to_nano("32000")), TEN_CENTS, 1.15, 0.4)


@pytest.mark.parametrize(("price", "usd"), [("0.10", "0.966"), ("0.20", "1.932")])
def test_a_card_of_350_watts_takes_9_66_kwh_a_day(price: str, usd: str) -> None:
    kwh, nano = electricity(350, 1.15, 24, usd_to_nano(price))
    assert kwh == pytest.approx(9.66)
    assert nano_to_usd(nano) == usd


def test_a_purchase_is_paid_back_with_its_interest() -> None:
    assert capital_recovery(0.0, 5) == 0.2
    assert capital_recovery(0.08, 5) == pytest.approx(0.250456, abs=1e-6)  # every table of engineering economics
    rest = 1.0
    for _ in range(5):
        rest = rest * 1.08 - capital_recovery(0.08, 5)
    assert rest == pytest.approx(0, abs=1e-12)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_idle_is_never_free(one: float, other: float) -> None:
    less, more = sorted((one, other))
    if more - less < 1e-6:
        return
    for holding in (TERMS.holding, Rented(usd_to_nano("1.30"))):
        idle, busy = (replace(TERMS, holding=holding, utilisation=each) for each in (less, more))
        assert idle.dollars_of_time(4, 1.0) > busy.dollars_of_time(4, 1.0)
    idle, busy = (replace(TERMS, utilisation=each) for each in (less, more))
    assert idle.dollars_of_power(500, 100, 1.0) > busy.dollars_of_power(500, 100, 1.0)


@given(st.integers(1, 10**12), st.integers(1, 50))
def test_dollars_scale_with_the_price(nano: int, times: int) -> None:
    once, often = (replace(TERMS, holding=Rented(each)) for each in (nano, nano * times))
    assert often.dollars_of_time(8, 3.0) == pytest.approx(times * once.dollars_of_time(8, 3.0))
    once, often = (replace(TERMS, power_nano_per_kwh=each) for each in (nano, nano * times))
    assert often.dollars_of_power(9, 9, 9) == pytest.approx(times * once.dollars_of_power(9, 9, 9))


def test_a_published_replica_costs_what_is_published() -> None:
    """Llama 70B on 4 x H100 at 6,827 tokens/s (ML.ENERGY), 1.30 USD a chip-hour: 0.21 USD a million tokens. At 1.73 kW
    a chip (InferenceX) 1.01 J a token, 0.017 USD a million at 0.06 USD a kWh."""
    terms = Terms(Rented(usd_to_nano("1.30"), pays_power=True), usd_to_nano("0.06"), 1.0, 1.0)
    second = 1 / 6_827
    assert terms.dollars_of_time(4, second) * 1e6 == pytest.approx(0.21, abs=0.005)
    assert terms.site_joules(4 * 1_730 * second, 0.0, second) == pytest.approx(1.01, abs=0.005)
    assert terms.dollars_of_power(4 * 1_730 * second, 0.0, second) * 1e6 == pytest.approx(0.017, abs=0.0005)


@given(st.floats(0.1, 1.0), st.floats(0, 0.9), st.floats(0, 0.9))
def test_energy_is_conserved_over_busy_and_idle_time(utilisation: float, reserve: float, waste: float) -> None:
    terms = replace(TERMS, utilisation=utilisation, reserve=reserve, waste=waste)
    whole_s, busy_w, idle_w = 1_000.0, 700.0, 100.0
    work_s = whole_s * terms.busy
    drawn_j = busy_w * work_s + idle_w * (whole_s - work_s)
    assert terms.site_joules(busy_w * work_s, idle_w, work_s) * (1 - waste) == pytest.approx(drawn_j * terms.pue)


def test_a_price_is_rounded_up_once() -> None:
    assert nano_per_million(0.0) == 0
    assert nano_per_million(2.0**-30) == 931_323  # 931,322.57
    assert nano_per_million(2.0**-12) == 244_140_625_000  # exact, and left so
    assert dollars(usd_to_nano("1.30")) == 1.3


def test_rent_holds_the_power_unless_it_is_said_to_come_on_top() -> None:
    rented = replace(TERMS, holding=Rented(usd_to_nano("1.30")))
    apart = replace(TERMS, holding=Rented(usd_to_nano("1.30"), pays_power=True))
    assert rented.dollars_of_power(100, 10, 1) == 0
    assert apart.dollars_of_power(100, 10, 1) > 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pue": 0.9}, "pue is 0.9; it must be at least 1"),
        ({"pue": float("nan")}, "pue is nan; it must be at least 1"),
        ({"utilisation": 0.0}, "utilisation is 0.0; it is a share above 0 and up to 1"),
        ({"utilisation": 1.1}, "utilisation is 1.1"),
        ({"utilisation": 1e-300}, "utilisation is 1e-300; .*; the least is 0.001"),
        ({"pue": 1e308}, "pue is 1e\\+308; it must be at least 1 and at most 10"),
        ({"waste": 0.9999999}, "waste is 0.9999999; .*; the most is 0.999"),
        ({"reserve": 1.0}, "reserve is 1.0; it is a share of at least 0 and below 1"),
        ({"waste": -0.1}, "waste is -0.1"),
        ({"power_nano_per_kwh": -1}, "power_usd_per_kwh is -1; it must be at least 0"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_name(changed: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(TERMS, **changed)


def test_holdings_that_cannot_be_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="chip_usd_per_hour is -1"):
        Rented(-1)
    with pytest.raises(ConfigError, match=r"life_years is 0; it must be at least 0\.01 and at most 100 \(years\)"):
        Owned(1, life_years=0)


def test_every_published_price_says_where_it_stands() -> None:
    costs = FACTS.costs
    found = [*costs.rents.values(), *costs.purchases.values(), *costs.electricity.values(), costs.server, costs.memory]
    assert all(each.nano > 0 and each.source and each.checked.startswith("20") for each in found)
    assert set(costs.rents) | set(costs.purchases) <= set(FACTS.chips)
    assert all(1 < each.pue < 2 and 0 < each.wue_l_per_kwh < 2 for each in costs.operators.values())
    assert set(costs.water_l_per_kwh) <= set(FACTS.regions)
    assert all(list(each) == sorted(each) for each in costs.acceptance.values())


def test_an_unknown_region_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotThere, match="no region 'US-TXX' is known; near it: US-TX"):
        FACTS.costs.electricity_in("US-TXX")
