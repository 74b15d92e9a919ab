"""The client that sends a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_IPV6_OF_ONE_CUSTOMER = (64, 56)
"""The prefix lengths of IPv6 networks that one customer gets (RFC 6177)."""

_WITH_PORT = re.compile(r"^(?:(\d+\.\d+\.\d+\.\d+)|\[([^\]]+)\])(?::\d+)?$")
"""An address with a port, which some proxies send: `192.0.2.7:50000` or `[2001:db8::7]:50000`."""


@dataclass(frozen=True, slots=True)
class Client:
    """The client that sends a request."""

    address: str | None = None
    """The IP address. The command line has none, and a proxy with a wrong configuration sends other text."""
    actor: str | None = None
    """The caller, if it is not the user themselves: `key 3`, or `command line`."""
    authority: str | None = field(default=None, repr=False)
    """SHA-256 of the request's token or API key, by which PostgreSQL recognizes an administrator."""
    devices: tuple[str, ...] = field(default=(), repr=False)
    """The tokens in the cookie of a browser that has logged in before, one for each account."""
    session: int | None = None
    """The id of the session in which a user gives their password again. It identifies the client."""

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The valid IP address without a port. A mapped IPv6 address becomes IPv4."""
        written = _WITH_PORT.sub(r"\1\2", self.address or "")
        try:
            found = ip_address(written.partition("%")[0])
        except ValueError:
            return None
        return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks whose attempts are counted, the smallest first. The command line has none.

        All invalid addresses count as one client. A proxy may pass on any text that a client sends, and each text would
        otherwise have its own count.
        """
        ip = self.ip
        if ip is None:
            return ("unknown",) if self.address else ()
        if isinstance(ip, IPv6Address):
            return tuple(str(ip_network((ip, bits), strict=False)) for bits in _IPV6_OF_ONE_CUSTOMER)
        return (str(ip),)


COMMAND_LINE = Client(actor="command line")
