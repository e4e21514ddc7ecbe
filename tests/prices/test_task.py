import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.core.errors import UnknownModel
from bursar.core.usage import Usage
from bursar.prices import load
from bursar.prices.charge import charge, total
from bursar.prices.task import Own, Task, check_task, price_task

AT_US = 1_795_000_000_000_000
MODELS = ("gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash")


@given(
    st.integers(1, 50),
    st.integers(0, 100_000),
    st.integers(0, 10_000),
    st.integers(0, 100),
    st.sampled_from(MODELS),
)
def test_work_costs_the_sum_of_its_calls(calls: int, given_: int, out: int, percent: int, model: str) -> None:
    book = load()
    task = Task(calls=calls, input_tokens=given_, output_tokens=out, cached_percent=percent, models={model: Own()})
    [cost] = price_task(task, book, AT_US)
    assert cost.usage.input_total == calls * given_
    assert cost.usage.output_total == calls * out
    plain = total(charge(Usage(given_, output_tokens=out), cost.card)) * calls
    writes_nano = max(0, cost.card.rates.get("cache_write_5m_tokens", cost.card.rates["input_tokens"]).base_nano)
    dearer = (writes_nano - cost.card.rates["input_tokens"].base_nano) * given_ // 1_000_000
    assert cost.cost_nano <= plain + max(0, dearer) + calls


def test_a_terse_model_can_be_cheaper_than_its_price() -> None:
    own = {"gpt-4o-mini": Own(output_tokens=20_000), "gpt-4o": Own(output_tokens=200)}
    costs = price_task(Task(input_tokens=100, output_tokens=500, models=own), load(), AT_US)
    assert [cost.name for cost in costs] == ["gpt-4o", "gpt-4o-mini"]


def test_the_first_call_writes_the_cache_and_the_others_read_it() -> None:
    task = Task(calls=3, input_tokens=1_000, output_tokens=0, cached_percent=90, models={"claude-haiku-4-5": Own()})
    [cost] = price_task(task, load(), AT_US)
    assert cost.usage == Usage(100 * 3, 900 * 2, 900)


def test_a_tokenizer_of_its_own_and_a_batch_count() -> None:
    task = Task(input_tokens=1_000, output_tokens=0, models={"gpt-4o": Own(), "openai/gpt-4o": Own(processing="batch")})
    batch, usual = price_task(task, load(), AT_US)
    assert (batch.name, 2 * batch.cost_nano) == ("openai/gpt-4o", usual.cost_nano)
    [more] = price_task(
        Task(input_tokens=1_000, output_tokens=0, models={"gpt-4o": Own(input_percent=130)}), load(), AT_US
    )
    assert more.usage.input_total == 1_300


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task(input_tokens=1, output_tokens=1, models={}), "models: expected at least one"),
        (Task(input_tokens=-1, output_tokens=1, models={"m": Own()}), "input_tokens: expected an integer from 0"),
        (Task(calls=0, input_tokens=1, output_tokens=1, models={"m": Own()}), "calls: expected an integer from 1"),
        (
            Task(input_tokens=1, output_tokens=1, models={"m": Own(cached_percent=101)}),
            r"models\.'m'\.cached_percent: expected an integer from 0 to 100, got 101",
        ),
    ],
)
def test_a_task_that_cannot_be_is_refused_by_field(task: Task, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_task(task)


def test_what_has_no_price_is_refused() -> None:
    def task(name: str, own: Own) -> Task:
        return Task(input_tokens=1, output_tokens=1, models={name: own})

    with pytest.raises(UnknownModel):
        price_task(task("gpt-of-nobody", Own()), load(), AT_US)
    with pytest.raises(ValueError, match="has no price for 'express'; known: default, fast, priority"):
        price_task(task("gpt-4o", Own(tier="express")), load(), AT_US)
