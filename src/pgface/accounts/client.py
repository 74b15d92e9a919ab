"""Who is on the other side, as far as that is known."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_IPV6_OF_ONE_CUSTOMER = (64, 56)
"""Bits of the networks that one customer gets (RFC 6177): at least the first, and often the second, which holds 256."""

_WITH_PORT = re.compile(r"^(?:(\d+\.\d+\.\d+\.\d+)|\[([^\]]+)\])(?::\d+)?$")
"""As some proxies write an address: `192.0.2.7:50000` or `[2001:db8::7]:50000`."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from."""

    address: str | None = None
    """IP address, if there is one: the command line has none, and a proxy that is not set up gives something else."""
    actor: str | None = None
    """Who asks, where that is not the user themselves: `key 3`, or `command line`."""
    authority: str | None = field(default=None, repr=False)
    """SHA-256 of the token or the key that came with the request, by which PostgreSQL knows an administrator."""
    devices: tuple[str, ...] = field(default=(), repr=False)
    """What the cookie of a browser that has logged in before holds: a token for each account."""
    session: int | None = None
    """Id of the login in which a password is asked for again, so that it is known whose client this is."""

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address, if it is one, without a port; of an IPv4 one inside of an IPv6 one the former."""
        written = _WITH_PORT.sub(r"\1\2", self.address or "")
        try:
            found = ip_address(written.partition("%")[0])
        except ValueError:
            return None
        return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found

    @property
    def networks(self) -> tuple[str, ...]:
        """What stands for this client where attempts are counted, the smallest first; empty for the command line.

        What is not an address counts as one client. A proxy passes on whatever a client claims, so that each text
        would otherwise count from the beginning.
        """
        ip = self.ip
        if ip is None:
            return ("unknown",) if self.address else ()
        if isinstance(ip, IPv6Address):
            return tuple(str(ip_network((ip, bits), strict=False)) for bits in _IPV6_OF_ONE_CUSTOMER)
        return (str(ip),)


COMMAND_LINE = Client(actor="command line")
