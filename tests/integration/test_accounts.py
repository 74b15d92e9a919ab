"""Accounts: registration, login by password, sessions, limits, API keys, the audit log, and roles."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import bcrypt
import psycopg
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from psycopg import Connection, sql
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from pwdlib.hashers.argon2 import Argon2Hasher
from werkzeug.security import generate_password_hash

from pgface.accounts import (
    COMMAND_LINE,
    Accounts,
    AuditEntry,
    Client,
    create_key,
    find_key,
    list_keys,
    passwords,
    prune_audit,
    prune_logins,
    read_audit,
    revoke_key,
)
from pgface.accounts import attempts as attempts_module
from pgface.accounts.attempts import begin_attempt, prune_attempts
from pgface.accounts.passwords import decoy, kind_of, prove
from pgface.database.pool import connected, initialise
from pgface.database.roles import grant_reader, grant_service
from pgface.errors import (
    AccountError,
    DatabaseAccessError,
    DuplicateEmailError,
    KeyRefusedError,
    LoginRefusedError,
    NotLoggedInError,
    TooManyAttemptsError,
    UnknownKeyError,
    UnknownLoginError,
    UnknownUserError,
    WeakPasswordError,
)
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.commands import Run, environment_of, runner
from support.databases import Template, create_database, drop_database
from support.galleries import rows
from support.sentences import accounts as says
from support.service_role import as_role, drop_role, opened_as_service

OWN_KIND = "$argon2id$v=19$m=65536,t=3,p=4"
EMAIL, PASSWORD, OTHER = "ada@example.org", "four plain words here", "five other plain words here"
HOME = Client(address="192.0.2.7")


default_hashes = pytest.mark.parametrize("hash_parameters", [{}], ids=["default hashes"])
"""For tests of the cost of a hash."""


@pytest.fixture
def template(schema_name: str) -> Template:
    """A gallery without a model, which accounts do not need."""
    return Template(schema_name)


@pytest.fixture
def gallery(settings: Settings) -> Iterator[Gallery]:
    """The gallery, opened with the service's role."""
    with opened_as_service(settings) as gallery:
        yield gallery


@pytest.fixture
def owner(gallery: Gallery, settings: Settings) -> Iterator[Gallery]:
    """The same gallery, opened by its owner."""
    assert gallery
    with Gallery.open(settings) as owner:
        yield owner


@pytest.fixture
def accounts(gallery: Gallery) -> Accounts:
    return Accounts(gallery)


@pytest.fixture
def plain(gallery: Gallery, settings: Settings) -> Iterator[Connection]:
    """A connection of the gallery's owner."""
    assert gallery
    with as_sql(url_of(settings), settings) as connection:
        yield connection


def log(gallery: Gallery) -> list[AuditEntry]:
    return read_audit(gallery.database)


def events(gallery: Gallery) -> list[tuple[str, str | None]]:
    """Each event with the reason of its refusal, the oldest first."""
    return [(entry.event, entry.reason) for entry in reversed(log(gallery))]


def test_register_log_in_and_out(accounts: Accounts, gallery: Gallery, plain: Connection) -> None:
    user = accounts.register("Ada@Example.org", PASSWORD, client=HOME)
    assert (user.email, user.name) == (EMAIL, "Ada")
    login = accounts.log_in("ADA@example.org ", PASSWORD, client=HOME)
    who = accounts.who(login.token)
    assert (who.user_id, who.email, who.confidence) == (user.id, EMAIL, 1.0)
    assert rows(plain, "SELECT token FROM auth_tokens") == [(hashlib.sha256(login.token.encode()).hexdigest(),)]
    assert len(login.token) == 43
    assert login.token not in repr(login)
    ((password,),) = rows(plain, "SELECT password FROM users")
    assert password.startswith("$argon2id$")
    accounts.log_out(login.token, client=HOME)
    accounts.log_out(login.token)
    with pytest.raises(NotLoggedInError):
        accounts.who(login.token)
    assert events(gallery) == [("register", None), ("login by password", None), ("log out", None)]
    assert {(entry.user_id, entry.address, entry.actor) for entry in log(gallery)} == {
        (user.id, "192.0.2.7", f"user {user.id}")
    }


@default_hashes
def test_an_unknown_email_and_a_wrong_password_get_the_same_refusal(
    accounts: Accounts, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.register(EMAIL, PASSWORD)
    gallery.add_user("enrolled@example.org")  # without a password
    hashed: list[str] = []
    note_verifications(monkeypatch, hashed)
    answers = set()
    for email, password in ((EMAIL, OTHER), ("nobody@example.org", OTHER), ("enrolled@example.org", "!"), ("no", "x")):
        with pytest.raises(LoginRefusedError) as refused:
            accounts.log_in(email, password)
        answers.add((type(refused.value), str(refused.value)))
        assert len(hashed) == 1, email
        assert hashed.pop().startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert len(answers) == 1
    assert events(gallery)[1:] == [
        ("login by password", says.REASON_WRONG_PASSWORD),
        ("login by password", says.REASON_UNKNOWN_EMAIL),  # twice
        ("login by password", says.REASON_WRONG_PASSWORD),
    ]
    assert [entry.count for entry in reversed(log(gallery))][1:] == [1, 2, 1]


def note_verifications(monkeypatch: pytest.MonkeyPatch, hashed: list[str]) -> None:
    """Note the arguments of each hash function, and call it."""
    for start, compute in passwords._HASHERS.items():
        monkeypatch.setitem(passwords._HASHERS, start, _noting(compute, hashed))


def _noting(compute: Callable[[bytes, str], str | None], hashed: list[str]) -> Callable[[bytes, str], str | None]:
    def noting(password: bytes, blank: str) -> str | None:
        hashed.append(blank)
        return compute(password, blank)

    return noting


OLD_HASHES: dict[str, Callable[[], str]] = {
    "scrypt": lambda: generate_password_hash("flask", method="scrypt:1024:8:1"),
    "pbkdf2": lambda: generate_password_hash("flask", method="pbkdf2:sha256:1000"),
    "bcrypt": lambda: _bcrypt("flask"),
    "argon2": lambda: _cheap_argon2("flask"),
}


@default_hashes
def test_old_hashes_do_not_reveal_which_users_exist(
    accounts: Accounts, gallery: Gallery, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.register(EMAIL, PASSWORD)
    gallery.add_user("enrolled@example.org")
    for name, made in OLD_HASHES.items():
        user = gallery.add_user(f"{name}@example.org")
        plain.execute("UPDATE users SET password = %s WHERE id = %s", (made(), user.id))
    for number, text in enumerate(("scrypt:", "$2", "$argon2", "pbkdf2:")):  # not hashes
        user = gallery.add_user(f"{number}@example.org")
        plain.execute("UPDATE users SET password = %s WHERE id = %s", (text, user.id))
    expected = ["$2b$04", "$argon2id$v=19$m=1024,t=1,p=4", OWN_KIND, "pbkdf2:sha256:1000", "scrypt:1024:8:1"]
    hashed: list[str] = []
    note_verifications(monkeypatch, hashed)
    for email in (EMAIL, "enrolled@example.org", "nobody@example.org", *(f"{name}@example.org" for name in OLD_HASHES)):
        with pytest.raises(LoginRefusedError):
            accounts.log_in(email, "Flask")
        assert sorted(map(kind_of, hashed)) == expected, email
        hashed.clear()
    # A correct password needs no other hashes, because its answer reveals it anyway.
    accounts.log_in("scrypt@example.org", "flask")
    assert len(hashed) == 1


@pytest.mark.parametrize("kind", ["scrypt:1024:8:1", "pbkdf2:sha256:1000", "$2b$04", "$argon2id$v=19$m=1024,t=1,p=4"])
def test_a_decoy_is_computed_like_any_hash(kind: str) -> None:
    made = decoy(kind)
    assert prove("flask", made) != [made]
    if kind.startswith("$argon2"):
        with pytest.raises(VerifyMismatchError):  # and not an error about an invalid hash
            PasswordHasher().verify(made, "flask")
    elif kind.startswith("$2"):
        assert bcrypt.hashpw(b"flask", made.encode()).startswith(kind.encode())
    else:
        _, salt, _ = made.split("$")
        assert prove("flask", f"{kind}${salt}$00") == [f"{kind}${salt}${_werkzeug_digest(kind, salt)}"]


def _werkzeug_digest(kind: str, salt: str) -> str:
    if kind.startswith("scrypt"):
        return hashlib.scrypt(b"flask", salt=salt.encode(), n=1024, r=8, p=1).hex()
    return hashlib.pbkdf2_hmac("sha256", b"flask", salt.encode(), 1000).hex()


@default_hashes
@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("scrypt", lambda password: generate_password_hash(password, method="scrypt:1024:8:1")),
        ("pbkdf2", lambda password: generate_password_hash(password, method="pbkdf2:sha256:1000")),
        ("bcrypt", lambda password: _bcrypt(password)),
        ("argon2 of other costs", lambda password: _cheap_argon2(password)),
    ],
)
def test_foreign_hashes_are_replaced_at_the_first_successful_login(
    accounts: Accounts, gallery: Gallery, plain: Connection, kind: str, made: object
) -> None:
    assert callable(made)
    old = made("flask")  # shorter than a new password may be
    user = gallery.add_user(EMAIL)
    plain.execute("UPDATE users SET password = %s", (old,))
    with pytest.raises(LoginRefusedError):
        accounts.log_in(EMAIL, "Flask")
    assert rows(plain, "SELECT password FROM users") == [(old,)], kind
    accounts.log_in(EMAIL, "flask")
    ((replaced,),) = rows(plain, "SELECT password FROM users")
    assert replaced.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert accounts.log_in(EMAIL, "flask").user_id == user.id
    assert rows(plain, "SELECT password FROM users") == [(replaced,)]


def _bcrypt(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def _cheap_argon2(password: str) -> str:
    return Argon2Hasher(time_cost=1, memory_cost=1024).hash(password)


def test_a_long_password_of_bcrypt(accounts: Accounts, gallery: Gallery, plain: Connection) -> None:
    gallery.add_user(EMAIL)
    password = "x" * 100
    plain.execute("UPDATE users SET password = %s", (_bcrypt(password[:72]),))
    accounts.log_in(EMAIL, password)
    with pytest.raises(LoginRefusedError):
        accounts.log_in(EMAIL, password[:72])  # argon2 hashes the whole password


@pytest.mark.parametrize(
    "marker", ["!", "", "*", "scrypt:", "pbkdf2:sha256:x$y$z", "$2b$12$short", "hashed_password_here"]
)
def test_a_stored_text_without_a_hash_matches_no_password(
    accounts: Accounts, gallery: Gallery, plain: Connection, marker: str
) -> None:
    gallery.add_user(EMAIL)
    plain.execute("UPDATE users SET password = %s", (marker,))
    for typed in (marker, "", "x"):
        with pytest.raises(LoginRefusedError):
            accounts.log_in(EMAIL, typed)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("fourteen chars", says.PASSWORD_LENGTH.pattern(least=15, most="1,024")),
        ("x" * 1025, says.PASSWORD_LENGTH.pattern(least=15, most="1,024")),
        ("aaaaaaaaaaaaaaaaaaaa", says.PASSWORD_EASY_TO_GUESS.pattern()),
        ("ada@example.org", says.PASSWORD_EASY_TO_GUESS.pattern()),
        ("ADA@EXAMPLE.ORG!1", says.PASSWORD_EASY_TO_GUESS.pattern()),
        ("adaadaadaadaadaada", says.PASSWORD_EASY_TO_GUESS.pattern()),
        ("half \ud800 a character", says.PASSWORD_IS_NOT_TEXT.pattern()),
    ],
)
def test_passwords_that_are_refused(accounts: Accounts, gallery: Gallery, password: str, reason: str) -> None:
    with pytest.raises(WeakPasswordError, match=reason):
        accounts.register(EMAIL, password)
    assert gallery.users() == []


def test_unicode_passwords_can_be_typed_on_any_keyboard(accounts: Accounts) -> None:
    accounts.register(EMAIL, "caf\u00e9 au lait \u2460 \U0001f600 words")
    assert accounts.log_in(EMAIL, "cafe\u0301 au lait 1 \U0001f600 words")


@pytest.mark.parametrize("typed", ["\ud800", "x" * 5000, "nul\0byte", "", "' OR 1=1 --"])
def test_odd_passwords_are_wrong(accounts: Accounts, typed: str) -> None:
    accounts.register(EMAIL, PASSWORD)
    with pytest.raises(LoginRefusedError):
        accounts.log_in(EMAIL, typed)


def test_an_address_can_probe_only_few_emails_by_registering(accounts: Accounts, gallery: Gallery) -> None:
    accounts.register(EMAIL, PASSWORD, client=HOME)
    with gallery.database.transaction() as connection:
        registrations = attempts_module._hashed(f"registrations of {HOME.address}")  # they have their own limit
        connection.execute("DELETE FROM login_attempts WHERE subject = %s", (registrations,))
        connection.execute("UPDATE login_attempts SET failures = %s", (attempts_module.ADDRESS_LIMIT - 1,))
    with pytest.raises(DuplicateEmailError):
        accounts.register(EMAIL, PASSWORD, client=HOME)
    for email in (EMAIL, "other@example.org"):
        with pytest.raises(TooManyAttemptsError):
            accounts.register(email, PASSWORD, client=HOME)
    assert accounts.register("elsewhere@example.org", PASSWORD, client=Client(address="198.51.100.9"))


@pytest.mark.parametrize("typed", ["\ud800@example.org", "x" * 10_000, "nul\0@example.org", "", "' OR 1=1 --"])
def test_odd_emails_belong_to_no_user(accounts: Accounts, typed: str) -> None:
    with pytest.raises(LoginRefusedError):
        accounts.log_in(typed, PASSWORD)


def test_a_registration_cannot_take_over_an_enrolled_user(accounts: Accounts, gallery: Gallery, owner: Gallery) -> None:
    there = gallery.add_user(EMAIL)
    with pytest.raises(DuplicateEmailError):
        accounts.register(EMAIL.upper(), PASSWORD, client=HOME)
    assert events(gallery) == [("register", says.REASON_EMAIL_TAKEN)]
    with pytest.raises(DatabaseAccessError):  # without an administrator's token, the service may not set a password
        accounts.set_password(there.id, PASSWORD, client=Client())
    Accounts(owner).set_password(there.id, PASSWORD, client=COMMAND_LINE)
    assert accounts.log_in(EMAIL, PASSWORD).user_id == there.id


def test_a_new_password_ends_all_other_sessions(accounts: Accounts, gallery: Gallery) -> None:
    accounts.register(EMAIL, PASSWORD)
    accounts.register("other@example.org", PASSWORD)
    here, there = (accounts.log_in(EMAIL, PASSWORD).token for _ in range(2))
    other_user = accounts.log_in("other@example.org", PASSWORD).token
    with pytest.raises(LoginRefusedError):
        accounts.change_password(here, OTHER, OTHER)
    with pytest.raises(WeakPasswordError):
        accounts.change_password(here, PASSWORD, "short")
    assert accounts.who(there)
    accounts.change_password(here, PASSWORD, OTHER)
    assert accounts.who(here).email == EMAIL
    assert accounts.who(other_user)
    with pytest.raises(NotLoggedInError):
        accounts.who(there)
    with pytest.raises(LoginRefusedError):
        accounts.log_in(EMAIL, PASSWORD)
    assert accounts.log_in(EMAIL, OTHER)
    assert ("password change", says.REASON_WRONG_PASSWORD) in events(gallery)


def test_a_login_during_a_password_change_is_refused(accounts: Accounts, plain: Connection) -> None:
    accounts.register(EMAIL, PASSWORD)
    with ThreadPoolExecutor() as threads:
        with plain.transaction():
            plain.execute("UPDATE users SET password = 'another'")
            late = threads.submit(accounts.log_in, EMAIL, PASSWORD)
            deadline = time.monotonic() + 30
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while rows(plain, waiting) == [(0,)] and time.monotonic() < deadline:
                time.sleep(0.02)
        with pytest.raises(LoginRefusedError):
            late.result(timeout=30)
    assert rows(plain, "SELECT count(*) FROM auth_tokens") == [(0,)]


def test_listing_and_ending_sessions(accounts: Accounts) -> None:
    user, other = accounts.register(EMAIL, PASSWORD), accounts.register("other@example.org", PASSWORD)
    tokens = [accounts.log_in(EMAIL, PASSWORD).token for _ in range(3)]
    first, second, third = accounts.logins(user.id)
    assert first.id == accounts.who(tokens[0]).id
    with pytest.raises(UnknownLoginError):
        accounts.end_login(other.id, first.id)
    accounts.end_login(user.id, first.id)
    with pytest.raises(UnknownLoginError):
        accounts.end_login(user.id, first.id)
    assert [login.id for login in accounts.logins(user.id)] == [second.id, third.id]
    assert accounts.log_out_everywhere(user.id, but=tokens[2]) == 1
    assert [login.id for login in accounts.logins(user.id)] == [third.id]
    assert accounts.log_out_everywhere(user.id) == 1
    with pytest.raises(UnknownUserError):
        accounts.logins(user.id + 100)


def test_ended_sessions(accounts: Accounts, gallery: Gallery, plain: Connection) -> None:
    accounts.register(EMAIL, PASSWORD)
    expired, inactive, unknown, endless = (accounts.log_in(EMAIL, PASSWORD).token for _ in range(4))
    change = "UPDATE auth_tokens SET {} WHERE token = encode(sha256(%s), 'hex')"
    plain.execute(change.format("expires_at = LOCALTIMESTAMP - interval '1 second'").encode(), (expired.encode(),))
    plain.execute(change.format("is_active = FALSE").encode(), (inactive.encode(),))
    plain.execute(change.format("is_active = NULL").encode(), (unknown.encode(),))
    plain.execute(change.format("expires_at = NULL").encode(), (endless.encode(),))
    for token in (expired, inactive, unknown, "", "x", endless[:-1], hashlib.sha256(endless.encode()).hexdigest()):
        with pytest.raises(NotLoggedInError):
            accounts.who(token)
    assert accounts.who(endless)
    assert prune_logins(gallery.database) == 3
    assert accounts.who(endless)


def test_a_token_is_found_by_an_index(accounts: Accounts, plain: Connection) -> None:
    accounts.register(EMAIL, PASSWORD)
    plain.execute(
        "INSERT INTO auth_tokens (user_id, token, confidence) "
        "SELECT (SELECT min(id) FROM users), md5(i::text), 1 FROM generate_series(1, 20000) AS i"
    )
    plain.execute("ANALYZE auth_tokens")
    plan = rows(plain, "EXPLAIN SELECT * FROM auth_tokens WHERE token = 'x' AND is_active")
    assert any("Index Scan" in line for (line,) in plan)


def test_erasing_ones_account(accounts: Accounts, gallery: Gallery, plain: Connection) -> None:
    user = accounts.register(EMAIL, PASSWORD)
    token = accounts.log_in(EMAIL, PASSWORD).token
    with pytest.raises(LoginRefusedError):
        accounts.erase(token, OTHER)
    assert accounts.erase(token, PASSWORD).id == user.id
    assert gallery.users() == []
    with pytest.raises(NotLoggedInError):
        accounts.who(token)
    assert events(gallery)[-2:] == [("account deleted", says.REASON_WRONG_PASSWORD), ("account deleted", None)]
    kept = repr(rows(plain, "SELECT * FROM audit_log")) + repr(rows(plain, "SELECT * FROM login_attempts"))
    assert EMAIL not in kept
    assert "ada" not in kept


# Limits


def test_an_account_waits_longer_after_each_failure(accounts: Accounts, gallery: Gallery, plain: Connection) -> None:
    first = attempts_module.FIRST_WAIT
    accounts.register(EMAIL, PASSWORD)
    for _ in range(5):
        with pytest.raises(LoginRefusedError):
            accounts.log_in(EMAIL, OTHER)
    waits = []
    for _ in range(4):
        later(plain, 0)
        with pytest.raises(TooManyAttemptsError) as refused:
            accounts.log_in(EMAIL, PASSWORD)  # also with the right password
        waits.append(refused.value.retry_after)
        later(plain, waits[-1])
        with pytest.raises(LoginRefusedError):
            accounts.log_in(EMAIL, OTHER)
    assert waits == [first, 2 * first, 4 * first, 8 * first]
    later(plain, 16 * first)
    assert accounts.log_in(EMAIL, PASSWORD)
    assert accounts.log_in(EMAIL, PASSWORD)  # the count was reset
    assert [entry.count for entry in log(gallery) if entry.reason == says.REASON_TOO_MANY_ATTEMPTS] == [4]


def later(plain: Connection, seconds: int) -> None:
    """Change the rows as if this time had passed."""
    plain.execute("UPDATE login_attempts SET last_failure = now() - make_interval(secs => %s)", (seconds,))


def test_the_longest_wait_and_expired_failures(accounts: Accounts, gallery: Gallery, plain: Connection) -> None:
    accounts.register(EMAIL, PASSWORD)
    with pytest.raises(LoginRefusedError):
        accounts.log_in(EMAIL, OTHER)
    plain.execute("UPDATE login_attempts SET failures = 2000000000")
    with pytest.raises(TooManyAttemptsError) as refused:
        accounts.log_in(EMAIL, PASSWORD)
    assert 890 < refused.value.retry_after <= 900
    later(plain, 24 * 3600 + 1)
    with pytest.raises(LoginRefusedError):
        accounts.log_in(EMAIL, OTHER)
    assert rows(plain, "SELECT failures FROM login_attempts") == [(1,)]
    later(plain, 24 * 3600 + 1)
    assert prune_attempts(gallery.database) == 1


def test_an_unknown_email_is_limited_too(accounts: Accounts) -> None:
    for _ in range(5):
        with pytest.raises(LoginRefusedError):
            accounts.log_in("nobody@example.org", PASSWORD)
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in("Nobody@example.org", PASSWORD)


def test_an_address_that_tries_many_accounts(
    accounts: Accounts, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts_module, "ADDRESS_LIMIT", 3)
    accounts.register(EMAIL, PASSWORD)
    for number in range(3):
        with pytest.raises(LoginRefusedError):
            accounts.log_in(f"{number}@example.org", PASSWORD, client=Client(address=f"2001:db8::{number}"))
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in(EMAIL, PASSWORD, client=Client(address="2001:db8::ffff"))  # of the same network
    assert accounts.log_in(EMAIL, PASSWORD, client=Client(address="2001:db8:0:1::1"))
    assert accounts.log_in(EMAIL, PASSWORD)
    assert log(gallery)[2].address == "2001:db8::ffff"


def test_a_successful_login_does_not_reset_its_address(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "ADDRESS_LIMIT", 3)
    accounts.register(EMAIL, PASSWORD)
    for number in range(3):
        accounts.log_in(EMAIL, PASSWORD, client=HOME)
        with pytest.raises(LoginRefusedError):
            accounts.log_in(f"{number}@example.org", PASSWORD, client=HOME)
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in(EMAIL, PASSWORD, client=HOME)


def test_each_method_has_its_own_count(accounts: Accounts, gallery: Gallery) -> None:
    accounts.register(EMAIL, PASSWORD)
    for _ in range(5):
        begin_attempt(gallery.database, "face", EMAIL, HOME, "login by face")
    with pytest.raises(TooManyAttemptsError):
        begin_attempt(gallery.database, "face", EMAIL, HOME, "login by face")
    assert accounts.log_in(EMAIL, PASSWORD, client=HOME)
    with pytest.raises(TooManyAttemptsError):
        begin_attempt(gallery.database, "face", EMAIL, HOME, "login by face")


def test_parallel_attempts_are_all_counted(accounts: Accounts) -> None:
    accounts.register(EMAIL, PASSWORD)

    def attempt(_: int) -> type[Exception]:
        try:
            accounts.log_in(EMAIL, OTHER)
        except AccountError as error:
            return type(error)
        raise AssertionError

    with ThreadPoolExecutor(12) as threads:
        outcomes = list(threads.map(attempt, range(24)))
    assert outcomes.count(LoginRefusedError) == 5
    assert outcomes.count(LoginRefusedError) + outcomes.count(TooManyAttemptsError) == 24


# Keys and the audit log


def test_keys(gallery: Gallery, owner: Gallery, plain: Connection) -> None:
    key, stored = create_key(owner.database, " door ", ["verify", "identify", "verify"], COMMAND_LINE)
    assert (stored.name, stored.scopes, stored.last_used_at) == ("door", ["identify", "verify"], None)
    assert key.startswith("pgface_")
    assert rows(plain, "SELECT key FROM api_keys") == [(hashlib.sha256(key.encode()).hexdigest(),)]
    assert find_key(gallery.database, key).id == stored.id
    (used,) = list_keys(gallery.database)
    assert used.last_used_at is not None
    find_key(gallery.database, key)
    assert list_keys(gallery.database) == [used]  # the time is written once a minute
    for wrong in ("", "pgface_", key[:-1], key.upper()):
        with pytest.raises(KeyRefusedError):
            find_key(gallery.database, wrong)
    revoke_key(owner.database, stored.id, COMMAND_LINE)
    with pytest.raises(KeyRefusedError):
        find_key(gallery.database, key)
    with pytest.raises(UnknownKeyError):
        revoke_key(owner.database, stored.id, COMMAND_LINE)
    with pytest.raises(UnknownKeyError):
        revoke_key(owner.database, 2**40, COMMAND_LINE)
    assert [(entry.event, entry.key_id, entry.actor) for entry in log(gallery)] == [
        ("key revoked", stored.id, "command line"),
        ("key created", stored.id, "command line"),
    ]


@pytest.mark.parametrize(("name", "scopes"), [("", ["verify"]), ("x", []), ("x", ["root"]), ("a\x1b[31m", ["verify"])])
def test_keys_that_are_refused(gallery: Gallery, name: str, scopes: list[str]) -> None:
    with pytest.raises(AccountError):
        create_key(gallery.database, name, scopes, COMMAND_LINE)
    assert list_keys(gallery.database) == []


def test_reading_the_audit_log(accounts: Accounts, gallery: Gallery, owner: Gallery, plain: Connection) -> None:
    user = accounts.register(EMAIL, PASSWORD)
    for _ in range(3):
        accounts.log_in(EMAIL, PASSWORD)
    everything = log(gallery)
    assert [entry.id for entry in everything] == sorted((entry.id for entry in everything), reverse=True)
    assert read_audit(gallery.database, limit=2) == everything[:2]
    assert read_audit(gallery.database, before=everything[1].id) == everything[2:]
    assert read_audit(gallery.database, event="register") == everything[3:]
    assert read_audit(gallery.database, user_id=user.id + 1) == []
    plain.execute("UPDATE audit_log SET at = now() - interval '40 days' WHERE event = 'register'")
    with pytest.raises(DatabaseAccessError):
        prune_audit(gallery.database, 29)
    assert prune_audit(gallery.database, 30) == 1
    assert prune_audit(owner.database, 0) == 3
    assert log(gallery) == []


# Roles


@pytest.fixture
def roles(settings: Settings, gallery: Gallery) -> Iterator[tuple[str, str]]:
    """A service's role and a reader's, whose names need quotes."""
    names = (f"Service {gallery.config.id}", f"reader-{gallery.config.id}")
    with connected(settings) as connection:
        for _ in range(2):  # the second time changes nothing
            grant_service(connection, settings.schema_name, names[0])
            grant_reader(connection, settings.schema_name, names[1])
    yield names
    with psycopg.connect(url_of(settings), autocommit=True) as connection:
        for name in names:
            drop_role(connection, name)


def url_of(settings: Settings) -> str:
    """The owner's URL."""
    assert settings.database_url
    return settings.database_url.get_secret_value()


def test_forbidden_statements_of_the_service(settings: Settings, roles: tuple[str, str], accounts: Accounts) -> None:
    accounts.register(EMAIL, PASSWORD)
    with Gallery.open(as_role(settings, roles[0])) as service:
        service_accounts = Accounts(service)
        token = service_accounts.log_in(EMAIL, PASSWORD).token
        service_accounts.change_password(token, PASSWORD, OTHER)
        for statement in (
            "DELETE FROM audit_log",
            "UPDATE audit_log SET reason = 'x'",
            "TRUNCATE audit_log",
            "DROP TABLE users",
            "ALTER TABLE users ADD COLUMN x int",
            "CREATE TABLE here (x int)",
            "UPDATE gallery SET identify_threshold = -1",
            "DELETE FROM calibrations",
            "UPDATE pgface_migrations SET version = 1",
            "TRUNCATE users CASCADE",
            "ALTER TABLE face_embeddings DISABLE TRIGGER ALL",
            "CREATE OR REPLACE FUNCTION verify_face() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ):
            with as_sql(service.url, settings) as connection, pytest.raises(pg.InsufficientPrivilege):
                connection.execute(statement.encode())


def as_sql(url: str, settings: Settings) -> Connection:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name)))
    return connection


def test_permissions_of_the_reader(
    settings: Settings, roles: tuple[str, str], accounts: Accounts, gallery: Gallery
) -> None:
    user = accounts.register(EMAIL, PASSWORD)
    gallery.enroll_embedding([1.0] + [0.0] * 511, user.id)
    with as_sql(make_conninfo(url_of(settings), user=roles[1]), settings) as connection:
        probe = "array_cat(ARRAY[1.0], array_fill(0.0, ARRAY[511]))::vector"
        found = rows(connection, f"SELECT user_id, user_name FROM find_similar_faces({probe}, 0.9, 1)")
        assert found == [(user.id, "ada")]
        assert rows(connection, f"SELECT match FROM verify_face({probe}, {user.id})") == [(True,)]
        for forbidden in (
            "SELECT password FROM users",
            "SELECT * FROM auth_tokens",
            "SELECT * FROM api_keys",
            "SELECT * FROM audit_log",
            "INSERT INTO users (name, email, password) VALUES ('x', 'x@example.org', 'x')",
            "DELETE FROM face_embeddings",
        ):
            with pytest.raises(pg.InsufficientPrivilege):
                connection.execute(forbidden.encode())


def test_two_galleries_of_a_server_share_roles_only_on_request(
    settings: Settings, pgface: Run, postgres: str, plain: Connection
) -> None:
    other_database = create_database(postgres)
    in_other_schema = {"PGFACE_SCHEMA": "other"}
    in_other_database = {"PGFACE_DATABASE_URL": other_database, "PGFACE_SCHEMA": "other"}
    for more in (in_other_schema, in_other_database):
        initialise(as_environment(settings, more))
    names = ("pgface_service", "pgface_reader", "Other service", "other-reader")
    rights = (
        "SELECT grantee FROM information_schema.role_table_grants WHERE table_schema = 'other' AND grantee = ANY(%s)"
    )
    try:
        assert says.ROLE_OF_THE_SERVICE.format(role="pgface_service") in pgface("roles", "create").stdout
        pgface("roles", "create")  # as after an upgrade
        for more in (in_other_schema, in_other_database):
            refused = pgface("roles", "create", code=1, more=more)
            assert says.ROLE_HAS_OTHER_RIGHTS.format(role="pgface_service") in refused.stderr
            with psycopg.connect(more.get("PGFACE_DATABASE_URL", url_of(settings))) as connection:
                assert connection.execute(rights, (list(names),)).fetchall() == []
        pgface("roles", "create", "--service", names[2], "--reader", names[3], more=in_other_schema)
        assert set(plain.execute(rights, (list(names),)).fetchall()) == {(names[2],), (names[3],)}
        # Explicit names may be shared.
        pgface("roles", "create", "--service", names[0], "--reader", names[1], more=in_other_database)
    finally:
        drop_database(postgres, other_database)
        for name in names:
            if plain.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
                drop_role(plain, name)


def as_environment(settings: Settings, more: dict[str, str]) -> Settings:
    """The settings with these variables of the environment."""
    values = settings.model_dump() | {"database_url": more.get("PGFACE_DATABASE_URL", url_of(settings))}
    values.pop("schema_name")
    return Settings.model_validate(values | {"PGFACE_SCHEMA": more["PGFACE_SCHEMA"]})


# The commands


@pytest.fixture
def pgface(settings: Settings, accounts: Accounts) -> Run:
    assert accounts
    return runner(environment_of(settings))


def test_the_commands(pgface: Run, accounts: Accounts, gallery: Gallery) -> None:
    gallery.add_user(EMAIL)
    pgface("users", "set-password", EMAIL, stdin=f"{PASSWORD}\n")
    token = accounts.log_in(EMAIL, PASSWORD).token
    weak = pgface("users", "set-password", EMAIL, stdin="short\n", code=1)
    assert weak.stderr.startswith(says.PASSWORD_LENGTH.format(least=15, most="1,024"))
    assert accounts.who(token)
    assert "1.0000" in pgface("tokens", "list", EMAIL).stdout
    assert pgface("tokens", "revoke", EMAIL).stdout == says.LOGINS_ENDED.format(logins=1) + "\n"
    assert pgface("tokens", "prune").stdout == says.ENDED_LOGINS_REMOVED.format(logins=1) + "\n"
    key = pgface("keys", "create", "door", "--scope", "identify,verify").stdout.strip()
    found = find_key(gallery.database, key)
    assert found.scopes == ["identify", "verify"]
    listed = pgface("keys", "list").stdout
    assert "door" in listed
    assert key not in listed
    pgface("keys", "revoke", found.id)
    with pytest.raises(KeyRefusedError):
        find_key(gallery.database, key)
    refused = pgface("keys", "create", "door", "--scope", "everything", code=1)
    scopes = "identify, verify, enroll, events, admin, metrics"
    assert says.UNKNOWN_SCOPE.format(scope="everything", scopes=scopes) in refused.stderr
    shown = pgface("audit", "list").stdout
    assert "key revoked" in shown
    assert "password change" in shown
    assert "command line" in shown
    pruned = pgface("audit", "prune", "--older-than", 1)
    assert pruned.stdout == says.AUDIT_ROWS_REMOVED.format(rows=0, days=1) + "\n"
