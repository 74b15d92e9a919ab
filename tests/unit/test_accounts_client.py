"""The networks under which attempts of a client are counted."""

from __future__ import annotations

import pytest

from pgface.accounts import COMMAND_LINE, Client


@pytest.mark.parametrize(
    ("address", "networks", "ip"),
    [
        ("192.0.2.7", ["192.0.2.7"], "192.0.2.7"),
        ("192.0.2.7:50000", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:192.0.2.7", ["192.0.2.7"], "192.0.2.7"),
        ("2001:db8:0:1::7", ["2001:db8:0:1::/64", "2001:db8::/56"], "2001:db8:0:1::7"),
        ("[2001:db8:0:1::7]:50000", ["2001:db8:0:1::/64", "2001:db8::/56"], "2001:db8:0:1::7"),
        ("2001:db8:0:1:ffff::1", ["2001:db8:0:1::/64", "2001:db8::/56"], "2001:db8:0:1:ffff::1"),
        ("fe80::1%eth0", ["fe80::/64", "fe80::/56"], "fe80::1"),
        ("unknown", ["unknown"], None),
        ("any garbage 17", ["unknown"], None),
        ("", [], None),
        (None, [], None),
    ],
)
def test_the_networks_of_an_address(address: str | None, networks: list[str], ip: str | None) -> None:
    client = Client(address=address)
    assert list(client.networks) == networks
    assert (None if client.ip is None else str(client.ip)) == ip


def test_the_command_line_has_no_networks() -> None:
    assert COMMAND_LINE.networks == ()
