"""Shape and answer what routes have chosen. Money is a decimal string of USD; shares are of 1."""

from itertools import groupby
from typing import Annotated

from litestar import get
from litestar.params import Parameter

from bursar.api.answers import now_us
from bursar.api.shapes.saving import ChoiceView, DriftView, RoutesView, RouteView
from bursar.core.money import nano_to_usd
from bursar.core.times import DAY_US, to_datetime
from bursar.store.database import Connection, Pool, borrow
from bursar.store.routes import Chosen, Drifted, chosen_by_routes, drifted


@get("/api/routes", summary="What routes have chosen, how that turned out, and which models have drifted")
async def routes(
    pool: Pool, days: Annotated[int, Parameter(ge=1, le=3_660, description="Of so many days.")] = 30
) -> RoutesView:
    """Report on routes."""
    now = now_us()
    async with borrow(pool) as connection:
        return await read_routes(connection, now - days * DAY_US, now)


async def read_routes(connection: Connection, from_us: int, until_us: int) -> RoutesView:
    """Read what routes have chosen between two moments."""
    chosen = await chosen_by_routes(connection, from_us, until_us)
    shown = [_route(name, list(group)) for name, group in groupby(chosen, lambda each: each.policy)]
    return RoutesView(shown, [_drift(each) for each in await drifted(connection, from_us)])


def _route(name: str, chosen: list[Chosen]) -> RouteView:
    calls = sum(each.calls for each in chosen)
    cost, saved = (sum(getattr(each, field) for each in chosen) for field in ("cost_nano", "estimated_nano"))
    return RouteView(name, calls, nano_to_usd(cost), nano_to_usd(saved), [_choice(each, calls) for each in chosen])


def _choice(each: Chosen, calls: int) -> ChoiceView:
    amounts = nano_to_usd(each.cost_nano), nano_to_usd(each.estimated_nano)
    return ChoiceView(each.model, each.how, each.calls, each.calls / calls, *amounts, each.failed, each.told, each.good)


def _drift(each: Drifted) -> DriftView:
    return DriftView(to_datetime(each.at_us).isoformat(timespec="seconds"), each.text)
