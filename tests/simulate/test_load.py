"""Many times the requests of a trace last as long as it did, are of the same kinds, and take a real fleet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import ConfigError
from bursar.physics.calibration import ROOFLINE
from bursar.physics.deployment import Deployment
from bursar.physics.facts import load
from bursar.simulate.capacity import Case, solve
from bursar.simulate.load import Stretch, multiplied
from bursar.simulate.report import Promise
from bursar.simulate.trace import Trace
from bursar.simulate.traces import load as load_trace
from bursar.simulate.traces import poisson
from tests.simulate.test_fleet import busy

FACTS = load()
ONE = Deployment(FACTS.shape("Meta-Llama-3.1-8B"), FACTS.chip("H100"))


@given(seed=st.integers(0, 99), times=st.integers(1, 20))
def test_many_times_the_requests_come_in_the_same_time(seed: int, times: int) -> None:
    trace = busy(seed, 60)
    more = multiplied(trace, times)
    assert len(more) == times * 60
    assert trace.span_s <= more.span_s <= trace.span_s * 60 / 59 + 1e-9
    assert sorted(more.input_tokens) == sorted([*trace.input_tokens] * times)
    assert list(more.arrival_s) == sorted(more.arrival_s)


@given(st.floats(0.02, 3))
def test_a_part_of_the_load_takes_every_so_manieth_request(times: float) -> None:
    trace = busy(1, 60)
    less = multiplied(trace, times)
    assert len(less) == pytest.approx(60 * times, abs=1)
    assert multiplied(trace, times) == less


def test_once_is_the_same_and_copies_share_no_prompt() -> None:
    trace = busy(3, 40)
    once = multiplied(trace, 1)
    assert (once.arrival_s, once.input_tokens) == (trace.arrival_s, trace.input_tokens)
    assert once.prefix == [tuple(each) for each in trace.prefix]
    twice = multiplied(trace, 2)
    assert len({names[0] for names in twice.prefix}) == 2 * len({names[0] for names in trace.prefix})


def test_a_busy_minute_stays_busy() -> None:
    quiet, rush = [float(each) for each in range(1200)], [600 + each / 20 for each in range(1200)]
    arrival_s = sorted([*quiet, *rush])
    more = multiplied(Trace(arrival_s, [9] * 2400, [9] * 2400), 50)
    assert sum(600 <= at_s < 720 for at_s in more.arrival_s) >= 50 * 1200
    stretch = multiplied(Trace(arrival_s, [9] * 2400, [9] * 2400), 50, Stretch(10_000, 30.0))
    assert (stretch.arrival_s[0] > 600, stretch.span_s <= 30.0, len(stretch) >= 10_000) == (True, True, True)


def test_the_busiest_stretch_has_the_requests_asked_for_or_the_seconds() -> None:
    trace = load_trace("azure-conv")
    cut = multiplied(trace, 1.0, Stretch(2_000, 10.0))
    assert len(cut) == 2_000
    assert cut.span_s < trace.span_s * 2_000 / len(trace)
    assert 299 < multiplied(trace, 1.0, Stretch(10)).span_s <= 300
    assert len(multiplied(trace, 1.0, Stretch())) == len(trace)


def test_ten_times_a_load_takes_the_fleet_of_a_load_ten_times_as_large() -> None:
    def replicas(trace: Trace, scale: float) -> int:
        return solve(Case(ONE, trace, scale, Promise(), ROOFLINE)).replicas or 0

    real = replicas(poisson("200,500,100,30", 1), 1.0)
    assert replicas(poisson("20,500,100,30", 1, 10.0), 10.0) == real > 2
    assert replicas(multiplied(poisson("20,500,100,30", 1), 10.0), 10.0) == pytest.approx(real, abs=1)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: multiplied(busy(1), 0), "scale is 0; give a number above 0, such as 10 for ten times the requests"),
        (lambda: multiplied(busy(1), float("inf")), "scale is inf; give a number above 0"),
        (lambda: multiplied(busy(1), float("nan")), "scale is nan; give a number above 0"),
        (lambda: multiplied(busy(1), 1e-300), "leaves none of 120 requests; give at least 0.00833333"),
        (lambda: multiplied(busy(1), 1e9), "scale is 1e+09; of 120 requests give at most 83333.3"),
        (lambda: Stretch(0), "requests is 0; give a whole number of requests to replay of at least 1"),
        (lambda: poisson("5,100,10,10", -1), "seed is -1; give a whole number of at least 0"),
        (lambda: poisson("5,100,10,10", 1, 1e-300), "makes 5e-299 requests at a scale of 1e-300"),
    ],
)
def test_a_load_that_cannot_be_is_refused(make, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make()
    assert complaint in str(refused.value)
