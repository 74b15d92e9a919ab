"""Registering and logging in for the API and the pages. The metrics count the outcome of each login."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgface.accounts import Challenge, Client, NewLogin
from pgface.errors import DuplicateEmailError, LoginRefusedError, NotPermittedError, TooManyAttemptsError
from pgface.results import User
from pgface.server import metrics
from pgface.server.errors import EMAIL_TAKEN, REGISTRATION_CLOSED
from pgface.server.schemas.auth import ChallengeRequest, FaceLoginRequest, LoginRequest, RegisterRequest
from pgface.server.service import Service


def require_open_registration(service: Service) -> None:
    """Check that users may register.

    Raises:
        NotPermittedError: PGFACE_REGISTRATION is `closed`.

    """
    if service.settings.registration == "closed":
        raise NotPermittedError(REGISTRATION_CLOSED)


async def register(service: Service, body: RegisterRequest, client: Client) -> User:
    """Add a user with a password (see `Accounts.register`).

    Raises:
        DuplicateEmailError: a user has this e-mail, with a password or without one. The error does not say which.
        GalleryError, WeakPasswordError, TooManyAttemptsError, ServiceBusyError: as for the method.

    """
    try:
        return await service.hashing.run(
            service.accounts.register, body.email, body.password, name=body.name, client=client
        )
    except DuplicateEmailError:
        raise DuplicateEmailError(EMAIL_TAKEN) from None


async def log_in_by_password(service: Service, body: LoginRequest, client: Client) -> NewLogin:
    """Log in by e-mail and password (see `Accounts.log_in`).

    Raises:
        LoginRefusedError: the e-mail or the password is wrong.
        TooManyAttemptsError: the account or the address has to wait.
        ServiceBusyError: too many passwords wait to be hashed.

    """

    def log_in() -> NewLogin:
        with _counted("password"):
            return service.accounts.log_in(body.email, body.password, client=client)

    return await service.hashing.run(log_in)


async def start_face_login(service: Service, body: ChallengeRequest, client: Client) -> Challenge:
    """Start a login by face (see `FaceLogin.challenge`).

    Raises:
        LoginRefusedError: the e-mail or the password is wrong.
        TooManyAttemptsError: the account or the address has to wait.
        ServiceBusyError: too many passwords wait to be hashed.

    """

    def start() -> Challenge:
        with _counted("face", count_success=False):
            return service.face_login.challenge(email=body.email, password=body.password, client=client)

    return await service.hashing.run(start)  # the policy may require a password


async def continue_face_login(service: Service, body: FaceLoginRequest, client: Client) -> Challenge | NewLogin:
    """Check the next frames of a login by face (see `FaceLogin.answer`).

    Raises:
        LoginRefusedError: the frames do not show what the challenge asks for.
        ServiceBusyError: the queue is full. The challenge can still be answered.

    """

    def answer() -> Challenge | NewLogin:
        with _counted("face", count_success=False):
            answered = service.face_login.answer(body.challenge, body.frames, client=client)
        if isinstance(answered, NewLogin):
            metrics.logins.labels("face", "done").inc()
        return answered

    return await service.inference.run(answer)


@contextmanager
def _counted(method: str, *, count_success: bool = True) -> Iterator[None]:
    outcome: str | None = "failed"
    try:
        yield
        outcome = "done" if count_success else None
    except LoginRefusedError:
        outcome = "refused"
        raise
    except TooManyAttemptsError:
        outcome = "too many attempts"
        raise
    finally:
        if outcome is not None:
            metrics.logins.labels(method, outcome).inc()
