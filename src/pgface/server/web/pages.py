"""The functions that all pages share: for the logged-in user, rendering, links, cookies and errors."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache, partial
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from babel.support import Format
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException

from pgface.accounts import NewLogin
from pgface.accounts.devices import DAYS as DEVICE_DAYS
from pgface.accounts.devices import remember_device
from pgface.errors import (
    DatabaseError,
    LoginRefusedError,
    NotAuthenticatedError,
    NotLoggedInError,
    NotPermittedError,
    PgfaceError,
    SeveralFacesError,
    TooManyAttemptsError,
)
from pgface.gallery.users import shown_email
from pgface.server.auth import Guard, OperatorPrincipal, UserPrincipal, find_operator, find_user, is_same_origin
from pgface.server.bodies import FormRoute
from pgface.server.errors import headers_of, log_if_failure, public_detail, status_of
from pgface.server.service import COOKIE, DEVICE_COOKIE, client_of, cookie_of, service_of
from pgface.server.web.translations import N_, NAMES, Language, language_of, translate

_MAX_QUERY_LENGTH = 400
_MAX_PATH_LENGTH = 500
_LOCAL = re.compile(r'(\s(?:href|src|action|formaction)=")(?=/|\{\{)')
"""Matches before a path of this service in a template, or before a variable with such a path."""

_FAILED = N_("Something went wrong in the service. Its operator can find the reason in the log.")
_NO_PAGE = N_("There is no such page.")
_WRONG_METHOD = N_("This address does not accept this kind of request.")


class PageRoute(FormRoute):
    """A page. The responses to its errors are pages too (see `error_handlers`)."""


@Guard
async def require_same_origin(request: Request) -> None:
    """Refuse a request that changes something and comes from the page of another site.

    Raises:
        NotPermittedError: the request comes from another site.

    """
    if request.method not in ("GET", "HEAD") and not is_same_origin(request):
        raise NotPermittedError(N_("Another site sent this request, so it was refused. Use the pages of this service."))


@Guard
async def get_viewer(request: Request) -> UserPrincipal | OperatorPrincipal | None:
    """Return the logged-in user of the cookie, or None. The request may come from a link of another site.

    An administrator of all galleries who is logged in to the default gallery needs no login to another one.
    """
    service = service_of(request)
    person: UserPrincipal | OperatorPrincipal
    try:
        if token := request.cookies.get(cookie_of(request)):
            person = await service.run_db(find_user, service, token)
        elif service.home is not None and (token := request.cookies.get(COOKIE)):
            person = await service.run_db(find_operator, service, token)
        else:
            return None
    except NotLoggedInError:
        return None
    request.state.caller = person
    return person


@Guard
async def get_current_user(request: Request) -> UserPrincipal:
    """Return the logged-in user of the cookie.

    Raises:
        NotAuthenticatedError: there is no logged-in user of this gallery.

    """
    person = await get_viewer(request)
    if not isinstance(person, UserPrincipal):
        raise NotAuthenticatedError
    return person


@Guard
async def get_current_admin(request: Request) -> UserPrincipal | OperatorPrincipal:
    """Return the logged-in administrator of the cookie.

    Raises:
        NotAuthenticatedError: there is no logged-in user.
        NotPermittedError: the user is not an administrator.

    """
    person = await get_viewer(request)
    if person is None:
        raise NotAuthenticatedError
    if not person.administrator:
        raise NotPermittedError(
            N_("Only administrators may see this page. The command `pgface admins add` makes a user an administrator.")
        )
    return person


Viewer = Annotated[UserPrincipal | OperatorPrincipal | None, Depends(get_viewer)]
CurrentUser = Annotated[UserPrincipal, Depends(get_current_user)]


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a page in the browser's language."""
    language = language_of(request)
    formats = Format(language)
    service = service_of(request)
    caller = getattr(request.state, "caller", None)
    common = {
        "viewer": caller if isinstance(caller, UserPrincipal | OperatorPrincipal) else None,
        "is_user": isinstance(caller, UserPrincipal),
        "is_operator": isinstance(caller, OperatorPrincipal) or getattr(caller, "operator", False),
        "gallery_name": request.scope.get("pgface.gallery"),
        "home": request.scope.get("pgface.root_path", request.scope.get("root_path", "")),
        "path": path_of(request),
        "root": request.scope.get("root_path", ""),
        "here": _address_of(request),
        "problem": None,
        "request_id": request.state.request_id,
        "settings": service.settings,
        "moment": lambda value: formats.datetime(service.as_utc(value), "d MMM y HH:mm 'UTC'"),
        "day": lambda value: formats.date(service.as_utc(value), "d MMM y"),
        "number": lambda value, digits=0: formats.decimal(round(value, digits) or 0, f"#,##0.{'0' * digits}"),
    }
    html = _environment(language).get_template(template).render(common | {"status": status} | values)
    return HTMLResponse(html, status)


def explain(request: Request, error: PgfaceError) -> str:
    """Return the sentence of an error in the browser's language.

    If a sentence with details has no translation, return the general sentence of the error's class.
    """
    language = language_of(request)
    if isinstance(error, TooManyAttemptsError):
        one = N_("There were too many failed attempts. Try again in %(seconds)s second.")
        more = N_("There were too many failed attempts. Try again in %(seconds)s seconds.")
        message = one if error.retry_after == 1 else more
        return translate(language, message) % {"seconds": error.retry_after}
    if isinstance(error, SeveralFacesError) and language == "en":
        return str(error).replace(SeveralFacesError.CHOICE, "choose to take the largest below")
    detail = public_detail(request, error)
    if language == "en" or (translated := translate(language, detail)) != detail:
        return detail if language == "en" else translated
    return translate(language, public_detail(request, type(error)()))


def wrong_password(request: Request, error: PgfaceError) -> str:
    """Return the sentence of an error of a form whose only field is the password."""
    if isinstance(error, LoginRefusedError):
        return translate(language_of(request), N_("The password is wrong."))
    return explain(request, error)


def error_page(request: Request, error: PgfaceError) -> Response:
    """Make the response to an error: a page that explains it, or a redirect to the login."""
    if isinstance(error, NotAuthenticatedError | NotLoggedInError):
        # After the login, a page that was requested with GET is shown again.
        next_path = path_of(request) if request.method == "GET" else "/"
        response = redirect(f"/login?next={quote(next_path, safe='/')}")
        clear_login_cookie(response, request)
        return response
    return refused(request, "error.html", error)


async def http_error_page(request: Request, error: HTTPException) -> Response:
    """Make the page for an address that does not exist, or does not accept the request's method."""
    with suppress(PgfaceError):
        await get_viewer(request)
    unknown = error.status_code == HTTPStatus.NOT_FOUND
    page = _message_page(request, error.status_code, _NO_PAGE if unknown else _WRONG_METHOD)
    page.headers.update(error.headers or {})
    return page


def internal_error_page(request: Request) -> Response:
    """Make the page for an unexpected error."""
    return _message_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED)


def _message_page(request: Request, status: int, message: str) -> HTMLResponse:
    return render(request, "error.html", status, problem=translate(language_of(request), message))


def refused(request: Request, template: str, error: PgfaceError, **values: Any) -> HTMLResponse:
    """Render a page with the error's sentence in `problem`. Usually it is the form with the sent values."""
    log_if_failure(error)
    values = {"problem": explain(request, error)} | values
    page = render(request, template, status_of(type(error)), **values)
    page.headers.update(headers_of(error))
    return page


def path_of(request: Request) -> str:
    """Return the path of a request without the path of the service on a shared host."""
    return request.url.path.removeprefix(request.scope.get("root_path", "")) or "/"


def _address_of(request: Request) -> str:
    """Return the path and query of this page, for links back to it."""
    path = path_of(request)
    query = f"?{request.url.query}" if request.url.query else ""
    return path + query if request.method == "GET" and len(query) <= _MAX_QUERY_LENGTH else path


def redirect(path: str) -> RedirectResponse:
    """Redirect to a page after a form was sent."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def link(path: str, **query: object) -> str:
    """Make a link with a query. Empty values are left out."""
    filled_in = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(filled_in)}" if filled_in else path


def paging(path: str, cursor: str | None, next_cursor: str | None, **query: object) -> dict[str, Any]:
    """Return the values of a template for a list's links to the first page and to the next page.

    Args:
        path: the path of the list.
        cursor: the cursor of this page. None for the first page.
        next_cursor: the cursor of the next page. None on the last page.
        query: the other parameters of the list.

    """
    return {
        "first": cursor is None,
        "beginning": link(path, **query),
        "following": next_cursor and link(path, **query, cursor=next_cursor),
    }


def local_path(path: str | None) -> str:
    """Return a path of this service unchanged, and `/` for anything else, so that no link redirects to another site."""
    local = path is not None and path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if path and local and path.isprintable() and len(path) <= _MAX_PATH_LENGTH else "/"


async def set_login_cookie(response: Response, request: Request, login: NewLogin) -> None:
    """Set the cookie of the login and the cookie of the known browser. Scripts cannot read them."""
    service = service_of(request)
    seconds = int(service.settings.login_hours * 3600)
    response.set_cookie(cookie_of(request), login.token, max_age=seconds, secure=True, httponly=True, samesite="lax")
    with suppress(DatabaseError):  # the login works without the second cookie
        device = await service.run_db(remember_device, service.gallery.database, login.user_id, client_of(request))
        days = DEVICE_DAYS * 24 * 3600
        response.set_cookie(
            cookie_of(request, DEVICE_COOKIE), device, max_age=days, secure=True, httponly=True, samesite="strict"
        )


def clear_login_cookie(response: Response, request: Request) -> None:
    """Delete the cookie of the login."""
    response.delete_cookie(cookie_of(request), secure=True, httponly=True, samesite="lax")


class _UnderRoot(Extension):
    """Adds the service's path on a shared host to the links, forms and files of a template."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Change the source of a template, before values of users are inserted."""
        return _LOCAL.sub(r"\1{{ root }}", source)


@cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n", _UnderRoot],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        partial(translate, language),
        lambda one, several, number: translate(language, one if number == 1 else several),
        newstyle=True,
    )
    environment.filters["with_code"] = _with_code
    environment.filters["shown_email"] = shown_email
    environment.globals |= {
        "language": language,
        "languages": NAMES,
        "version": version("pgface"),
        # For sentences that do not come from templates. `_()` treats its message as HTML and as a format.
        "translated": partial(translate, language),
    }
    return environment


def _with_code(text: str) -> Markup:
    """Convert a sentence to HTML, with the text between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    code = [Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)]
    return Markup("").join(code) if len(parts) % 2 else escape(text)
