"""Registering, logging in and out, the language, and the page of error codes."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from pgface.accounts import NewLogin
from pgface.errors import (
    DuplicateEmailError,
    GalleryError,
    LoginRefusedError,
    NotPermittedError,
    PgfaceError,
    TooManyAttemptsError,
    WeakPasswordError,
)
from pgface.gallery.users import is_email, is_reserved
from pgface.server.errors import known_problems
from pgface.server.logins import log_in_by_password
from pgface.server.schemas.auth import LoginRequest, RegisterRequest
from pgface.server.schemas.base import RequestBody, Text
from pgface.server.service import ClientDep, ServiceDep
from pgface.server.web.languages import COOKIE, N_, NAMES
from pgface.server.web.pages import (
    PageRoute,
    Viewer,
    clear_login_cookie,
    local_path,
    redirect,
    refused,
    render,
    set_login_cookie,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_YEAR: Final = 365 * 24 * 3600

NextPath = Annotated[str | None, Query(alias="next")]


class ChosenLanguage(RequestBody):
    """A language, and the page to return to."""

    language: Text
    next: Text = "/"


class LoginForm(LoginRequest):
    """An e-mail and a password, and the page to go to."""

    next: Text = "/"


class RegistrationForm(RegisterRequest):
    """A new user, and the page to go to."""

    next: Text = "/"


@router.get("/")
def start_page(viewer: Viewer) -> Response:
    """Redirect to the account, or to the login."""
    return redirect("/account" if viewer else "/login")


@router.post("/language")
async def choose_language(asked: ChosenLanguage) -> Response:
    """Keep the language in a cookie."""
    response = redirect(local_path(asked.next))
    if asked.language in NAMES:
        response.set_cookie(COOKIE, asked.language, max_age=_YEAR, secure=True, httponly=True, samesite="lax")
    return response


@router.get("/login")
def login_page(request: Request, viewer: Viewer, next_path: NextPath = None, done: str = "") -> Response:
    """Show the form. A logged-in user goes on to the next page."""
    if viewer is not None:
        return redirect(local_path(next_path))
    return render(request, "login.html", email="", next=local_path(next_path), done=done, wrong=False)


@router.post("/login")
async def log_in(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    asked: LoginForm,
) -> Response:
    """Log in by e-mail and password."""
    try:
        login = await log_in_by_password(service, asked, client)
    except (LoginRefusedError, TooManyAttemptsError) as error:
        filled_in = {"email": asked.email, "next": local_path(asked.next)}
        return refused(request, "login.html", error, **filled_in, done="", wrong=isinstance(error, LoginRefusedError))
    return await _logged_in(request, login, asked.next)


@router.post("/logout")
def log_out(service: ServiceDep, viewer: Viewer, client: ClientDep) -> Response:
    """End the login in the database too, so that a copied cookie no longer works."""
    if viewer is not None:
        service.accounts.log_out(viewer.token, client=client)
    response = redirect("/login?done=logged-out")
    clear_login_cookie(response)
    return response


@router.get("/register")
def registration_page(request: Request, service: ServiceDep, viewer: Viewer, next_path: NextPath = None) -> Response:
    """Show the form of a new user."""
    if viewer is not None:
        return redirect("/account")
    _require_open(service)
    return render(request, "register.html", name="", email="", next=local_path(next_path), wrong=None)


@router.post("/register")
async def register(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    asked: RegistrationForm,
) -> Response:
    """Add a user and log them in."""
    _require_open(service)
    try:
        await service.hashing.run(
            service.accounts.register, asked.email, asked.password, name=asked.name, client=client
        )
    except (GalleryError, WeakPasswordError, TooManyAttemptsError) as error:
        filled_in = {"name": asked.name or "", "email": asked.email, "next": local_path(asked.next)}
        return refused(request, "register.html", error, wrong=_wrong_field(error, asked.email), **filled_in)
    login = await log_in_by_password(service, LoginRequest(email=asked.email, password=asked.password), client)
    return await _logged_in(request, login, asked.next)


@router.get("/problems")
def problems_page(request: Request, _: Viewer) -> Response:
    """Explain the codes of the API's errors."""
    return render(request, "problems.html", problems=known_problems())


def _require_open(service: ServiceDep) -> None:
    if service.settings.registration == "closed":
        raise NotPermittedError(N_("Registration is closed. Ask an administrator to add you."))


def _wrong_field(error: PgfaceError, email: str) -> str | None:
    if isinstance(error, TooManyAttemptsError):
        return None
    if isinstance(error, WeakPasswordError):
        return "password"
    of_email = isinstance(error, DuplicateEmailError) or not is_email(email) or is_reserved(email)
    return "email" if of_email else "name"


async def _logged_in(request: Request, login: NewLogin, next_path: str) -> Response:
    response = redirect(local_path(next_path))
    await set_login_cookie(response, request, login)
    return response
