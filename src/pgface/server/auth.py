"""Who calls: a person with the token of a login, or a program with an API key; and what each may.

This is settled before anything of a request's body is read. A person's token comes in the header `Authorization`, or,
from the service's own pages, in a cookie, which counts only where the browser says that the request is from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from pgface.accounts import ApiKey, Login, find_key, is_administrator
from pgface.accounts.keys import KEY_PREFIX, Scope
from pgface.errors import NotAuthenticatedError, NotPermittedError
from pgface.gallery.users import id_in_range
from pgface.server.service import Service, service_of

COOKIE: Final = "__Host-pgface"
"""Browsers keep a cookie of such a name only if it came by https or from localhost, and send it to this host alone."""
_OWN_PAGES: Final = "same-origin"

_bearer: Final = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="An API key (`pgface keys create`), or the token of a login (`POST /api/v1/auth/login`).",
)
_cookie: Final = APIKeyCookie(
    name=COOKIE, auto_error=False, scheme_name="cookie", description="The login of the service's own pages."
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is logged in."""

    token: str = field(repr=False)
    login: Login
    administrator: bool

    @property
    def name(self) -> str:
        """As the logs call them."""
        return f"user {self.login.user_id}"

    @property
    def secret(self) -> str:
        """What they came with."""
        return self.token

    def may(self, scope: Scope) -> bool:  # noqa: ARG002 - as of a program
        """Whether they may use the whole gallery: administrators may, and everybody else only what is theirs."""
        return self.administrator

    def is_user(self, user_id: int) -> bool:
        """Whether this is their own account."""
        return self.login.user_id == user_id


@dataclass(frozen=True, slots=True)
class Program:
    """What has an API key."""

    key: ApiKey
    secret: str = field(repr=False)
    """The key itself."""

    @property
    def name(self) -> str:
        """As the logs call it."""
        return f"key {self.key.id}"

    def may(self, scope: Scope) -> bool:
        """Whether its key has this scope; `admin` has all."""
        return scope in self.key.scopes or "admin" in self.key.scopes

    def is_user(self, user_id: int) -> bool:  # noqa: ARG002 - as of a person
        """It is nobody."""
        return False


Caller = Person | Program
Permits = Callable[[Request, Caller], bool]


async def find_caller(request: Request) -> Caller | None:
    """Who calls; None where nothing is said of it.

    Raises:
        NotAuthenticatedError: another kind of credentials.
        NotLoggedInError, KeyRefusedError: the token or the key opens nothing.

    """
    service = service_of(request)
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NotAuthenticatedError
        caller = await service.ask(_by_secret, service, secret.strip())
    elif (token := request.cookies.get(COOKIE)) and from_own_pages(request):
        caller = await service.ask(person_of, service, token)
    else:
        return None
    request.state.caller = caller
    return caller


def from_own_pages(request: Request) -> bool:
    """Whether a browser sends this from the service's own pages, and not from another site's.

    Every browser since 2023 says so by itself (Fetch Metadata, W3C), and an older one tells the page's origin where
    something is sent; scripts and forms can change neither.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        sender = urlsplit(request.headers.get("origin", "")).netloc
        return sender != "" and sender == request.headers.get("host")
    return site == _OWN_PAGES


def person_of(service: Service, token: str) -> Person:
    """Who is logged in with this token.

    Raises:
        NotLoggedInError: nobody.

    """
    login = service.accounts.who(token)
    # A face alone is not enough for everybody's data: NIST SP 800-63B-4, section 3.2.3.
    return Person(token, login, login.password_given and is_administrator(service.gallery.database, login.user_id))


def _by_secret(service: Service, secret: str) -> Caller:
    if secret.startswith(KEY_PREFIX):
        return Program(find_key(service.gallery.database, secret), secret)
    return person_of(service, secret)


def _known(permitted: str, permits: Permits) -> Callable[..., Awaitable[Caller]]:
    async def dependency(
        request: Request,
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
        _cookie: Annotated[str | None, Security(_cookie)],
    ) -> Caller:
        caller = await find_caller(request)
        if caller is None:
            raise NotAuthenticatedError
        if not permits(request, caller):
            raise NotPermittedError
        return caller

    dependency.permitted = permitted  # type: ignore[attr-defined] # for the documentation
    return dependency


def scoped(scope: Scope) -> Any:
    """Only for programs whose key has this scope, and for administrators."""
    return Depends(_known(_programs(scope), lambda _, caller: caller.may(scope)))


def scoped_or_person(scope: Scope) -> Any:
    """The same, and for everybody who is logged in."""
    permitted = f"everybody who is logged in, {_programs(scope)}"
    return Depends(_known(permitted, lambda _, caller: caller.may(scope) or isinstance(caller, Person)))


def scoped_or_self(scope: Scope) -> Any:
    """The same as `scoped`, and for the user whose id is the path's `user_id`."""

    def permits(request: Request, caller: Caller) -> bool:
        return caller.may(scope) or caller.is_user(_number(request.path_params["user_id"]))

    return Depends(_known(f"the user themselves, {_programs(scope)}", permits))


def person() -> Any:
    """Only for people who are logged in."""
    return Depends(_known("everybody who is logged in", lambda _, caller: isinstance(caller, Person)))


def _programs(scope: Scope) -> str:
    scopes = f"`{scope}`" if scope == "admin" else f"`{scope}` or `admin`"
    return f"administrators, and programs with the scope {scopes}"


def _number(text: str) -> int:
    try:
        return id_in_range(int(text))
    except ValueError:  # the route refuses it, if it comes so far
        return -1
