"""What is paced is allowed at once so often, and so often a second after that."""

from hypothesis import given
from hypothesis import strategies as st

from bursar.core.pace import Pace


def test_a_burst_is_allowed_and_then_the_pace() -> None:
    pace = Pace(3, 2.0)
    assert [pace.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [pace.take(10.5), pace.take(10.5)] == [True, False]
    assert [pace.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not pace.take(50.0)  # a clock that goes back gives nothing


@given(st.lists(st.floats(0, 100), max_size=300), st.integers(1, 20), st.floats(0.1, 50))
def test_no_more_is_allowed_than_the_burst_and_the_pace(moments: list[float], burst: int, per_s: float) -> None:
    pace = Pace(burst, per_s)
    moments.sort()
    taken = sum(pace.take(moment) for moment in moments)
    assert taken <= burst + per_s * (moments[-1] - moments[0] if moments else 0) + 1e-6
