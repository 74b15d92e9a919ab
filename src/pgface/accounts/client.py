"""Who is on the other side, as far as that is known."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_IPV6_OF_ONE_CUSTOMER = 64
"""Bits: a network of this size is what one customer gets (RFC 6177), with as many addresses as they like."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request comes from."""

    address: str | None = None
    """IP address, if there is one; the command line has none."""
    actor: str | None = None
    """Who asks, where that is not the user themselves: `key 3`, or `command line`."""

    @property
    def network(self) -> str | None:
        """What stands for this client where attempts are counted."""
        if self.address is None:
            return None
        address: IPv4Address | IPv6Address = ip_address(self.address.partition("%")[0])
        if isinstance(address, IPv6Address):
            if address.ipv4_mapped is None:
                return str(ip_network((address, _IPV6_OF_ONE_CUSTOMER), strict=False))
            address = address.ipv4_mapped
        return str(address)


COMMAND_LINE = Client(actor="command line")
