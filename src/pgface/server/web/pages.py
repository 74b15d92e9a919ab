"""What all pages have in common: who looks at them, how they are rendered, and what an error looks like."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import cache, partial
from importlib.metadata import version
from typing import Annotated, Any
from urllib.parse import quote

from babel.dates import format_datetime
from babel.numbers import format_decimal
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from pgface.accounts import NewLogin
from pgface.errors import NotAuthenticatedError, NotLoggedInError, NotPermittedError, PgfaceError
from pgface.server.callers import COOKIE, Person, from_own_pages, person_of
from pgface.server.problems import headers_of, log_if_ours, public_detail, status_of
from pgface.server.service import service_of
from pgface.server.web.languages import NAMES, Language, language_of, translate

SEE_OTHER = 303


class PageRoute(APIRoute):
    """A page: errors are pages too, and nothing that changes anything comes from another site's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, with that around it."""
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                if request.method not in ("GET", "HEAD") and not from_own_pages(request):
                    raise NotPermittedError("This was sent by another site's page.")
                return await handle(request)
            except (NotAuthenticatedError, NotLoggedInError):
                return to_login(request)
            except PgfaceError as error:
                return error_page(request, error)

        return handle_page


async def viewer_of(request: Request) -> Person | None:
    """Who looks at a page, by its cookie; a link from elsewhere may lead here."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    service = service_of(request)
    try:
        person = await service.ask(person_of, service, token)
    except NotLoggedInError:
        return None
    request.state.caller = person
    return person


async def person_viewing(request: Request) -> Person:
    """The same, where nobody else may look.

    Raises:
        NotAuthenticatedError: nobody is logged in.

    """
    person = await viewer_of(request)
    if person is None:
        raise NotAuthenticatedError
    return person


async def administrator_viewing(request: Request) -> Person:
    """The same, where only administrators may look.

    Raises:
        NotAuthenticatedError: nobody is logged in.
        NotPermittedError: they are none.

    """
    person = await person_viewing(request)
    if not person.administrator:
        raise NotPermittedError("Only administrators see this; one becomes it by `pgface admins add`.")
    return person


Viewer = Annotated[Person | None, Depends(viewer_of)]
ThePerson = Annotated[Person, Depends(person_viewing)]
TheAdministrator = Annotated[Person, Depends(administrator_viewing)]


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in the viewer's language."""
    language = language_of(request)
    service = service_of(request)
    caller = getattr(request.state, "caller", None)
    common = {
        "viewer": caller if isinstance(caller, Person) else None,
        "path": request.url.path,
        "settings": service.settings,
        "moment": partial(_moment, language, service.moment),
        "number": partial(_number, language),
    }
    html = _environment(language).get_template(template).render(common | values)
    return HTMLResponse(html, status)


def error_page(request: Request, error: PgfaceError) -> HTMLResponse:
    """An error as a page."""
    log_if_ours(error)
    page = render(request, "error.html", status_of(type(error)), detail=public_detail(request, error))
    page.headers.update(headers_of(error))
    return page


def redirect(path: str) -> RedirectResponse:
    """Go on with a page after something was sent."""
    return RedirectResponse(path, SEE_OTHER)


def to_login(request: Request) -> Response:
    """Where somebody goes who has to log in first; and back to the page afterwards, if it can be shown again."""
    path = request.url.path if request.method == "GET" else "/"
    response = redirect(f"/login?next={quote(path, safe='/')}")
    forget_login(response)
    return response


def local_path(path: str | None) -> str:
    """A path of these pages; the beginning for anything else, so that no link leads through here to another site."""
    return path if path and path.startswith("/") and path.isprintable() and not path.startswith(("//", "/\\")) else "/"


def keep_login(response: Response, request: Request, login: NewLogin) -> None:
    """Give the browser the login's token, where no script reads it."""
    seconds = int(service_of(request).settings.login_hours * 3600)
    response.set_cookie(COOKIE, login.token, max_age=seconds, secure=True, httponly=True, samesite="lax")


def forget_login(response: Response) -> None:
    """Take it back."""
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")


@cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        partial(translate, language),
        lambda one, several, number: translate(language, one if number == 1 else several),
        newstyle=True,
    )
    environment.globals |= {
        "language": language,
        "languages": NAMES,
        "version": version("pgface"),
        # For sentences that are not the templates' own: `_()` takes its message for HTML and for a format.
        "translated": partial(translate, language),
    }
    return environment


def _moment(language: Language, aware: Callable[[datetime], datetime], value: datetime) -> str:
    return format_datetime(aware(value), "d MMM y HH:mm 'UTC'", locale=language)


def _number(language: Language, value: float, digits: int = 0) -> str:
    """A number as the language writes it, with as many decimal places."""
    return format_decimal(round(value, digits) or 0, f"#,##0.{'0' * digits}", locale=language)
