"""Logging in, by the API and by the pages, counted by outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgface.accounts import Client, NewLogin
from pgface.errors import LoginRefusedError, TooManyAttemptsError
from pgface.server import metrics
from pgface.server.requests import Credentials, FaceAnswer
from pgface.server.service import Service
from pgface.settings import MEBI

MOST_FRAME_BYTES = 20 * MEBI
"""Of an answer to a challenge: a hundred pictures of 200 kB."""


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


async def enter_by_face(service: Service, asked: FaceAnswer, client: Client) -> NewLogin:
    """Log in by the pictures that answer a challenge, and by what else the policy asks for.

    Raises:
        LoginRefusedError, TooManyAttemptsError: as `FaceLogin.log_in` has it.
        ServiceBusyError: there is too much to do.

    """

    def begin() -> NewLogin:
        with _counted("face"):
            return service.face_login.log_in(
                asked.challenge, asked.frames, email=asked.email, password=asked.password, client=client
            )

    return await service.infer(begin)


@contextmanager
def _counted(method: str) -> Iterator[None]:
    outcome = "failed"
    try:
        yield
        outcome = "done"
    except LoginRefusedError:
        outcome = "refused"
        raise
    except TooManyAttemptsError:
        outcome = "too many attempts"
        raise
    finally:
        metrics.logins.labels(method, outcome).inc()
