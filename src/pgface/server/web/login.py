"""The pages to register, log in and log out, the choice of the language, and the page of error codes."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from pgface.accounts import NewLogin
from pgface.errors import (
    DuplicateEmailError,
    GalleryError,
    LoginRefusedError,
    PgfaceError,
    TooManyAttemptsError,
    WeakPasswordError,
)
from pgface.gallery.users import is_email, is_reserved
from pgface.server import logins
from pgface.server.auth import OperatorPrincipal, UserPrincipal
from pgface.server.errors import known_problems
from pgface.server.logins import log_in_by_password, require_open_registration
from pgface.server.schemas.auth import LoginRequest, RegisterRequest
from pgface.server.schemas.base import RequestBody, Text
from pgface.server.service import ClientDep, ServiceDep
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
from pgface.server.web.translations import COOKIE, NAMES

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_YEAR: Final = 365 * 24 * 3600

NextPath = Annotated[str | None, Query(alias="next")]


class ChosenLanguage(RequestBody):
    """A language, and the page to return to."""

    language: Text
    next: Text = "/"


class LoginForm(LoginRequest):
    """An e-mail and a password, and the page to go to after the login."""

    next: Text = "/"


class RegistrationForm(RegisterRequest):
    """A new user, and the page to go to after the registration."""

    next: Text = "/"


@router.get("/")
def start_page(viewer: Viewer) -> Response:
    """Redirect to the account, or to the login."""
    if isinstance(viewer, OperatorPrincipal):
        return redirect("/admin/gallery")
    return redirect("/account" if viewer else "/login")


@router.post("/language")
async def choose_language(form: ChosenLanguage) -> Response:
    """Keep the language in a cookie."""
    response = redirect(local_path(form.next))
    if form.language in NAMES:
        response.set_cookie(COOKIE, form.language, max_age=_YEAR, secure=True, httponly=True, samesite="lax")
    return response


@router.get("/login")
def login_page(request: Request, viewer: Viewer, next_path: NextPath = None, done: str = "") -> Response:
    """Show the form. A logged-in user is redirected to the next page."""
    if isinstance(viewer, UserPrincipal):
        return redirect(local_path(next_path))
    return render(request, "login.html", email="", next=local_path(next_path), done=done, wrong=False)


@router.post("/login")
async def log_in(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    form: LoginForm,
) -> Response:
    """Log in by e-mail and password."""
    try:
        login = await log_in_by_password(service, form, client)
    except (LoginRefusedError, TooManyAttemptsError) as error:
        filled_in = {"email": form.email, "next": local_path(form.next)}
        return refused(request, "login.html", error, **filled_in, done="", wrong=isinstance(error, LoginRefusedError))
    return await _logged_in(request, login, form.next)


@router.get("/login/face")
def face_page(request: Request, viewer: Viewer, next_path: NextPath = None) -> Response:
    """Show the page with the camera. A logged-in user is redirected to the next page."""
    if isinstance(viewer, UserPrincipal):
        return redirect(local_path(next_path))
    return render(request, "face_login.html", next=local_path(next_path))


@router.post("/logout")
def log_out(request: Request, service: ServiceDep, viewer: Viewer, client: ClientDep) -> Response:
    """End the login, so that also a copied cookie no longer works, and delete the cookie."""
    if isinstance(viewer, UserPrincipal):
        service.accounts.log_out(viewer.secret, client=client)
    response = redirect("/login?done=logged-out")
    clear_login_cookie(response, request)
    return response


@router.get("/register")
def registration_page(request: Request, service: ServiceDep, viewer: Viewer, next_path: NextPath = None) -> Response:
    """Show the registration form."""
    if viewer is not None:
        return redirect("/account")
    require_open_registration(service)
    return render(request, "register.html", name="", email="", next=local_path(next_path), wrong=None)


@router.post("/register")
async def register(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    form: RegistrationForm,
) -> Response:
    """Add a user and log them in."""
    require_open_registration(service)
    try:
        await logins.register(service, form, client)
    except (GalleryError, WeakPasswordError, TooManyAttemptsError) as error:
        filled_in = {"name": form.name or "", "email": form.email, "next": local_path(form.next)}
        return refused(request, "register.html", error, wrong=_wrong_field(error, form.email), **filled_in)
    login = await log_in_by_password(service, LoginRequest(email=form.email, password=form.password), client)
    return await _logged_in(request, login, form.next)


@router.get("/problems")
def problems_page(request: Request, _: Viewer) -> Response:
    """Explain the codes of the API's errors."""
    return render(request, "problems.html", problems=known_problems())


def _wrong_field(error: PgfaceError, email: str) -> str | None:
    if isinstance(error, TooManyAttemptsError):
        return None
    if isinstance(error, WeakPasswordError):
        return "password"
    wrong_email = isinstance(error, DuplicateEmailError) or not is_email(email) or is_reserved(email)
    return "email" if wrong_email else "name"


async def _logged_in(request: Request, login: NewLogin, next_path: str) -> Response:
    response = redirect(local_path(next_path))
    await set_login_cookie(response, request, login)
    return response
