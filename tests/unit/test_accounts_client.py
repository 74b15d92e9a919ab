"""Which clients are one where attempts are counted."""

from __future__ import annotations

import pytest

from pgface.accounts import COMMAND_LINE, Client


@pytest.mark.parametrize(
    ("address", "network", "ip"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64", "2001:db8:0:1::7"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::/64", "2001:db8:0:1:ffff::1"),
        ("fe80::1%eth0", "fe80::/64", "fe80::1"),
        ("unknown", "unknown", None),
        ("10.0.0.1:5000", "10.0.0.1:5000", None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_network_of_an_address(address: str | None, network: str | None, ip: str | None) -> None:
    client = Client(address=address)
    assert client.network == network
    assert (None if client.ip is None else str(client.ip)) == ip


def test_the_command_line_comes_from_nowhere() -> None:
    assert COMMAND_LINE.network is None
