"""Limits against automated accounts: registrations, reserved addresses, and clients that fake many addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgface.accounts import Accounts, Client
from pgface.accounts.attempts import ADDRESS_LIMIT, REGISTRATION_LIMIT, WIDER_NETWORK_LIMIT
from pgface.errors import GalleryError, LoginRefusedError, TooManyAttemptsError
from pgface.gallery import Gallery
from pgface.gallery.enroll_folder import person_of
from pgface.server.web.login import _wrong_field

PASSWORD = "four plain words here"


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the hashing of passwords, which takes long."""
    monkeypatch.setattr("pgface.accounts.accounts.hash_password", lambda _: "!")
    monkeypatch.setattr("pgface.accounts.accounts.prove", lambda *_: [])
    monkeypatch.setattr("pgface.accounts.accounts.even_out", lambda *_: None)


def test_registrations_from_one_address_are_limited(gallery: Gallery) -> None:
    accounts, home = Accounts(gallery), Client(address="192.0.2.7")
    for number in range(REGISTRATION_LIMIT):
        accounts.register(f"user{number}@example.org", PASSWORD, client=home)
    for _ in range(3):
        with pytest.raises(TooManyAttemptsError):
            accounts.register("one.more@example.org", PASSWORD, client=home)
    assert len(gallery.users()) == REGISTRATION_LIMIT
    accounts.register("neighbour@example.org", PASSWORD, client=Client(address="192.0.2.8"))


def test_a_reserved_address_cannot_be_registered(gallery: Gallery, tmp_path: Path) -> None:
    assert tmp_path
    invented = person_of("Mae Jemison").email
    for email in (invented, invented.upper(), "person@something.invalid"):
        with pytest.raises(GalleryError) as refused:
            Accounts(gallery).register(email, PASSWORD)
        assert _wrong_field(refused.value, email) == "email"  # the field of the form that shows the error
    assert gallery.users() == []


@pytest.mark.parametrize(
    ("address", "limit"),
    [
        ("no address, number {}", ADDRESS_LIMIT),
        ("192.0.2.7:{}", ADDRESS_LIMIT),
        ("2001:db8:0:1::{:x}", ADDRESS_LIMIT),
        ("2001:db8:0:{:x}::1", WIDER_NETWORK_LIMIT),
    ],
    ids=["claims", "ports", "addresses of a network", "networks of a customer"],
)
def test_a_client_with_many_addresses_is_limited_as_one(gallery: Gallery, address: str, limit: int) -> None:
    accounts = Accounts(gallery)

    def guess(number: int) -> None:
        """Log in to another account each time, so that only the address counts."""
        accounts.log_in(f"unknown{number}@example.org", "x", client=Client(address=address.format(number + 1)))

    for number in range(limit):
        with pytest.raises(LoginRefusedError):
            guess(number)
    with pytest.raises(TooManyAttemptsError):
        guess(limit)
