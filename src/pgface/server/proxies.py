"""What a proxy says of the path that the service is at, and whether it is believed."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from pgface.settings import ROOT_PATH

HEADER: Final = b"x-forwarded-prefix"


def usable_prefix(given: str) -> str | None:
    """The path that a proxy names, without a slash at its end; None if it cannot be one."""
    path = given.strip().removesuffix("/")
    return path if ROOT_PATH.fullmatch(path) else None


def is_trusted(address: str | None, proxies: str) -> bool:
    """Whether an address is one of PGFACE_TRUSTED_PROXIES: addresses and networks, with commas in between, or `*`."""
    named, networks = _named(proxies)
    if address is None or "*" in named:
        return "*" in named
    try:
        ip = ip_address(address)
    except ValueError:
        return address in named
    return any(ip in network for network in networks)


@cache
def _named(proxies: str) -> tuple[frozenset[str], tuple[IPv4Network | IPv6Network, ...]]:
    names, networks = set(), []
    for one in map(str.strip, proxies.split(",")):
        try:
            networks.append(ip_network(one, strict=False))
        except ValueError:
            names.add(one)
    return frozenset(names), tuple(networks)
