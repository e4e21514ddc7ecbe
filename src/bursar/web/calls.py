"""Show the latest calls as they come, those of a key, model, run or status alone, and one call in full."""

from collections import Counter
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.di import Provide

from bursar.api.sought import read_call, read_calls, read_sought
from bursar.core.records import CallStatus
from bursar.store.database import Pool
from bursar.store.reports import Sought
from bursar.web.pages import LIVE_MS, Page, Pages, respond

CALLS: Final = 100
_FACETS: Final = ("status", "model", "key", "run")
_FACET_MAX: Final = 8


class Facet(NamedTuple):
    """Be a value that calls can be narrowed to, or freed from; `calls` is how many of those shown have it."""

    value: str
    calls: int
    href: str
    chosen: bool


@get(
    "/calls",
    include_in_schema=False,
    media_type=MediaType.HTML,
    dependencies={"sought": Provide(read_sought, sync_to_thread=False)},
)
async def calls_page(request: Request[Any, Any, Any], pool: Pool, pages: Pages, sought: Sought) -> Response[str]:
    """Show the latest calls that are sought."""
    found = await read_calls(pool, sought, CALLS + 1)
    shown = found[:CALLS]
    page = Page("calls.html", "Calls · Bursar", _address("/api/calls", sought), LIVE_MS)
    return respond(
        pages,
        request,
        page,
        calls=shown,
        facets={name: facets for name in _FACETS if (facets := _facets(name, sought, shown))},
        older=_address("/calls", sought, after=None, before=shown[-1]["id"]) if len(found) > CALLS else "",
        latest=_address("/calls", sought, after=None, before=None) if sought.before or sought.after else "",
        narrowed=any(getattr(sought, name) for name in _FACETS),
        ok=CallStatus.ok.name,
    )


@get("/calls/{call_id:str}", include_in_schema=False, media_type=MediaType.HTML)
async def call_page(request: Request[Any, Any, Any], pool: Pool, pages: Pages, call_id: str) -> Response[str]:
    """Show one call with its attempts, what each was charged for, and when each was made."""
    found = await read_call(pool, call_id)
    page = Page("call.html", f"{found['model']} at {found['at'][:19]} · Bursar", f"/api/calls/{call_id}", script="")
    return respond(pages, request, page, call=found, ok=CallStatus.ok.name)


def _facets(name: str, sought: Sought, calls: list[dict[str, Any]]) -> list[Facet]:
    """Count the values of a field among the calls shown, the most frequent first; what was chosen leads back."""
    chosen = getattr(sought, name)
    counted = Counter(call[name] for call in calls if call[name])
    if chosen is not None:
        text = chosen.name if isinstance(chosen, CallStatus) else str(chosen)
        return [Facet(text, len(calls), _address("/calls", sought, **{name: None}), chosen=True)]
    return [
        Facet(value, count, _address("/calls", sought, before=None, after=None, **{name: value}), chosen=False)
        for value, count in counted.most_common(_FACET_MAX)
    ]


def _address(path: str, sought: Sought, **changes: Any) -> str:
    values = {**msgspec.structs.asdict(sought), **changes}
    given = {name: value for name, value in values.items() if value is not None}
    texts = {name: value.name if isinstance(value, CallStatus) else value for name, value in given.items()}
    return f"{path}?{urlencode(texts)}" if texts else path
