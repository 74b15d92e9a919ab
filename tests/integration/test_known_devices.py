"""Failures of others do not lock out a known browser or session."""

from __future__ import annotations

import pytest

from pgface.accounts import Accounts, Client
from pgface.accounts.attempts import ACCOUNT_LIMIT, ADDRESS_LIMIT, KNOWN_CLIENT_LIMIT
from pgface.accounts.devices import DAYS, MAX_ACCOUNTS, devices_in, prune_devices, remember_device
from pgface.database.pool import Database
from pgface.errors import (
    LoginRefusedError,
    TooManyAttemptsError,
)
from pgface.server.service import DEVICE_COOKIE
from support.galleries import rows
from support.web_service import PASSWORD, Served

EMAIL, OTHER = "ada@example.org", "five other plain words here"
STRANGER = Client(address="198.51.100.1")


def rows_of(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return rows(connection, query)


def one_of(database: Database, query: str) -> object:
    ((value,),) = rows_of(database, query)
    return value


def guess(accounts: Accounts, client: Client, times: int) -> None:
    for _ in range(times):
        with pytest.raises((LoginRefusedError, TooManyAttemptsError)):
            accounts.log_in(EMAIL, "wrong", client=client)


def test_others_do_not_lock_out_a_known_browser(accounts: Accounts, database: Database) -> None:
    user = accounts.register(EMAIL, PASSWORD)
    home = Client(address="192.0.2.7")
    cookie = remember_device(accounts._database, user.id, home)
    browser = Client(address="192.0.2.7", devices=devices_in(cookie))
    guess(accounts, STRANGER, ACCOUNT_LIMIT + 1)
    guess(accounts, Client(address="192.0.2.7"), ADDRESS_LIMIT + 1)  # also from the same address
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in(EMAIL, PASSWORD, client=home)
    assert accounts.log_in(EMAIL, PASSWORD, client=browser).user_id == user.id
    with pytest.raises(TooManyAttemptsError):  # the login did not reset the account's count
        accounts.log_in(EMAIL, PASSWORD, client=STRANGER)
    # A stolen cookie allows no more guesses than an account, and the owner can log in with another browser.
    second = Client(devices=devices_in(remember_device(accounts._database, user.id, home)))
    guess(accounts, browser, KNOWN_CLIENT_LIMIT)
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in(EMAIL, PASSWORD, client=browser)
    assert accounts.log_in(EMAIL, PASSWORD, client=second)
    # Only the digest is stored.
    assert cookie not in str(rows_of(database, "SELECT * FROM known_devices"))


def test_a_device_cookie_of_another_account_does_not_help(accounts: Accounts) -> None:
    ada, eve = (accounts.register(email, PASSWORD) for email in (EMAIL, "eve@example.org"))
    of_eve = Client(address="203.0.113.9", devices=devices_in(remember_device(accounts._database, eve.id, Client())))
    guess(accounts, STRANGER, ACCOUNT_LIMIT + 1)
    for devices in (of_eve.devices, ("x" * 43,), ("'", "\0"), devices_in("." * 5000), devices_in("a." * 5000)):
        with pytest.raises(TooManyAttemptsError):
            accounts.log_in(EMAIL, PASSWORD, client=Client(address="203.0.113.9", devices=devices))
    assert ada.id != eve.id


def test_devices_are_replaced_and_deleted(accounts: Accounts, database: Database) -> None:
    ada, eve = (accounts.register(email, PASSWORD) for email in (EMAIL, "eve@example.org"))
    service = accounts._database
    first = remember_device(service, ada.id, Client())
    both = remember_device(service, eve.id, Client(devices=devices_in(first)))
    assert len(devices_in(both)) == 2
    later = remember_device(service, ada.id, Client(devices=devices_in(both)))
    assert len(devices_in(later)) == 2
    assert first not in later
    assert one_of(database, "SELECT count(*) FROM known_devices") == 2
    for _ in range(20):
        remember_device(service, ada.id, Client())
    assert one_of(database, "SELECT count(*) FROM known_devices") == 11
    assert len(devices_in(".".join("abcdefgh"))) == MAX_ACCOUNTS
    accounts.log_out_everywhere(eve.id)
    assert rows_of(database, "SELECT DISTINCT user_id FROM known_devices") == [(ada.id,)]
    token = accounts.log_in(EMAIL, PASSWORD).token
    accounts.change_password(token, PASSWORD, OTHER)
    assert one_of(database, "SELECT count(*) FROM known_devices") == 0
    remember_device(service, ada.id, Client())
    with database.transaction() as connection:
        connection.execute("UPDATE known_devices SET used_at = now() - make_interval(days => %s)", (DAYS + 1,))
    assert prune_devices(service) == 1


def test_others_do_not_block_a_password_change_in_a_session(accounts: Accounts) -> None:
    accounts.register(EMAIL, PASSWORD)
    login = accounts.log_in(EMAIL, PASSWORD)
    guess(accounts, STRANGER, ACCOUNT_LIMIT + 1)
    accounts.change_password(login.token, PASSWORD, OTHER, client=Client(address="192.0.2.7"))
    for _ in range(KNOWN_CLIENT_LIMIT):
        with pytest.raises(LoginRefusedError):
            accounts.change_password(login.token, "wrong", PASSWORD)
    with pytest.raises(TooManyAttemptsError):  # the guesses of a stolen session are limited
        accounts.change_password(login.token, OTHER, PASSWORD)


def test_the_pages_recognize_a_known_browser(api: Served) -> None:
    person = api.person()
    browser, headers = api.at("192.0.2.44"), {"Sec-Fetch-Site": "same-origin"}
    form = {"email": person.email, "password": PASSWORD}
    entered = browser.post("/login", data=form, headers=headers, follow_redirects=False)
    assert entered.status_code == 303
    (cookie,) = [value for value in entered.headers.get_list("set-cookie") if value.startswith(f"{DEVICE_COOKIE}=")]
    assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    device = cookie.split(";")[0]
    wrong = form | {"password": "wrong"}
    for _ in range(ACCOUNT_LIMIT + 1):
        api.at("198.51.100.2").post("/login", data=wrong, headers=headers)
    assert api.at("192.0.2.44").post("/login", data=form, headers=headers).status_code == 429
    again = api.at("192.0.2.44").post("/login", data=form, headers=headers | {"Cookie": device}, follow_redirects=False)
    assert again.status_code == 303
    (replaced,) = [value for value in again.headers.get_list("set-cookie") if value.startswith(f"{DEVICE_COOKIE}=")]
    assert replaced.split(";")[0] != device
