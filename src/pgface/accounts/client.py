"""Who is on the other side, as far as that is known."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_IPV6_OF_ONE_CUSTOMER = 64
"""Bits: a network of this size is the least that one customer gets (RFC 6177), with as many addresses as they like."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from."""

    address: str | None = None
    """IP address, if there is one: the command line has none, and a proxy that is not set up gives something else."""
    actor: str | None = None
    """Who asks, where that is not the user themselves: `key 3`, or `command line`."""

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address, if it is one; of an IPv4 one inside of an IPv6 one the former."""
        try:
            found = ip_address((self.address or "").partition("%")[0])
        except ValueError:
            return None
        return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found

    @property
    def network(self) -> str | None:
        """What stands for this client where attempts are counted."""
        ip = self.ip
        if isinstance(ip, IPv6Address):
            return str(ip_network((ip, _IPV6_OF_ONE_CUSTOMER), strict=False))
        return self.address or None if ip is None else str(ip)


COMMAND_LINE = Client(actor="command line")
