"""Answer what was told about budgets."""

from typing import Annotated

from litestar import get
from litestar.params import Parameter

from bursar.store.alerts import ALERTS_MAX, ListedAlert, recent_alerts
from bursar.store.database import Pool, borrow


@get("/api/alerts", summary="The latest alerts, newest first, and how telling them went")
async def alerts(pool: Pool, limit: Annotated[int, Parameter(ge=1, le=ALERTS_MAX)] = 50) -> list[ListedAlert]:
    """List alerts."""
    async with borrow(pool) as connection:
        return await recent_alerts(connection, limit)
