"""The sockets that the service listens at, and its TLS certificate.

`uvicorn.Config.bind_socket` binds one address, but `localhost` has two. If the address is in use, it ends the process
without advice.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgface.errors import SettingsError

_NOT_LOCAL: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""The errors for an address that this machine does not have, such as ::1 if IPv6 is disabled."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The address that the service listens at, and its TLS certificate."""

    host: str
    port: int
    """0 for a free port."""
    certificate: Path | None = None
    key: Path | None = None

    def url(self, port: int) -> str:
        """Return the URL of the service at a port. For the address of all networks, it contains `localhost`."""
        host = "localhost" if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104 - it is compared
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if self.certificate is None else 'https'}://{shown}:{port}/"

    @contextmanager
    def sockets(self) -> Iterator[list[socket.socket]]:
        """Listen at every address of the host. Clients may connect before the service is ready, and wait for it.

        Raises:
            SettingsError: the host has no address, or the port cannot be used.

        """
        bound: list[socket.socket] = []
        with ExitStack() as opened:
            for family, address in self._addresses():
                port = bound[0].getsockname()[1] if bound else self.port
                # `localhost` has a socket for each of its addresses, but `::` has one for IPv6 and IPv4.
                both = family == socket.AF_INET6 and self.host == "::" and socket.has_dualstack_ipv6()
                try:
                    server = socket.create_server((address[0], port, *address[2:]), family=family, dualstack_ipv6=both)
                except OSError as error:
                    refused = error
                    if error.errno not in _NOT_LOCAL:
                        raise self._cannot_listen(error) from None
                else:
                    bound.append(opened.enter_context(server))
            if not bound:
                raise self._cannot_listen(refused)
            yield bound

    def _cannot_listen(self, error: OSError) -> SettingsError:
        reason = os.strerror(error.errno or 0).lower()
        return SettingsError(
            f"The service cannot listen at {self.host}, port {self.port}: {reason}. Give another `host` or `port`."
        )

    def _addresses(self) -> list[tuple[int, tuple[Any, ...]]]:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError):
            raise SettingsError(
                f"The host {self.host[:80]!r} has no address. Set `host` to an address of this machine, or to 0.0.0.0."
            ) from None
        return list(dict.fromkeys((family, address) for family, _, _, _, address in found))

    def require_usable_tls(self) -> None:
        """Check that the certificate and its key can be used.

        Raises:
            SettingsError: they cannot be used. The message says why.

        """
        if self.certificate is None:
            if self.key is not None:
                raise SettingsError("The `key` is of no use without its `certificate`. Give both.")
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, _no_password)
        except ssl.SSLError as error:  # first, because it is an OSError too
            raise SettingsError(
                f"The certificate {self.certificate} cannot be used with its key ({error.reason or 'not PEM'}). Give "
                "both as PEM: the certificate with its chain, and the key that belongs to it."
            ) from None
        except OSError as error:
            files = self.certificate if self.key is None else f"{self.certificate} or {self.key}"
            raise SettingsError(
                f"{files} cannot be read ({(error.strerror or 'no such file').lower()}). Give files that you may read."
            ) from None


def _no_password() -> str:
    raise SettingsError("The certificate's key is encrypted. Give an unencrypted key that only the service may read.")
