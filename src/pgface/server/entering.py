"""Logging in, by the API and by the pages, counted by outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgface.accounts import Challenge, Client, NewLogin
from pgface.accounts.face_login import MOST_FRAME_BYTES, MOST_FRAMES
from pgface.errors import LoginRefusedError, TooManyAttemptsError
from pgface.server import metrics
from pgface.server.requests import Credentials, FaceAnswer, FaceClaim
from pgface.server.service import Service

MOST_ANSWER_BYTES = MOST_FRAMES * MOST_FRAME_BYTES + 10_000
"""Of the frames of one request; in JSON as much as this is in base64."""


async def enter_by_password(service: Service, asked: Credentials, client: Client) -> NewLogin:
    """Log in by e-mail and password.

    Raises:
        LoginRefusedError, TooManyAttemptsError: as `Accounts.log_in` has it.
        ServiceBusyError: there is too much to do.

    """

    def begin() -> NewLogin:
        with _counted("password"):
            return service.accounts.log_in(asked.email, asked.password, client=client)

    return await service.hash(begin)


async def begin_by_face(service: Service, asked: FaceClaim, client: Client) -> Challenge:
    """Begin a login by face, with what else the policy asks for.

    Raises:
        LoginRefusedError, TooManyAttemptsError: as `FaceLogin.challenge` has it.
        ServiceBusyError: there is too much to do.

    """

    def begin() -> Challenge:
        with _counted("face", done=False):
            return service.face_login.challenge(email=asked.email, password=asked.password, client=client)

    # A password may have to be hashed.
    return await service.hash(begin)


async def go_on_by_face(service: Service, asked: FaceAnswer, client: Client) -> Challenge | NewLogin:
    """Look at the next frames of a login by face.

    Raises:
        LoginRefusedError: as `FaceLogin.answer` has it.
        ServiceBusyError: there is too much to do; the challenge can still be answered.

    """

    def answer() -> Challenge | NewLogin:
        with _counted("face", done=False):
            answered = service.face_login.answer(asked.challenge, asked.frames, client=client)
        if isinstance(answered, NewLogin):
            metrics.logins.labels("face", "done").inc()
        return answered

    return await service.infer(answer)


@contextmanager
def _counted(method: str, *, done: bool = True) -> Iterator[None]:
    """Count the outcome; one that is good only with `done`."""
    outcome: str | None = "failed"
    try:
        yield
        outcome = "done" if done else None
    except LoginRefusedError:
        outcome = "refused"
        raise
    except TooManyAttemptsError:
        outcome = "too many attempts"
        raise
    finally:
        if outcome is not None:
            metrics.logins.labels(method, outcome).inc()
