"""What levers have saved is printed with its interval, its quality and what counts in neither arm."""

import msgspec
import pytest
from inline_snapshot import snapshot

from bursar.api.savings import savings_view
from bursar.cli.savings import lines_of
from bursar.savings.proof import Sample, TooFew, difference, sample_of
from bursar.store.savings import ArmTotals, LeverReport

TREATMENT, HOLDOUT = ArmTotals(60, 100, 300_000_000, 120_000_000, 9_000), ArmTotals(40, 60, 400_000_000)


def report(treatment: Sample, holdout: Sample, left_out_units: int = 0) -> LeverReport:
    alike = difference(sample_of([0.5] * 60), sample_of([0.5] * 40))
    few = TooFew(60, 40, 400, 400)
    measures = {"failed": alike, "again": few}
    return LeverReport(
        "compress", "1", 100_000, TREATMENT, HOLDOUT, left_out_units, difference(treatment, holdout), measures
    )


def test_a_difference_is_told_with_its_bounds() -> None:
    found = report(sample_of([4e6, 6e6] * 30), sample_of([9e6, 11e6] * 20), left_out_units=3)
    assert list(lines_of(savings_view(found), 0.95)) == snapshot(
        [
            "compress 1 at 10 %: saved 50.0% (46.9% to 53.0%), with 95% confidence",
            "  cost: 0.005 USD less a run or conversation (0.004589566 to 0.005410434)",
            "  failed calls: +0.00% (+0.00% to +0.00%) against hold-out",
            "  3 were in both arms, explored or made cheaper by a budget, and count in neither",
        ]
    )


def test_a_difference_that_cannot_be_told_says_how_many_it_takes() -> None:
    found = report(sample_of([4e6] * 60), sample_of([9e6] * 12))
    assert list(lines_of(savings_view(found), 0.95)) == snapshot(
        [
            "compress 1 at 10 %: nothing can be told yet: 60 in treatment of about 30 needed, 12 held out of about 30",
            "  failed calls: +0.00% (+0.00% to +0.00%) against hold-out",
        ]
    )


@pytest.mark.parametrize("holdout", [[0.0] * 40, [-1.0, 1.0] * 20])
def test_a_share_of_nothing_is_left_out(holdout: list[float]) -> None:
    (line, *_) = lines_of(savings_view(report(sample_of([4e6] * 60), sample_of(holdout))), 0.9)
    assert "%" not in line.replace("90% confidence", "").replace("10 %", "")


@pytest.mark.parametrize(
    ("treatment", "holdout", "verdict"),
    [
        ([4e6, 6e6], [9e6, 11e6], "saves 50.0%"),
        ([9e6, 11e6], [4e6, 6e6], "costs 100.0% more"),
        ([4e6, 6e6], [4e6, 6e6], "no difference in cost that could not be chance"),
    ],
)
def test_a_verdict_says_in_words_what_the_difference_is(
    treatment: list[float], holdout: list[float], verdict: str
) -> None:
    assert savings_view(report(sample_of(treatment * 30), sample_of(holdout * 20))).verdict == verdict


def test_a_verdict_tells_what_got_worse_with_a_saving() -> None:
    found = report(sample_of([4e6, 6e6] * 30), sample_of([9e6, 11e6] * 20))
    worse = difference(sample_of([0.5, 0.7] * 30), sample_of([0.1, 0.3] * 20))
    assert savings_view(msgspec.structs.replace(found, measures={"failed": worse})).verdict == (
        "saves 50.0%; more failed calls"
    )


def test_a_verdict_on_few_units_says_how_many_it_takes() -> None:
    assert savings_view(report(sample_of([4e6] * 60), sample_of([9e6] * 12))).verdict == (
        "nothing can be told yet: 60 in treatment of about 30 needed, 12 held out of about 30"
    )
