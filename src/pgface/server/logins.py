"""Logging in for the API and the pages. Each outcome is counted in the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgface.accounts import Challenge, Client, NewLogin
from pgface.errors import LoginRefusedError, TooManyAttemptsError
from pgface.server import metrics
from pgface.server.schemas.auth import ChallengeRequest, FaceLoginRequest, LoginRequest
from pgface.server.service import Service


async def log_in_by_password(service: Service, asked: LoginRequest, client: Client) -> NewLogin:
    """Log in by e-mail and password (see `Accounts.log_in`).

    Raises:
        LoginRefusedError: the e-mail or the password is wrong.
        TooManyAttemptsError: the account or the address has to wait.
        ServiceBusyError: too many passwords wait to be hashed.

    """

    def log_in() -> NewLogin:
        with _counted("password"):
            return service.accounts.log_in(asked.email, asked.password, client=client)

    return await service.hashing.run(log_in)


async def begin_face_login(service: Service, asked: ChallengeRequest, client: Client) -> Challenge:
    """Begin a login by face (see `FaceLogin.challenge`).

    Raises:
        LoginRefusedError: the e-mail or the password is wrong.
        TooManyAttemptsError: the account or the address has to wait.
        ServiceBusyError: too many passwords wait to be hashed.

    """

    def begin() -> Challenge:
        with _counted("face", count_success=False):
            return service.face_login.challenge(email=asked.email, password=asked.password, client=client)

    return await service.hashing.run(begin)  # the policy may ask for a password


async def continue_face_login(service: Service, asked: FaceLoginRequest, client: Client) -> Challenge | NewLogin:
    """Check the next frames of a login by face (see `FaceLogin.answer`).

    Raises:
        LoginRefusedError: the frames do not show what the challenge asks for.
        ServiceBusyError: the queue is full. The challenge can still be answered.

    """

    def answer() -> Challenge | NewLogin:
        with _counted("face", count_success=False):
            answered = service.face_login.answer(asked.challenge, asked.frames, client=client)
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
