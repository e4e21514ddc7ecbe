"""Replay a history of the books through a model of plain numbers, written from the documentation alone.

An operation says when it was invoked and completed, at which place in the order of the books it took effect, and what
it answered. The model does the same operations one after the other; whatever it answers otherwise is a violation, and
so is an operation that took effect before another that had completed before it began.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

AMOUNT_MAX = 2**63 - 1
EVENT_AHEAD_US = 300_000_000


class Operation(msgspec.Struct):
    """Record one operation of one process. Times are of one clock, in nanoseconds."""

    process: int
    number: int
    name: str
    asked: Any
    invoked_ns: int
    completed_ns: int | None = None  # None: nobody knows whether it was done
    place: int | None = None  # None: it was not done
    answer: Any = None
    error: str = ""

    @property
    def words(self) -> str:
        """Name the operation."""
        return f"{self.name} {self.process}.{self.number} at {self.place}"


class Model:
    """Keep accounts, transfers, refusals and ended holds, and say what becomes of a transfer."""

    def __init__(self, accounts: Iterable[dict[str, Any]]) -> None:
        # By account: debits pending, debits posted, credits pending, credits posted.
        self.sums: dict[int, list[int]] = {}
        self.accounts: dict[int, dict[str, Any]] = {}
        for account in accounts:
            self.accounts[account["account_id"]] = account
            self.sums[account["account_id"]] = [0, 0, 0, 0]
        self.stands: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, str] = {}
        self.ended: dict[str, str] = {}

    def book(self, steps: list[list[dict[str, Any]]], now_us: int) -> list[str]:
        """Book steps, each a chain of one or more transfers of which all stand or none."""
        answers: list[str] = []
        for step in steps:
            answers += self._chain(step, now_us) if len(step) > 1 else [self._one(step[0], now_us)]
        return answers

    def _one(self, transfer: dict[str, Any], now_us: int) -> str:
        answer = self._known(transfer) or self._judge(transfer, now_us)
        if answer == "created":
            self._do(transfer)
        elif answer not in ("exists", "exists_with_different_content"):
            self.refused.setdefault(transfer["id"], answer)
        return answer

    def _chain(self, step: list[dict[str, Any]], now_us: int) -> list[str]:
        sums = {account: list(each) for account, each in self.sums.items()}
        before = sums, dict(self.stands), dict(self.ended)
        answers: list[str] = []
        for transfer in step:
            answers.append(self._known(transfer) or self._judge(transfer, now_us))
            if answers[-1] == "created":
                self._do(transfer)
            elif answers[-1] != "exists":
                break
        else:
            return answers
        self.sums, self.stands, self.ended = before
        culprit = len(answers) - 1
        answers = [
            answers[culprit] if number == culprit else self._known(transfer) or "linked_transfer_failed"
            for number, transfer in enumerate(step)
        ]
        for transfer, answer in zip(step, answers, strict=True):
            if answer != "exists" and transfer["id"] not in self.stands:
                self.refused.setdefault(transfer["id"], answer)
        return answers

    def _known(self, transfer: dict[str, Any]) -> str | None:
        before = self.stands.get(transfer["id"])
        if before is not None:
            return "exists" if before == transfer else "exists_with_different_content"
        return "id_already_failed" if transfer["id"] in self.refused else None

    def _judge(self, transfer: dict[str, Any], now_us: int) -> str:
        """Go through the reasons to refuse a transfer, in their documented order."""
        amount, kind = transfer["amount"], transfer["kind"]
        ends = kind in ("post_hold", "void_hold", "expire_hold")
        debit, credit = self.accounts.get(transfer["debit"]), self.accounts.get(transfer["credit"])
        first = {
            "amount_is_negative": amount < 0,
            "amount_exceeds_int64": amount > AMOUNT_MAX,
            "held_amount_out_of_range": not 0 <= transfer["held"] <= AMOUNT_MAX,
            "event_time_out_of_range": not 0 <= transfer["event_us"] <= now_us + EVENT_AHEAD_US,
            "hold_not_expected": bool(transfer["hold_id"]) and not ends,
            "accounts_are_the_same": transfer["debit"] == transfer["credit"],
            "debit_account_not_found": debit is None,
            "credit_account_not_found": credit is None,
        }
        for answer, applies in first.items():
            if applies:
                return answer
        assert debit is not None
        assert credit is not None
        if not debit["unit"] == credit["unit"] == transfer["unit"]:
            return "units_differ"
        return self._judge_end(transfer) if ends else self._judge_amount(transfer, debit, credit)

    def _judge_end(self, transfer: dict[str, Any]) -> str:
        hold = self.stands.get(transfer["hold_id"])
        if hold is None or hold["kind"] != "hold":
            return "hold_not_found"
        if transfer["hold_id"] in self.ended:
            how = {"post_hold": "hold_already_posted", "void_hold": "hold_already_voided"}
            return how.get(self.ended[transfer["hold_id"]], "hold_expired")
        if (hold["debit"], hold["credit"]) != (transfer["debit"], transfer["credit"]):
            return "hold_has_other_accounts"
        if hold["amount"] != transfer["held"]:
            return "hold_has_other_amount"
        most = hold["amount"] if transfer["kind"] == "post_hold" else 0
        return "exceeds_hold" if transfer["amount"] > most else "created"

    def _judge_amount(self, transfer: dict[str, Any], debit: dict[str, Any], credit: dict[str, Any]) -> str:
        amount = transfer["amount"]
        if debit["closed"]:
            return "debit_account_closed"
        if credit["closed"]:
            return "credit_account_closed"
        out, into = self.sums[transfer["debit"]], self.sums[transfer["credit"]]
        if debit["limited"] and out[0] + out[1] + amount > out[3]:
            return "exceeds_credits"
        if credit["credits_limited"] and into[2] + into[3] + amount > into[1]:
            return "exceeds_debits"
        too_much = out[0] + out[1] + amount > AMOUNT_MAX or into[2] + into[3] + amount > AMOUNT_MAX
        return "balance_exceeds_int64" if too_much else "created"

    def _do(self, transfer: dict[str, Any]) -> None:
        out, into, amount = self.sums[transfer["debit"]], self.sums[transfer["credit"]], transfer["amount"]
        if transfer["kind"] == "hold":
            out[0] += amount
            into[2] += amount
        else:
            out[1] += amount
            into[3] += amount
        if transfer["kind"] in ("post_hold", "void_hold", "expire_hold"):
            out[0] -= transfer["held"]
            into[2] -= transfer["held"]
            self.ended[transfer["hold_id"]] = transfer["kind"]
        self.stands[transfer["id"]] = transfer


def out_of_time(history: list[Operation]) -> Iterator[str]:
    """Find operations that come in the order before one that had completed before they were invoked."""
    done = [operation for operation in history if operation.place is not None]
    completed = sorted((each.completed_ns, each.place, each.words) for each in done if each.completed_ns is not None)
    latest, latest_words, number = -1, "", 0
    for operation in sorted(done, key=lambda each: each.invoked_ns):
        while number < len(completed) and completed[number][0] < operation.invoked_ns:
            if completed[number][1] > latest:
                _, latest, latest_words = completed[number]
            number += 1
        if operation.place is not None and operation.place < latest:
            yield f"{operation.words} began after {latest_words} had completed"
