"""Passwords: argon2id for new ones, and those that a Flask application left behind until their owners log in.

Rules after NIST SP 800-63B-4, section 3.1.1.2: a least length, no rules of composition, Unicode normalised, and none
that others would try first.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from threading import BoundedSemaphore
from typing import Final

import bcrypt
from pwdlib import PasswordHash
from pwdlib.hashers import HasherProtocol
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher
from werkzeug.security import check_password_hash
from zxcvbn import zxcvbn

from pgface.errors import WeakPasswordError
from pgface.forks import call_after_fork
from pgface.machine import usable_cores

LONGEST = 1_024
"""Characters; more are refused before they cost a hash."""
_GUESSABLE = 3
"""The least of zxcvbn's scores, 0 to 4, that is accepted: it stands for 10^8 guesses or more."""
_JUDGED = 40
"""Characters of a password that zxcvbn looks at. Of 40 signs that stand for letters it took 0.05 s, of 72 it took 3."""
_BCRYPT_BYTES = 72
"""bcrypt never looked further, and its library now refuses more."""

_KIND: Final = re.compile(r"((scrypt|pbkdf2):[^$]+|\$2[abxy]\$[0-9]{2}|\$argon2[id]+\$v=[0-9]+\$[^$]+)")
"""The part of a hash that says how long it takes, up to the `$` before its salt."""
_REST_OF_DECOY: Final = {
    "scrypt:": "$decoy$00",
    "pbkdf2:": "$decoy$00",
    "$2": "$" + 53 * ".",
    "$argon2": "$" + 22 * "A" + "$" + 43 * "A",
}
"""Salt and digest of a hash that no password is known for, by how its kind begins."""

# One hash takes 64 MB for as long as it takes (RFC 9106, section 4, second choice): no more at once than cores.
_at_once = BoundedSemaphore(usable_cores())


@call_after_fork
def _renew_semaphore() -> None:
    global _at_once
    _at_once = BoundedSemaphore(usable_cores())


class WerkzeugHasher(HasherProtocol):
    """Verifies werkzeug's `scrypt:` and `pbkdf2:`; makes none."""

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        """Whether it is one of them."""
        return str(hash).startswith(("scrypt:", "pbkdf2:"))

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        """Not used: pwdlib hashes with the first of its hashers."""
        raise NotImplementedError

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        """Whether the password is the hash's; a hash that is none of werkzeug's belongs to no password."""
        try:
            return check_password_hash(str(hash), str(password))
        except ValueError:
            return False

    def check_needs_rehash(self, hash: str | bytes) -> bool:  # noqa: ARG002 - pwdlib's protocol has it
        """It always does."""
        return True


class TruncatingBcryptHasher(BcryptHasher):
    """Verifies bcrypt hashes of long passwords, which were made of their first 72 bytes."""

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        """Whether the password is the hash's."""
        data = password.encode() if isinstance(password, str) else password
        try:
            return bcrypt.checkpw(data[:_BCRYPT_BYTES], str(hash).encode())
        except ValueError:
            return False


_hashes = PasswordHash((Argon2Hasher(), WerkzeugHasher(), TruncatingBcryptHasher()))


def hash_password(password: str) -> str:
    """The argon2id hash of a new password."""
    with _at_once:
        return _hashes.hash(_normalised(password))


def check_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Whether a password is right, and a hash to replace the stored one by, if that is not pgface's own kind.

    Args:
        password: as it was typed.
        hashed: the stored one; None for an account that is not there, and any text that is no hash, as an unusable
            password's marker, take the time that a hash takes, and match nothing.

    """
    if len(password) > LONGEST or not _is_text(password):
        return False, None
    known = _is_known(hashed)
    stored = hashed if known and hashed else _nobodys_hash()
    forms = dict.fromkeys((_normalised(password), password))  # other programs may not have normalised
    with _at_once:
        right = next((form for form in forms if _hashes.verify(form, stored)), None)
    if not known or right is None:
        return False, None
    hasher = _hashes.current_hasher
    own = right == _normalised(password) and hasher.identify(stored) and not hasher.check_needs_rehash(stored)
    return True, None if own else hash_password(password)


def even_out(password: str, hashed: str | None, kinds: Iterable[str]) -> None:
    """After `check_password` in vain, take the time of the other kinds of hashes as well.

    So every refusal takes the sum of all kinds, whether nobody has the e-mail or the password is wrong, and whatever
    the user's hash is. A sum of real work and not a sleep until some moment: that would have to be longer than the
    slowest kind on the busiest day, and hold a thread of the service all the while.

    Args:
        password: as it was typed.
        hashed: what it was compared with.
        kinds: how the gallery's hashes begin, up to the `$` before their salt; others than hashes are passed over.

    """
    own = own_kind()
    done = kind_of(hashed) if hashed and _is_known(hashed) else own
    for kind in sorted({own, *filter(_KIND.fullmatch, kinds)} - {done}):
        check_password(password, decoy(kind))


def own_kind() -> str:
    """The kind of new hashes."""
    return kind_of(_nobodys_hash())


def kind_of(hashed: str) -> str:
    """How a hash begins that tells how long it takes; empty for what is none."""
    found = _KIND.match(hashed)
    return found[0] if found else ""


def decoy(kind: str) -> str:
    """A hash of a kind that takes as long as others of it, and matches nothing."""
    return kind + next(rest for beginning, rest in _REST_OF_DECOY.items() if kind.startswith(beginning))


def _is_known(hashed: str | None) -> bool:
    return hashed is not None and any(hasher.identify(hashed) for hasher in _hashes.hashers)


def require_good_password(password: str, *, least_length: int, personal: Sequence[str]) -> None:
    """Refuse a new password that others would try first.

    How many guesses it withstands is estimated as by D. L. Wheeler, "zxcvbn: Low-Budget Password Strength Estimation",
    USENIX Security 2016: from lists of passwords, names and words, keyboard rows, sequences, repeats and dates.

    Args:
        password: as it was typed.
        least_length: characters.
        personal: name and e-mail of its owner.

    Raises:
        WeakPasswordError: it is too short, too long, or too easily guessed.

    """
    if not _is_text(password):
        raise WeakPasswordError("This password holds characters that are no text; choose another one.")
    if not least_length <= len(_normalised(password)) <= LONGEST:
        raise WeakPasswordError(
            f"A password has {least_length} to {LONGEST:,} characters; several words are easier to remember."
        )
    own_words = [word for text in personal for word in (text, *re.split(r"[@.\s]+", text)) if word]
    if zxcvbn(_normalised(password)[:_JUDGED], user_inputs=own_words)["score"] < _GUESSABLE:
        raise WeakPasswordError("This password is among the first that others would try; choose several other words.")


def _is_text(password: str) -> bool:
    """Half characters (surrogates), which JSON can carry, have no bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in password)


def _normalised(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


@cache
def _nobodys_hash() -> str:
    return _hashes.hash(os.urandom(32).hex())
