"""Password hashes: argon2id for new passwords, and the hashes of a Flask application until their users log in.

The rules follow NIST SP 800-63B-4, section 3.1.1.2: a minimum length, no composition rules, normalised Unicode, and no
password that is easy to guess.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from threading import BoundedSemaphore
from typing import Final

import argon2
import bcrypt
from argon2.exceptions import Argon2Error
from argon2.low_level import hash_secret
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from zxcvbn import zxcvbn

from pgface.errors import WeakPasswordError
from pgface.system.forks import call_after_fork
from pgface.system.resources import usable_cores

MAX_LENGTH = 1_024
"""Characters. A longer password is refused before it is hashed."""
_MIN_SCORE = 3
"""The minimum of zxcvbn's scores, 0 to 4. A score of 3 means 10^8 guesses or more."""
_SCORED_CHARACTERS = 40
"""Characters of a password that zxcvbn scores. 40 symbols in place of letters took 0.05 s, and 72 took 3 s."""
_BCRYPT_BYTES = 72
"""bcrypt ignores the rest, and its library refuses longer passwords."""
_BCRYPT_SALT = 29
"""Characters of a bcrypt hash up to the end of its salt."""

_KIND: Final = re.compile(r"((scrypt|pbkdf2):[^$]+|\$2[abxy]\$[0-9]{2}|\$argon2[id]+\$v=[0-9]+\$[^$]+)")
"""The start of a hash, up to the `$` before its salt. It determines how long hashing takes."""
_REST_OF_DECOY: Final = {
    "scrypt:": "$decoy$00",
    "pbkdf2:": "$decoy$00",
    "$2": "$" + 53 * ".",
    "$argon2": "$" + 22 * "A" + "$" + 43 * "A",
}
"""The salt and the digest of a decoy hash, by the start of its kind. No known password matches it."""

# A hash takes 64 MB (RFC 9106, section 4, second choice), so only as many are computed at a time as there are cores.
_hashing_slots = BoundedSemaphore(usable_cores())


@call_after_fork
def _renew_semaphore() -> None:
    global _hashing_slots
    _hashing_slots = BoundedSemaphore(usable_cores())


_hashes = PasswordHash((Argon2Hasher(),))


def hash_password(password: str) -> str:
    """Compute the argon2id hash of a new password."""
    with _hashing_slots:
        return _hashes.hash(_normalised(password))


def prove(password: str, blank: str | None) -> list[str]:
    """Compute the hashes of which PostgreSQL has one if the password is correct. It compares them, and reveals none.

    Args:
        password: the password as it was typed.
        blank: the stored hash without its digest. For None, and for text that is not a hash, this takes as long as for
            a hash, and returns an empty list.

    Returns:
        The hash of the normalised password, and of the password as it was typed if it differs, because other programs
        may not have normalised it.

    """
    if len(password) > MAX_LENGTH or not _is_text(password):
        return []
    known = blank and kind_of(blank)
    compute = next(hasher for start, hasher in _HASHERS.items() if (known or "$argon2").startswith(start))
    forms = dict.fromkeys((_normalised(password), password))
    with _hashing_slots:
        made = [compute(form.encode(), blank if blank and known else _decoy_of_own_kind()) for form in forms]
    return [hashed for hashed in made if hashed is not None] if known else []


def renewed(password: str, proof: str) -> str | None:
    """Return a new hash if the stored one is not of the current kind, else None."""
    hasher = _hashes.current_hasher
    own = hasher.identify(proof) and not hasher.check_needs_rehash(proof)
    if own and (password == _normalised(password) or proof == prove(_normalised(password), proof)[0]):
        return None
    return hash_password(password)


def _argon2_of(password: bytes, blank: str) -> str | None:
    try:
        costs = argon2.extract_parameters(blank)
        salt = blank.split("$")[-2]
        made = hash_secret(
            password,
            base64.b64decode(salt + -len(salt) % 4 * "="),
            time_cost=costs.time_cost,
            memory_cost=costs.memory_cost,
            parallelism=costs.parallelism,
            hash_len=costs.hash_len,
            type=costs.type,
            version=costs.version,
        )
    except (Argon2Error, ValueError, binascii.Error):
        return None
    return made.decode()


def _bcrypt_of(password: bytes, blank: str) -> str | None:
    try:
        return bcrypt.hashpw(password[:_BCRYPT_BYTES], blank[:_BCRYPT_SALT].encode()).decode()
    except ValueError:
        return None


def _werkzeug_of(password: bytes, blank: str) -> str | None:
    """Hash as `werkzeug.security.generate_password_hash` does. werkzeug itself only compares with a known hash."""
    try:
        method, salt, _ = blank.split("$", 2)
        name, *costs = method.split(":")
        if name == "scrypt":
            n, r, p = map(int, costs or ("32768", "8", "1"))
            digest = hashlib.scrypt(password, salt=salt.encode(), n=n, r=r, p=p, maxmem=132 * n * r * p)
        else:
            # Old hashes do not name the iterations, so they cannot be checked.
            digest = hashlib.pbkdf2_hmac(costs[0], password, salt.encode(), int(costs[1]))
    except (ValueError, IndexError, MemoryError, OverflowError):
        return None
    return f"{method}${salt}${digest.hex()}"


_HASHERS: Final = {"$argon2": _argon2_of, "$2": _bcrypt_of, "scrypt": _werkzeug_of, "pbkdf2": _werkzeug_of}
"""The hash functions, by the start of a hash."""


def even_out(password: str, blank: str | None, kinds: Iterable[str]) -> None:
    """Take as long as a check of all other kinds of hashes. Call it after `prove` has failed.

    So every refusal takes the same time, whether the e-mail or the password is wrong, and whatever kind the user's hash
    is. This does real work instead of sleeping: a sleep would have to be longer than the slowest kind on a busy
    machine, and would block a thread of the service.

    Args:
        password: the password as it was typed.
        blank: the hash that `prove` used.
        kinds: the starts of the gallery's hashes, up to the `$` before their salt. Other texts are ignored.

    """
    own = own_kind()
    done = (blank and kind_of(blank)) or own
    for kind in sorted({own, *filter(_KIND.fullmatch, kinds)} - {done}):
        prove(password, decoy(kind))


def own_kind() -> str:
    """Return the kind of new hashes."""
    return kind_of(_decoy_of_own_kind())


def kind_of(hashed: str) -> str:
    """Return the start of a hash up to its salt, or an empty text if it is not a hash."""
    found = _KIND.match(hashed)
    return found[0] if found else ""


def decoy(kind: str) -> str:
    """Return a hash of this kind that matches no password, and takes as long as others of its kind."""
    return kind + next(rest for start, rest in _REST_OF_DECOY.items() if kind.startswith(start))


def require_good_password(password: str, *, least_length: int, personal: Sequence[str]) -> None:
    """Refuse a new password that is easy to guess.

    The number of guesses is estimated with zxcvbn (D. L. Wheeler, "zxcvbn: Low-Budget Password Strength Estimation",
    USENIX Security 2016), from lists of passwords, names and words, keyboard rows, sequences, repeats and dates.

    `personal` has texts that others know of the user, such as the name and the e-mail.

    Raises:
        WeakPasswordError: it is too short, too long, or too easy to guess.

    """
    if not _is_text(password):
        raise WeakPasswordError("This password contains characters that are not text. Choose another one.")
    if not least_length <= len(_normalised(password)) <= MAX_LENGTH:
        raise WeakPasswordError(
            f"A password has {least_length} to {MAX_LENGTH:,} characters. Several words are easier to remember."
        )
    own_words = [word for text in personal for word in (text, *re.split(r"[@.\s]+", text)) if word]
    if zxcvbn(_normalised(password)[:_SCORED_CHARACTERS], user_inputs=own_words)["score"] < _MIN_SCORE:
        raise WeakPasswordError("This password is too easy to guess. Choose several other words.")


def _is_text(password: str) -> bool:
    """Whether a password has no surrogates. JSON can contain them, and they cannot be encoded."""
    return not any("\ud800" <= character <= "\udfff" for character in password)


def _normalised(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


@cache
def _decoy_of_own_kind() -> str:
    return _hashes.hash(os.urandom(32).hex())
