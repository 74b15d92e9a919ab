"""The health check of a running service.

A container runs `pgface healthcheck` every few seconds. So this module imports little more than Python's HTTP client.
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
"""The local address for a service that listens on all networks."""
_MAX_BYTES: Final = 10_000
_REASONS: Final = {
    "database": "PostgreSQL cannot be reached, or refuses the service",
    "schema_current": "the tables are of another version. Run `pgface init`",
    "model": "the model cannot be loaded. Run `pgface models verify`",
}
"""The reasons why a service is not ready, by the fields of /readyz. Each depends on those before it."""
_BEHIND: Final = "its database is a replica, and has not followed the primary for longer than PGFACE_MAX_REPLICA_LAG"


def check_health(listening: Listening, timeout: float, *, ready: bool = True) -> str:
    """Check a service, and return the URL that was requested.

    The certificate is not verified, because the request goes to this machine, contains no secret, and uses another name
    than the certificate.

    Args:
        listening: the address and the certificate that the service was started with.
        timeout: seconds to wait for a connection, and again for the response.
        ready: whether to check that the service is ready (/readyz), or only that it responds (/healthz).

    Raises:
        PgfaceError: the service does not respond, or is not ready. The message says why.

    """
    path = "/readyz" if ready else "/healthz"
    url = listening.url(listening.port) + path.removeprefix("/")
    try:
        status, body = _get(listening, path, timeout)
    except TimeoutError:
        raise PgfaceError(
            f"{url} did not respond within {timeout:g} seconds. The service is starting, or too busy."
        ) from None
    except (ssl.SSLError, HTTPException, ConnectionResetError) as error:
        raise PgfaceError(_other_protocol(url, listening, error)) from None
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number).lower() if number > 0 else "this host has no address"
        raise PgfaceError(
            f"{url} cannot be reached: {reason}. Check that the service runs, and that it listens at this address "
            "(PGFACE_LISTEN_HOST and PGFACE_LISTEN_PORT set it for both commands)."
        ) from None
    if status != 200:
        raise PgfaceError(f"{url} responds with status {status}: {_reason(body)}.")
    return url


def _get(listening: Listening, path: str, timeout: float) -> tuple[int, bytes]:
    host = _OWN_ADDRESS.get(listening.host, listening.host)
    if listening.certificate is None:
        connection = HTTPConnection(host, listening.port, timeout=timeout)
    else:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, listening.port, timeout=timeout, context=unverified)
    # Not urllib, which uses the proxy of the environment.
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MAX_BYTES)
    finally:
        connection.close()


def _other_protocol(url: str, listening: Listening, error: Exception) -> str:
    reason = (error.reason if isinstance(error, ssl.SSLError) else None) or type(error).__name__
    advice = (
        "If the service uses TLS, give its `certificate` here too, or set PGFACE_CERTIFICATE for both"
        if listening.certificate is None
        else "If the service does not use TLS, give no `certificate` and unset PGFACE_CERTIFICATE"
    )
    return f"{url} sent a response that cannot be read ({reason}). {advice}."


def _reason(body: bytes) -> str:
    found: Any = None
    with suppress(ValueError):
        found = json.loads(body)
    if isinstance(found, dict):
        for field, reason in _REASONS.items():
            if found.get(field) is False:
                return reason
        replica = found.get("replica")
        if isinstance(replica, dict) and replica.get("current") is False:
            return _BEHIND
    return "this is not pgface, or another version of it"
