"""The path of the service on a shared host, as a trusted proxy says it."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from pgface.settings import ROOT_PATH

HEADER: Final = b"x-forwarded-prefix"


def usable_prefix(given: str) -> str | None:
    """The path that a proxy sends, without a slash at its end. None if it is not a valid path."""
    path = given.strip().removesuffix("/")
    return path if ROOT_PATH.fullmatch(path) else None


def is_trusted(address: str | None, proxies: str) -> bool:
    """Whether an address is in PGFACE_TRUSTED_PROXIES: addresses and networks, separated by commas, or `*`."""
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
