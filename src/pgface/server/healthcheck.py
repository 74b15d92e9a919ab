"""Asking a running service whether it works, as `pgface healthcheck` does every few seconds in a container.

It imports little more than Python's own HTTP client, because it starts so often.
"""

from __future__ import annotations

import json
import os
import ssl
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final

from pgface.errors import PgfaceError
from pgface.server.sockets import Listening

_OWN_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "localhost"}  # noqa: S104 - it is compared
"""Where this machine reaches a service that listens on every network."""
_MOST_BYTES: Final = 10_000
_REASONS: Final = {
    "database": "PostgreSQL cannot be reached, or refuses the service",
    "schema_current": "the tables are not of this version; run `pgface init`",
    "model": "the model cannot be loaded; see `pgface models verify`",
}
"""By the fields of /readyz, in the order in which they depend on each other."""


def check_health(listening: Listening, timeout: float, *, ready: bool = True) -> str:
    """Ask the service that listens there; returns the URL that was asked.

    A certificate is not verified. The question goes to this machine alone and holds nothing secret, and the service's
    name is not the address that is asked.

    Args:
        listening: where the service listens, as it was told; with a certificate it is asked by TLS.
        timeout: seconds to wait for a connection, and again for the answer.
        ready: whether it has to be ready for work (/readyz), and not only to answer (/healthz).

    Raises:
        PgfaceError: it does not answer, or is not ready; the sentence says why.

    """
    path = "/readyz" if ready else "/healthz"
    url = listening.url(listening.port) + path.removeprefix("/")
    try:
        status, body = _get(listening, path, timeout)
    except TimeoutError:
        raise PgfaceError(
            f"{url} gave no answer within {timeout:g} seconds; the service is starting, or too busy."
        ) from None
    except (ssl.SSLError, HTTPException, ConnectionResetError) as error:
        raise PgfaceError(_other_protocol(url, listening, error)) from None
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number).lower() if number > 0 else "this host has no address"
        raise PgfaceError(
            f"{url} cannot be reached: {reason}; check that the service runs, and that it listens at this address "
            "(PGFACE_LISTEN_HOST and PGFACE_LISTEN_PORT set it for both commands)."
        ) from None
    if status != 200:
        raise PgfaceError(f"{url} answers with status {status}: {_reason(body)}.")
    return url


def _get(listening: Listening, path: str, timeout: float) -> tuple[int, bytes]:
    host = _OWN_ADDRESS.get(listening.host, listening.host)
    if listening.certificate is None:
        connection = HTTPConnection(host, listening.port, timeout=timeout)
    else:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, listening.port, timeout=timeout, context=unverified)
    # Not by urllib, which would go through a proxy that a container may be told of.
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES)
    finally:
        connection.close()


def _other_protocol(url: str, listening: Listening, error: Exception) -> str:
    reason = (error.reason if isinstance(error, ssl.SSLError) else None) or type(error).__name__
    advice = (
        "if the service uses TLS, give its --certificate here too, or set PGFACE_CERTIFICATE for both"
        if listening.certificate is None
        else "if the service uses no TLS, give no --certificate and unset PGFACE_CERTIFICATE"
    )
    return f"{url} gave an answer that cannot be read ({reason}); {advice}."


def _reason(body: bytes) -> str:
    found: Any = None
    with suppress(ValueError):
        found = json.loads(body)
    if isinstance(found, dict):
        for field, reason in _REASONS.items():
            if found.get(field) is False:
                return reason
    return "this is not the service of pgface, or not of this version"
