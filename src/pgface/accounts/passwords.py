"""Passwords: argon2id for new ones, and those that a Flask application left behind until their owners log in.

Rules after NIST SP 800-63B-4, section 3.1.1.2: a least length, no rules of composition, Unicode normalised, and none
that others would try first.
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

LONGEST = 1_024
"""Characters; more are refused before they cost a hash."""
_GUESSABLE = 3
"""The least of zxcvbn's scores, 0 to 4, that is accepted: it stands for 10^8 guesses or more."""
_JUDGED = 40
"""Characters of a password that zxcvbn looks at. Of 40 signs that stand for letters it took 0.05 s, of 72 it took 3."""
_BCRYPT_BYTES = 72
"""bcrypt never looked further, and its library now refuses more."""
_BCRYPT_SALT = 29
"""Characters of a hash up to the end of its salt."""

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


_hashes = PasswordHash((Argon2Hasher(),))


def hash_password(password: str) -> str:
    """The argon2id hash of a new password."""
    with _at_once:
        return _hashes.hash(_normalised(password))


def prove(password: str, blank: str | None) -> list[str]:
    """What the stored hash is if the password is right; the database compares, and never tells it.

    Args:
        password: as it was typed.
        blank: the stored hash without its digest; None for an account that is not there, and any text that is no hash,
            take the time that a hash takes, and give nothing.

    Returns:
        One hash, or two where other programs may not have normalised the password, the normalised one first.

    """
    if len(password) > LONGEST or not _is_text(password):
        return []
    known = blank and kind_of(blank)
    compute = next(made for beginning, made in _MADE.items() if (known or "$argon2").startswith(beginning))
    forms = dict.fromkeys((_normalised(password), password))
    with _at_once:
        made = [compute(form.encode(), blank if blank and known else _nobodys_hash()) for form in forms]
    return [hashed for hashed in made if hashed is not None] if known else []


def renewed(password: str, proof: str) -> str | None:
    """A hash to replace the stored one by, if that is not as pgface makes them now."""
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
    """As `werkzeug.security.generate_password_hash` makes it; its own function compares with a hash that one has."""
    try:
        method, salt, _ = blank.split("$", 2)
        name, *costs = method.split(":")
        if name == "scrypt":
            n, r, p = map(int, costs or ("32768", "8", "1"))
            digest = hashlib.scrypt(password, salt=salt.encode(), n=n, r=r, p=p, maxmem=132 * n * r * p)
        else:
            # Old hashes name no iterations: what werkzeug took then is not known.
            digest = hashlib.pbkdf2_hmac(costs[0], password, salt.encode(), int(costs[1]))
    except (ValueError, IndexError, MemoryError, OverflowError):
        return None
    return f"{method}${salt}${digest.hex()}"


_MADE: Final = {"$argon2": _argon2_of, "$2": _bcrypt_of, "scrypt": _werkzeug_of, "pbkdf2": _werkzeug_of}
"""By how a hash begins."""


def even_out(password: str, blank: str | None, kinds: Iterable[str]) -> None:
    """After `prove` has failed, take the time of the other kinds of hashes as well.

    So every refusal takes the sum of all kinds, whether nobody has the e-mail or the password is wrong, and whatever
    the user's hash is. A sum of real work and not a sleep until some moment: that would have to be longer than the
    slowest kind on the busiest day, and hold a thread of the service all the while.

    Args:
        password: as it was typed.
        blank: what it was compared with.
        kinds: how the gallery's hashes begin, up to the `$` before their salt; others than hashes are passed over.

    """
    own = own_kind()
    done = (blank and kind_of(blank)) or own
    for kind in sorted({own, *filter(_KIND.fullmatch, kinds)} - {done}):
        prove(password, decoy(kind))


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
