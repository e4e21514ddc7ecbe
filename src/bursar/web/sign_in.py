"""Sign a browser in by an admin key, and out."""

import time
from typing import Final

import msgspec
from litestar import MediaType, Response, get
from litestar.datastructures import Cookie
from litestar.exceptions import NotAuthorizedException

from bursar.api.admission import admin_of
from bursar.api.sessions import COOKIE, WHOLE_S
from bursar.web.administration import AnyRequest, Fields, form, go, show
from bursar.web.forms import FormError, problem_of, read_form
from bursar.web.pages import Page, Pages

_PAGE: Final = Page("sign_in.html", "Sign in · Bursar", script="")
_BACK: Final = ("/keys", "/budgets")


@get("/sign-in", include_in_schema=False, media_type=MediaType.HTML)
async def sign_in_page(request: AnyRequest, pages: Pages) -> Response[str]:
    """Show where to sign in."""
    return await show(request, pages, _PAGE, back=_back(request.query_params.get("to", "")))


@form("/sign-in")
async def sign_in(request: AnyRequest, pages: Pages) -> Response[str]:
    """Begin a session for who brings an admin key."""
    fields: Fields = {}
    try:
        fields = read_form(await request.body())
        key = await admin_of(request, fields.get("admin_key", ""))
    except (FormError, NotAuthorizedException) as error:
        problem = msgspec.structs.replace(problem_of("sign-in", error, {}), field="admin_key")
        return await show(request, pages, _PAGE, problem, back=_back(fields.get("to", "")))
    sessions = request.app.state.admission.sessions
    sessions.end(request.cookies.get(COOKIE, ""))
    token = sessions.begin(key.name, key.sha256, time.monotonic())
    return go(_back(fields.get("to", "")), _cookie(request, token, round(WHOLE_S)))


@form("/sign-out")
async def sign_out(request: AnyRequest) -> Response[str]:
    """End the session."""
    request.app.state.admission.sessions.end(request.cookies.get(COOKIE, ""))
    return go(_BACK[0], _cookie(request, "", 0))


def _back(wanted: str) -> str:
    """Return where to go after signing in: a page that is known, whatever an address says."""
    return wanted if wanted in _BACK else _BACK[0]


def _cookie(request: AnyRequest, token: str, age_s: int) -> Cookie:
    """Make the session's cookie: no script reads it, no other site's page sends it."""
    secure = request.headers.get("x-forwarded-proto", "").lower() == "https"
    return Cookie(COOKIE, value=token, path="/", max_age=age_s, httponly=True, samesite="strict", secure=secure)


SESSIONS: Final = (sign_in_page, sign_in, sign_out)
