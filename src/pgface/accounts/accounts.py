"""Registers users, logs them in and out, and changes or deletes their accounts."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import psycopg
from psycopg.rows import scalar_row, tuple_row

from pgface.accounts.attempts import Attempt, attempt_succeeded, begin_attempt, count_registration
from pgface.accounts.audit_log import Event, record
from pgface.accounts.client import Client
from pgface.accounts.devices import delete_other_devices
from pgface.accounts.passwords import even_out, hash_password, own_kind, prove, renewed, require_good_password
from pgface.accounts.sessions import (
    Login,
    LoginOfUser,
    NewLogin,
    begin_session,
    end_other_sessions,
    end_session,
    end_session_with_token,
    find_session,
    sessions_of,
)
from pgface.database.sql import queries
from pgface.errors import DuplicateEmailError, GalleryError, LoginRefusedError, UnknownLoginError
from pgface.gallery import Gallery
from pgface.gallery.users import UserRef, add_user, clean_email, clean_name, get_user, is_email, is_reserved
from pgface.results import User
from pgface.text import email_spellings, same_email

_KINDS_CACHE_SECONDS: Final = 300.0
"""How long the kinds of hashes are cached. Finding them reads all users."""


class Accounts:
    """The accounts of a gallery's users. Safe to use from many threads.

    The errors do not say why a login was refused. The audit log does.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._database = gallery.database
        self._settings = gallery.settings
        self._kinds: list[str] = []
        self._kinds_read_at = -_KINDS_CACHE_SECONDS

    def register(self, email: str, password: str, *, name: str | None = None, client: Client | None = None) -> User:
        """Add a user with a password.

        A user whom an administrator has added exists already, and cannot register. An administrator sets their first
        password.

        Raises:
            WeakPasswordError: the password is too easy to guess.
            DuplicateEmailError: a user has this e-mail already.
            GalleryError: the e-mail or the name cannot be used, or the e-mail's domain is reserved.
            TooManyAttemptsError: the address has registered too many users or tried too many taken e-mails, and has to
                wait.

        """
        client = client or Client()
        email, name = clean_email(email), clean_name(name or email.partition("@")[0])
        if is_reserved(email):  # a stranger would get the photos of the user with this e-mail
            raise GalleryError(f"The domain of {email} is reserved. Use your own e-mail address.")
        self._require_good(password, email, name)
        count_registration(self._database, client)
        # A registration reveals whether the e-mail is taken, so attempts are limited.
        attempt = begin_attempt(self._database, "password", None, client, "register")
        hashed = hash_password(password)
        try:
            with self._database.transaction() as connection:
                user = add_user(connection, email, name, password=hashed)
                attempt_succeeded(connection, attempt)
                record(connection, "register", client, user_id=user.id)
        except DuplicateEmailError:
            with self._database.transaction() as connection:
                existing = get_user(connection, email)
                record(connection, "register", client, user_id=existing.id, refused="another account has this e-mail")
            raise
        return user

    def log_in(self, email: str, password: str, *, client: Client | None = None) -> NewLogin:
        """Log in by password.

        A correct password with a hash of another kind gets a hash of pgface's own kind.

        Raises:
            LoginRefusedError: the e-mail or the password is wrong. Both give the same error after the same work.
            TooManyAttemptsError: the account or the address has to wait.

        """
        client = client or Client()
        verified = self._verify(email, password, client, "login by password")
        with self._database.transaction() as connection:
            proof = _confirm(connection, verified)
            seconds = self._settings.login_hours * 3600
            session = begin_session(
                connection, verified.user_id, confidence=1.0, password_given=True, seconds=seconds, proof=proof
            )
            record(connection, "login by password", client, user_id=verified.user_id)
        return session

    def check_password(self, email: str, password: str, *, client: Client, event: Event) -> str:
        """Check the password of the user with this e-mail, as one of several factors.

        Returns:
            The proof that `begin_session` needs.

        Raises:
            LoginRefusedError, TooManyAttemptsError: as for `log_in`.

        """
        verified = self._verify(email, password, client, event)
        with self._database.transaction() as connection:
            return _confirm(connection, verified)

    def who(self, token: str) -> Login:
        """Find the session with this token.

        Raises:
            NotLoggedInError: the token is unknown, or the session has ended.

        """
        return find_session(self._database, token)

    def logins(self, user: UserRef) -> list[LoginOfUser]:
        """List a user's sessions that have not ended.

        Raises:
            UnknownUserError: there is no such user.

        """
        return sessions_of(self._database, self._gallery.user(user).id)

    def log_out(self, token: str, *, client: Client | None = None) -> None:
        """End the session with this token, if it has not ended."""
        with self._database.transaction() as connection:
            user_id = end_session_with_token(connection, token)
            if user_id is not None:
                record(connection, "log out", client or Client(), user_id=user_id)

    def end_login(self, user: UserRef, login_id: int, *, client: Client | None = None) -> None:
        """End one of a user's sessions by its id.

        Raises:
            UnknownLoginError: the session belongs to another user, or has ended.
            UnknownUserError: there is no such user.

        """
        user_id = self._gallery.user(user).id
        with self._database.transaction() as connection:
            if not end_session(connection, user_id, login_id):
                raise UnknownLoginError
            record(connection, "log out", client or Client(), user_id=user_id)

    def log_out_everywhere(self, user: UserRef, *, but: str | None = None, client: Client | None = None) -> int:
        """End all sessions of a user, except the one with the token `but`, and return how many.

        Raises:
            UnknownUserError: there is no such user.

        """
        user_id = self._gallery.user(user).id
        with self._database.transaction() as connection:
            ended = end_other_sessions(connection, user_id, but)
            delete_other_devices(connection, user_id)
            record(connection, "log out everywhere", client or Client(), user_id=user_id)
        return ended

    def change_password(self, token: str, former: str, new: str, *, client: Client | None = None) -> None:
        """Change the password of the user who is logged in with this token, and end all their other sessions.

        Raises:
            NotLoggedInError: the token is unknown, or the session has ended.
            LoginRefusedError: the former password is wrong.
            WeakPasswordError: the new password is too easy to guess.
            TooManyAttemptsError: the account or the address has to wait.

        """
        client = client or Client()
        session = self.who(token)
        self._require_good(new, session.email, session.name)
        verified = self._verify(session.email, former, replace(client, session=session.id), "password change")
        hashed = hash_password(new)
        with self._database.transaction() as connection:
            proof = _confirm(connection, verified)
            _set_password(connection, session.user_id, hashed, client, proof=proof, but=token)

    def set_password(self, user: UserRef, new: str, *, client: Client) -> User:
        """Set a user's password as an administrator, without the former one. All their sessions end.

        Raises:
            UnknownUserError: there is no such user.
            WeakPasswordError: the password is too easy to guess.

        """
        found = self._gallery.user(user)
        self._require_good(new, found.email, found.name)
        hashed = hash_password(new)
        with self._database.transaction() as connection:
            _set_password(connection, found.id, hashed, client, proof=None, but=None)
        return found

    def erase(self, token: str, password: str, *, client: Client | None = None) -> User:
        """Delete the account of a logged-in user: their rows, faces, sessions and files.

        Raises:
            NotLoggedInError: the token is unknown, or the session has ended.
            LoginRefusedError: the password is wrong.
            TooManyAttemptsError: the account or the address has to wait.

        """
        client = client or Client()
        session = self.who(token)
        verified = self._verify(session.email, password, replace(client, session=session.id), "account deleted")

        def confirm_and_record(connection: psycopg.Connection, _: User) -> None:
            _confirm(connection, verified)
            record(connection, "account deleted", client, user_id=session.user_id)

        return self._gallery.erase_user(session.user_id, within=confirm_and_record)

    def _require_good(self, password: str, email: str, name: str) -> None:
        require_good_password(password, least_length=self._settings.min_password_length, personal=(email, name))

    def _verify(self, email: str, password: str, client: Client, event: Event) -> _Verified:
        """Find the user and check the password. `_confirm` checks it again in the transaction that needs it."""
        given = same_email(email)
        attempt = begin_attempt(self._database, "password", given, client, event)
        # If no user has the e-mail, the password is compared with a decoy hash.
        found = (
            self._database.read("find_password", {"spellings": email_spellings(given)}, row_factory=tuple_row)
            if is_email(given)
            else []
        )
        user_id, blank = found[0] if found else (None, None)
        proofs = prove(password, blank)
        with self._database.transaction() as connection:
            proof = _matching_proof(connection, user_id or 0, proofs)
        if user_id is None or proof is None:
            even_out(password, blank, self._kinds_of_hashes())
            why = "no account has this e-mail" if user_id is None else "wrong password"
            with self._database.transaction() as connection:
                record(connection, event, client, user_id=user_id, refused=why)
            raise LoginRefusedError
        return _Verified(user_id, proof, renewed(password, proof), attempt)

    def _kinds_of_hashes(self) -> list[str]:
        """Read the kinds of hashes in the gallery, or return those of the last minutes."""
        if time.monotonic() - self._kinds_read_at >= _KINDS_CACHE_SECONDS:
            self._kinds = self._database.read("password_kinds", {"but": f"{own_kind()}$"}, row_factory=scalar_row)
            self._kinds_read_at = time.monotonic()
        return self._kinds


@dataclass(frozen=True, slots=True)
class _Verified:
    """A user whose password was correct."""

    user_id: int
    proof: str
    renewed: str | None
    attempt: Attempt


def is_proof(connection: psycopg.Connection, user_id: int, proof: str) -> bool:
    """Whether a proof of `Accounts.check_password` still belongs to the user's password."""
    return _matching_proof(connection, user_id, [proof]) is not None


def _matching_proof(connection: psycopg.Connection, user_id: int, proofs: list[str]) -> str | None:
    """Return the proof that is the hash of the user's password. Only PostgreSQL sees the stored hash."""
    ((proof,),) = connection.execute(queries()["confirm_password"], {"id": user_id, "proofs": proofs}).fetchall()
    return None if proof is None else str(proof)


def _confirm(connection: psycopg.Connection, verified: _Verified) -> str:
    """Lock the verified password until the transaction ends, and replace a foreign hash.

    Returns:
        The current hash.

    Raises:
        LoginRefusedError: the password was changed meanwhile, or the user was deleted.

    """
    if _matching_proof(connection, verified.user_id, [verified.proof]) is None:
        raise LoginRefusedError
    attempt_succeeded(connection, verified.attempt)
    if verified.renewed is None:
        return verified.proof
    values = {"id": verified.user_id, "password": verified.renewed, "proof": verified.proof, "authority": None}
    connection.execute(queries()["set_password"], values)
    return verified.renewed


def _set_password(
    connection: psycopg.Connection, user_id: int, hashed: str, client: Client, *, proof: str | None, but: str | None
) -> None:
    values = {"id": user_id, "password": hashed, "proof": proof, "authority": client.authority}
    connection.execute(queries()["set_password"], values)
    end_other_sessions(connection, user_id, but)
    delete_other_devices(connection, user_id, client.devices if but else ())
    record(connection, "password change", client, user_id=user_id)
