"""`bursar savings`: what each lever has saved, by the difference between treatment and hold-out."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from cyclopts import Parameter, validators

from bursar.api.savings import SavingsView, savings_view
from bursar.cli.common import Data, Json, now_us, open_books, print_json, print_table, run
from bursar.core.times import DAY_US
from bursar.savings.proof import percent_text
from bursar.store.savings import savings as read_savings


def savings(
    *,
    days: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=3_660), help="Of so many days.")] = 30,
    confidence: Annotated[
        float, Parameter(validator=validators.Number(gt=0, lt=1), help="With which the intervals are to hold.")
    ] = 0.95,
    data: Data = None,
    json: Json = False,
) -> None:
    """Print what each experiment of a lever has saved: its arms by run or conversation, and what they differ by."""

    async def work() -> list[SavingsView]:
        async with open_books(data) as connection:
            now = now_us()
            return [savings_view(each) for each in await read_savings(connection, now - days * DAY_US, now, confidence)]

    found = run(work())
    if json:
        print_json(msgspec.to_builtins(found))
        return
    if not found:
        print(f"no lever with a hold-out has taken part in a call of the last {days} days")
        return
    rows = [
        [
            *(each.lever, each.experiment, percent_text(each.share_ppm), name),
            *(f"{arm.units:,}", f"{arm.calls:,}", arm.cost_usd, arm.estimated_saved_usd),
        ]
        for each in found
        for name, arm in (("treatment", each.treatment), ("hold-out", each.holdout))
    ]
    columns = ["lever", "experiment", "held out", "arm", "runs and conversations", "calls", "USD", "estimated saved"]
    print_table(columns, rows, right=(2, 4, 5, 6, 7))
    for each in found:
        print("\n".join(lines_of(each, confidence)))


def lines_of(view: SavingsView, confidence: float) -> Iterator[str]:
    """Say what the difference is worth, or why that cannot be told."""
    cost, name = view.cost, f"{view.lever} {view.experiment} at {percent_text(view.share_ppm)}"
    if cost.too_few is not None:
        few = cost.too_few
        yield (
            f"{name}: nothing can be told yet: {few.treatment_units:,} in treatment of about"
            f" {few.treatment_needed:,} needed, {few.holdout_units:,} held out of about {few.holdout_needed:,}"
        )
    else:
        share, less = cost.share_less, cost.usd_less
        assert less is not None
        told = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%}), " if share is not None else ""
        yield f"{name}: saved {told}with {confidence:.0%} confidence"
        yield f"  cost: {less.value} USD less a run or conversation ({less.low} to {less.high})"
    for measure, measured in view.quality.items():
        if (fewer := measured.less) is not None:
            yield f"  {measure}: {fewer.value:+.2%} ({fewer.low:+.2%} to {fewer.high:+.2%}) against hold-out"
    if view.left_out_units:
        yield f"  {view.left_out_units:,} were in both arms, explored or made cheaper by a budget, and count in neither"
