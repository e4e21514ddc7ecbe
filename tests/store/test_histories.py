"""What many processes do to the books at once is what one could have done alone: recorded, replayed and compared."""

import copy
from collections.abc import Callable, Iterator

import pytest

from bench.history import Tellers, check, run_history
from bursar.store.database import connect

OFTEN = ("created", "exists", "exists_with_different_content", "id_already_failed", "linked_transfer_failed")


@pytest.fixture(scope="module")
def tellers() -> Iterator[Tellers]:
    tellers = Tellers(4)
    yield tellers
    tellers.close()


@pytest.mark.parametrize("workload", ["leases", "idempotence", "indefinite", "claims"])
async def test_a_history_is_one_of_a_single_process(tellers: Tellers, database_url: str, workload: str) -> None:
    checked = await run_history(tellers, database_url, workload, 7, 30)
    assert checked.found == []
    assert len(checked.history) >= 4 * 30


async def test_a_history_that_was_not_what_happened_is_found_out(tellers: Tellers, database_url: str) -> None:
    checked = await run_history(tellers, database_url, "transfers", 5, 50)
    assert checked.found == []
    history = sorted((each for each in checked.history if each.completed_ns), key=lambda each: each.invoked_ns)
    books = [each for each in history if each.name == "book"]
    answers = {status for each in books for status in each.answer}
    assert answers.issuperset(OFTEN)

    connection = await connect(database_url, owner=True)

    async def found(lie: Callable[[], None]) -> list[str]:
        before = copy.deepcopy([(each.answer, each.completed_ns) for each in history])
        lie()
        lies = await check(connection, "transfers", checked.history, checked.ids)
        for each, (answer, completed_ns) in zip(history, before, strict=True):
            each.answer, each.completed_ns = answer, completed_ns
        return lies

    def another_status() -> None:
        books[-1].answer[0] = "created" if books[-1].answer[0] != "created" else "exists"

    def another_balance() -> None:
        next(iter(each for each in history if each.name == "read" and each.answer)).answer.popitem()

    def too_early() -> None:
        history[-1].completed_ns = history[0].invoked_ns - 1

    for lie in (another_status, another_balance, too_early):
        assert len(await found(lie)) >= 1, lie
    await connection.execute("update accounts set debits_posted = debits_posted + 1 where name = 'free 0'")
    assert any("free 0" in each for each in await check(connection, "transfers", checked.history, checked.ids))
    await connection.close()
