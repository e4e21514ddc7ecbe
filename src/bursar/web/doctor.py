"""Show what the doctor finds: what is not well first, with the way out."""

from typing import Any, Final

from litestar import MediaType, Request, Response, get

from bursar.api.doctor.doctor import Doctor
from bursar.api.doctor.findings import State
from bursar.web.pages import SLOW_MS, Page, Pages, respond

_PAGE: Final = Page("doctor.html", "Doctor · Bursar", "/api/doctor", SLOW_MS)
_FIRST: Final = (State.fail, State.warn, State.ok)
_WORDS: Final = {State.fail: "failed", State.warn: "to look at", State.ok: "ok"}


@get("/doctor", include_in_schema=False, media_type=MediaType.HTML)
async def doctor_page(request: Request[Any, Any, Any], pages: Pages) -> Response[str]:
    """Show every check, the worst first."""
    examiner: Doctor = request.app.state.doctor
    view = await examiner.look()
    found = sorted(view.findings, key=lambda each: _FIRST.index(each.state))
    counts = {state: sum(each.state is state for each in found) for state in _FIRST}
    return respond(pages, request, _PAGE, found=found, counts=counts, words=_WORDS, looked=view.looked)
