"""Authentication and permissions of the callers of the service.

A user sends the token of a login, and a program sends an API key, both in the header `Authorization`. The pages of the
service send the token in a cookie. pgface finds the caller before it reads the body of a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, Request

from pgface.accounts import ApiKey, Login, administrator_rights, find_key
from pgface.accounts.keys import KEY_PREFIX, Scope
from pgface.database.replica_lag import any_lag
from pgface.errors import (
    KeyRefusedError,
    NotAuthenticatedError,
    NotLoggedInError,
    NotPermittedError,
    UnknownGalleryError,
)
from pgface.gallery.users import id_in_range
from pgface.server.service import COOKIE, Service, cookie_of, service_of

_SAME_ORIGIN: Final = "same-origin"


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """A user who is logged in."""

    secret: str = field(repr=False)
    """The token of the request."""
    login: Login
    administrator: bool
    operator: bool = False
    """Whether the user administers all galleries."""

    @property
    def name(self) -> str:
        """The caller's name in the logs."""
        return f"user {self.login.user_id}"

    def may(self, scope: Scope) -> bool:  # noqa: ARG002 - the same signature as KeyPrincipal.may
        """Whether the user may use the whole gallery. Administrators may. Other users may use only their own data."""
        return self.administrator

    def is_user(self, user_id: int) -> bool:
        """Whether this is the id of the user."""
        return self.login.user_id == user_id


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """A program with an API key."""

    key: ApiKey
    secret: str = field(repr=False)
    """The key of the request."""
    of_home: bool = False
    """Whether it is a key of the default gallery for all galleries, and this is another one."""

    @property
    def name(self) -> str:
        """The caller's name in the logs."""
        return f"{'operator ' if self.of_home else ''}key {self.key.id}"

    def may(self, scope: Scope) -> bool:
        """Whether the key has this scope. The scope `admin` includes all others."""
        return scope in self.key.scopes or "admin" in self.key.scopes

    def is_user(self, user_id: int) -> bool:  # noqa: ARG002 - the same signature as UserPrincipal.is_user
        """Return False, because a program is not a user."""
        return False


@dataclass(frozen=True, slots=True)
class OperatorPrincipal:
    """An administrator of all galleries, who is a user of the default gallery and not of this one."""

    secret: str = field(repr=False)
    """The token of the request."""
    login: Login
    administrator: bool = True

    @property
    def name(self) -> str:
        """The caller's name in the logs."""
        return f"operator {self.login.user_id}"

    def may(self, scope: Scope) -> bool:  # noqa: ARG002 - the same signature as KeyPrincipal.may
        """Return True, because an operator may use the whole gallery."""
        return True

    def is_user(self, user_id: int) -> bool:  # noqa: ARG002 - the same signature as UserPrincipal.is_user
        """Return False, because the ids of users are those of another gallery."""
        return False


Caller = UserPrincipal | KeyPrincipal | OperatorPrincipal


def is_operator(caller: Caller) -> bool:
    """Whether a caller of the default gallery may administer all galleries."""
    if isinstance(caller, KeyPrincipal):
        return caller.key.all_galleries and not caller.of_home and caller.may("admin")
    return isinstance(caller, UserPrincipal) and caller.operator


Permits = Callable[[Request, Caller], bool]
T = TypeVar("T")


class Guard(Generic[T]):
    """A dependency that needs only the head of a request. `request_limits` calls it before the body is read."""

    def __init__(self, find: Callable[[Request], Awaitable[T]]) -> None:
        self._find = find

    async def __call__(self, request: Request) -> T:
        """Return the value of the dependency, found once for each request. An error refuses the request."""
        found: dict[Guard[T], T] = request.scope.setdefault("pgface.guards", {})
        if self not in found:
            found[self] = await self._find(request)
        return found[self]


class CallerGuard(Guard[Caller]):
    """A guard that finds the caller of the API and checks the permission."""

    def __init__(self, permits: Permits, callers: str) -> None:
        super().__init__(self._permitted_caller)
        self._permits = permits
        self.callers = callers
        """The permitted callers, for `x-callers` of the OpenAPI document."""

    async def _permitted_caller(self, request: Request) -> Caller:
        caller = await find_caller(request)
        if caller is None:
            raise NotAuthenticatedError
        if not self._permits(request, caller):
            raise NotPermittedError
        return caller


async def find_caller(request: Request) -> Caller | None:
    """Find the caller. None if the request has no credentials.

    Raises:
        NotAuthenticatedError: the credentials are of an unknown kind.
        NotLoggedInError: the token is not valid.
        KeyRefusedError: the API key is not valid.

    """
    # A replica that is far behind may still know a caller, and refuses what the caller reads.
    with any_lag():
        return await _find_caller(request)


async def _find_caller(request: Request) -> Caller | None:
    service = service_of(request)
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NotAuthenticatedError
        caller = await service.run_db(_find_principal, service, secret.strip())
    elif not is_same_origin(request):
        return None
    elif token := request.cookies.get(cookie_of(request)):
        caller = await service.run_db(find_user, service, token)
    elif service.home is not None and (token := request.cookies.get(COOKIE)):
        caller = await service.run_db(find_operator, service, token)
    else:
        return None
    request.state.caller = caller
    return caller


def is_same_origin(request: Request) -> bool:
    """Whether a browser sent this request from a page of this service.

    Browsers since 2023 send `Sec-Fetch-Site` (W3C Fetch Metadata). Older browsers send the page's host in `Origin` with
    forms. Scripts and forms cannot change either header.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        sender = urlsplit(request.headers.get("origin", "")).netloc
        return sender != "" and sender == request.headers.get("host")
    return site == _SAME_ORIGIN


def find_user(service: Service, token: str) -> UserPrincipal:
    """Find the user who is logged in with this token.

    Raises:
        NotLoggedInError: the token is not valid.

    """
    login = service.accounts.who(token)
    # A face alone gives no access to other users' data: NIST SP 800-63B-4, section 3.2.3.
    if not login.password_given:
        return UserPrincipal(token, login, administrator=False)
    is_one, of_all = administrator_rights(service.gallery.database, login.user_id)
    return UserPrincipal(token, login, is_one, operator=of_all and service.home is None)


def find_operator(service: Service, token: str) -> OperatorPrincipal:
    """Find the administrator of all galleries who is logged in to the default gallery with this token.

    Raises:
        NotLoggedInError: the token is not valid, or the user is not such an administrator.
        UnknownGalleryError: the user is, and the gallery that the request names does not exist.

    """
    home = service.home
    if home is None:
        raise NotLoggedInError
    login = home.accounts.who(token)
    if not (login.password_given and administrator_rights(home.gallery.database, login.user_id)[1]):
        raise NotLoggedInError
    _require_known(service)
    return OperatorPrincipal(token, login)


def _find_principal(service: Service, secret: str) -> Caller:
    if secret.startswith(KEY_PREFIX):
        return _find_key(service, secret)
    try:
        return find_user(service, secret)
    except NotLoggedInError:
        return find_operator(service, secret)


def _find_key(service: Service, secret: str) -> KeyPrincipal:
    try:
        return KeyPrincipal(find_key(service.gallery.database, secret), secret)
    except KeyRefusedError:
        if service.home is None:
            raise
        key = find_key(service.home.gallery.database, secret)
        if not key.all_galleries:
            raise
    _require_known(service)
    return KeyPrincipal(key, secret, of_home=True)


def _require_known(service: Service) -> None:
    if not service.is_known:
        raise UnknownGalleryError


def require_scope(scope: Scope, *, or_user: bool = False, or_self: bool = False) -> Any:
    """Make a dependency that permits administrators, and API keys with a scope.

    Args:
        scope: the scope that an API key needs.
        or_user: permit also every logged-in user.
        or_self: permit also the user whose id is the path's `user_id`.

    """
    callers = f"administrators, and programs with the scope {_names_of(scope)}"
    if or_user:
        callers = f"every logged-in user, {callers}"
    if or_self:
        callers = f"the user themselves, {callers}"

    def permits(request: Request, caller: Caller) -> bool:
        return (
            caller.may(scope)
            or (or_user and isinstance(caller, UserPrincipal))
            or (or_self and caller.is_user(_user_id_of(request)))
        )

    return Depends(CallerGuard(permits, callers))


CurrentCaller = Annotated[
    UserPrincipal, Depends(CallerGuard(lambda _, caller: isinstance(caller, UserPrincipal), "every logged-in user"))
]
"""The logged-in user who calls the API. API keys are not permitted."""


def _names_of(scope: Scope) -> str:
    return f"`{scope}`" if scope == "admin" else f"`{scope}` or `admin`"


def _user_id_of(request: Request) -> int:
    try:
        return id_in_range(int(request.path_params["user_id"]))
    except ValueError:  # validation of the path refuses it later
        return -1
