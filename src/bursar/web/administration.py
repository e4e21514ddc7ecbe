"""Serve the forms keys and budgets are administered by: plain ones, which do what the API does, by the same functions.

A form that changes what calls may cost or who may make them is answered first with what it would change; that page
sends the same form again, with the consent in it.

A form that was done answers with a way to a page (303), so that going back or loading again does nothing twice; what
that page says once, a new secret above all, waits in the session. A form that was not done answers with its page, what
was typed still in it.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from litestar import MediaType, Request, Response, post
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException, NotAuthorizedException

from bursar.api.admission import FORM, session_of
from bursar.api.sessions import Session
from bursar.web.forms import FormError, Problem, problem_of, read_form
from bursar.web.pages import Page, Pages, respond

AnyRequest: TypeAlias = Request[Any, Any, Any]
Fields: TypeAlias = dict[str, str]

_CONSENT: Final = "sure"
_NOT_STORED: Final = {"cache-control": "no-store"}
_ASKED: Final = Page("asked.html", "Are you sure? · Bursar", script="")
_SIGNED_OUT: Final = "you are signed out; sign in in another tab, then send this again"


class Change(NamedTuple):
    """Be one thing a form would change, in words: what, from what, to what."""

    what: str
    before: str
    after: str


class Unsure(NamedTuple):
    """Say what a form would change, before it does; `back` is the page it came from."""

    title: str
    changes: Sequence[Change]
    button: str
    back: str
    note: str = ""


def is_sure(fields: Fields) -> bool:
    """Tell whether whoever sends a form has seen what it changes."""
    return fields.get(_CONSENT) == "yes"


def form(path: str) -> Callable[[Any], Any]:
    """Return a decorator for what takes a form of a page."""
    return post(path, include_in_schema=False, media_type=MediaType.HTML, opt={FORM: True}, status_code=200)


async def show(
    request: AnyRequest, pages: Pages, page: Page, problem: Problem | None = None, **values: Any
) -> Response[str]:
    """Render a page for who is signed in, or is not, with what is to be told once."""
    session = await session_of(request)
    told = session.take_told(time.monotonic()) if session is not None and request.method == "GET" else None
    admin = session.admin if session is not None else ""
    status = problem.status if problem is not None else 200
    response = respond(pages, request, page, status, admin=admin, told=told, problem=problem, **values)
    response.headers.update(_NOT_STORED)
    return response


async def done(
    request: AnyRequest,
    pages: Pages,
    name: str,
    act: Callable[[Fields, Session], Awaitable[str | Unsure]],
    shown: Callable[[Problem], Awaitable[Response[str]]],
) -> Response[str]:
    """Do what a form asks in the name of who is signed in, and go where it leads; or show it with what is wrong.

    What `act` is unsure of is asked first.
    """
    fields: Fields = {}
    try:
        fields = read_form(await request.body())
        session = await session_of(request)
        if session is None:
            raise NotAuthorizedException(_SIGNED_OUT, extra={"code": "signed_out"})
        request.scope["state"]["admin"] = session.admin
        found = await act(fields, session)
        if isinstance(found, Unsure):
            typed = {name: value for name, value in fields.items() if name != _CONSENT}
            return await show(request, pages, _ASKED, asked=found, typed=typed, consent=_CONSENT)
        return go(found)
    except (FormError, HTTPException, msgspec.ValidationError) as error:
        return await shown(problem_of(name, error, fields))


def go(path: str, *cookies: Cookie) -> Response[str]:
    """Answer with the way to a page."""
    headers = {"location": path} | _NOT_STORED
    return Response("", status_code=303, media_type=MediaType.HTML, headers=headers, cookies=cookies)
