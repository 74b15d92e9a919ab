"""Reads and checks the files of an old installation, before anything is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pgface.accounts.tokens import token_hash
from pgface.errors import MigrationError
from pgface.faces.engines.lift import DESCRIPTOR_DIMENSION, DLIB_GAMMA, lift
from pgface.gallery.attributes import Attributes
from pgface.gallery.users import UNUSABLE_PASSWORD, is_email
from pgface.operations.legacy.labels import read_owners, user_id
from pgface.operations.legacy.problems import Problem, row_problems
from pgface.operations.legacy.sqlite import OldTables, Row, read_sqlite
from pgface.operations.legacy.values import parse_bool, parse_date, parse_dimension, parse_number, parse_text
from pgface.operations.legacy.vectors import open_vectors, vector_problems
from pgface.text import cleaned, is_visible, same_email, shown
from pgface.vectors import EMBEDDING_DIMENSION, unit_embeddings

Value = TypeVar("Value")

_MAX_TEXT_LENGTH = 255
"""The length of the specification's VARCHAR columns, in characters."""


@dataclass(frozen=True, slots=True)
class OldUser:
    """A row of `users`. Columns that the old table does not have get defaults."""

    id: int
    name: str
    email: str
    password: str
    created_at: datetime | None
    attributes: Attributes = field(default_factory=Attributes)
    is_person: bool = True


@dataclass(frozen=True, slots=True)
class OldPhoto:
    """A row of `photos`."""

    id: int
    user_id: int
    filename: str
    filepath: str
    width: int | None
    height: int | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class OldToken:
    """A row of `auth_tokens`, with the token's hash instead of the token."""

    id: int
    user_id: int
    token_hash: str
    confidence: float
    created_at: datetime | None
    expires_at: datetime | None
    is_active: bool


@dataclass(frozen=True, slots=True, eq=False)
class OldInstallation:
    """The data to migrate, and its problems."""

    users: tuple[OldUser, ...]
    photos: tuple[OldPhoto, ...]
    tokens: tuple[OldToken, ...]
    owners: NDArray[np.int32]
    """The user id of each embedding, shape (n,)."""
    vectors: NDArray[Any]
    """The embeddings with any norm, shape (n, 512), mapped from the file. dlib's descriptors have shape (n, 128)."""
    left_out: tuple[str, ...]
    """Columns and tables that are not migrated, because a gallery has no such columns and tables."""
    problems: tuple[Problem, ...]
    as_they_are: bool = False
    """Whether the vectors come from a gallery, and are written unchanged."""

    @property
    def are_descriptors(self) -> bool:
        """Whether the vectors are descriptors of dlib, as the package `face_recognition` stores them."""
        return bool(self.vectors.shape[1] == DESCRIPTOR_DIMENSION)

    def embeddings(self, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Return some embeddings as the gallery stores them, shape (n, 512)."""
        vectors = self.vectors[rows]
        if self.are_descriptors:  # one by one, so that the last bits do not depend on the other rows
            return np.array([lift(descriptor, DLIB_GAMMA) for descriptor in vectors]).reshape(-1, EMBEDDING_DIMENSION)
        first = rows.start if isinstance(rows, slice) else 0
        return np.asarray(vectors) if self.as_they_are else unit_embeddings(vectors, first_row=first)

    def photo_of_each(self) -> NDArray[np.int32]:
        """Return the photo id of each embedding, shape (n,). It is known if its user has one photo and one embedding.

        An unknown id is 0.
        """
        photos_of_users = Counter(photo.user_id for photo in self.photos)
        single_photos = {photo.user_id: photo.id for photo in self.photos if photos_of_users[photo.user_id] == 1}
        users, rows, counts = np.unique(self.owners, return_index=True, return_counts=True)
        linked = np.zeros(len(self.owners), np.int32)
        linked[rows[counts == 1]] = [single_photos.get(user, 0) for user in users[counts == 1].tolist()]
        return linked


def read_installation(
    *, sqlite: Path | None = None, npy: Path | None = None, json: Path | None = None
) -> OldInstallation:
    """Read and check the files of an old installation, without changing them.

    Args:
        sqlite: the database. Without it, the users are those in the JSON file.
        npy: the embeddings. Without it, only users, photos and tokens are migrated.
        json: the user of each embedding.

    Raises:
        MigrationError: a file cannot be read, or has another format. `problems` has the problems of single rows.

    """
    if (sqlite is None and npy is None) or (npy is None) != (json is None):
        raise MigrationError("Give `sqlite`, or `npy` and `json` together, or all three.")
    vectors: NDArray[Any] = np.empty((0, 512), np.float32)
    owners = np.empty(0, np.int32)
    problems: list[Problem] = []
    if npy is not None and json is not None:
        vectors = open_vectors(npy, (EMBEDDING_DIMENSION, DESCRIPTOR_DIMENSION))
        owners, wrong_ids = read_owners(json)
        problems += wrong_ids + vector_problems(npy, vectors)
        if len(owners) != len(vectors):
            problems.append(
                Problem(
                    f"{npy.name} has {len(vectors):,} rows, but {json.name} names {len(owners):,} users. "
                    "Give two files that were written at the same time."
                )
            )
    if sqlite is None:
        users = tuple(_unnamed(int(number)) for number in np.unique(owners[owners > 0]))
        return OldInstallation(users, (), (), owners, vectors, (), tuple(problems))
    tables = read_sqlite(sqlite)
    read = _TableReader(tables, sqlite.name)
    if json is not None:
        problems += _unknown_users(owners, {user.id for user in read.users}, json.name)
    return OldInstallation(
        tuple(read.users),
        tuple(read.photos),
        tuple(read.tokens),
        owners,
        vectors,
        tables.left_out,
        (*problems, *read.problems),
    )


def _unnamed(number: int) -> OldUser:
    # The domain `.invalid` is reserved and never exists (RFC 2606).
    return OldUser(number, f"User {number}", f"user-{number}@legacy.invalid", UNUSABLE_PASSWORD, None)


def _unknown_users(owners: NDArray[np.int32], known: set[int], file: str) -> list[Problem]:
    unknown = [row for row in np.flatnonzero(~np.isin(owners, list(known))).tolist() if owners[row] > 0]
    return row_problems(
        f"{file}: {{count}} rows belong to users that are not in the SQLite file. Delete them, and their embeddings.",
        (f"row {row}: user {owners[row]}" for row in unknown),
    )


class _TableReader:
    """Converts the rows of the tables, and collects their problems."""

    def __init__(self, tables: OldTables, file: str) -> None:
        self._file = file
        self._wrong: dict[str, list[str]] = defaultdict(list)
        self.users = [user for row in tables.users if (user := self._user(row))]
        known = {user.id for user in self.users}
        self.photos = [photo for row in tables.photos if (photo := self._photo(row, known))]
        self.tokens = [
            token for number, row in enumerate(tables.auth_tokens, 1) if (token := self._token(row, number, known))
        ]
        self._find_same_emails()
        self._find_same_tokens()

    @property
    def problems(self) -> list[Problem]:
        """All problems, with their rows."""
        return [
            problem for what, rows in self._wrong.items() for problem in row_problems(f"{self._file}: {what}", rows)
        ]

    def _user(self, row: Row) -> OldUser | None:
        where = f"users {row['id']}"
        number = self._id(row["id"], where)
        created_at = self._parsed(row, "created_at", where, parse_date)
        email = self._text(row, "email", where)
        if number is None:
            return None
        if email and not is_email(email):
            self._wrong["{count} e-mails are not valid. Correct them in a copy."].append(f"{where}: {email[:80]!r}")
        unnamed = _unnamed(number)
        name = self._name(row, where) or (email.split("@")[0] if email else unnamed.name)
        password = self._text(row, "password", where) or UNUSABLE_PASSWORD
        return OldUser(number, name, email or unnamed.email, password, created_at)

    def _name(self, row: Row, where: str) -> str:
        """Clean a name as enrollment does. NULL is an empty name."""
        name = cleaned(self._text(row, "name", where))
        if not is_visible(name):
            what = "names contain control characters or direction overrides"
            self._wrong[f"{{count}} {what}. Correct them in a copy."].append(f"{where}, name: {shown(name)[:80]!r}")
            return ""
        return name

    def _photo(self, row: Row, known: set[int]) -> OldPhoto | None:
        where = f"photos {row['id']}"
        number, owner = self._id(row["id"], where), self._owner(row["user_id"], where, known)
        created_at = self._parsed(row, "created_at", where, parse_date)
        filepath = self._text(row, "filepath", where, longest=None)
        filename = self._text(row, "filename", where)
        width, height = (self._parsed(row, name, where, parse_dimension) for name in ("width", "height"))
        if number is None or owner is None:
            return None
        name = filename or Path(filepath).name or f"photo-{number}"
        return OldPhoto(number, owner, name, filepath or name, width, height, created_at)

    def _token(self, row: Row, place: int, known: set[int]) -> OldToken | None:
        row = {"id": place, "is_active": True} | row
        where = f"auth_tokens {row['id']}"
        number, owner = self._id(row["id"], where), self._owner(row["user_id"], where, known)
        created_at = self._parsed(row, "created_at", where, parse_date)
        expires_at = self._parsed(row, "expires_at", where, parse_date)
        confidence = self._parsed(row, "confidence", where, parse_number)
        is_active = self._parsed(row, "is_active", where, parse_bool)
        hashed = self._token_hash(row["token"], where)
        if number is None or owner is None or hashed is None or is_active is None:
            return None
        return OldToken(number, owner, hashed, confidence or 0.0, created_at, expires_at, is_active)

    def _token_hash(self, value: Any, where: str) -> str | None:
        if value in (None, "", b""):
            self._wrong["{count} tokens are empty. Delete them from a copy."].append(where)
            return None
        try:
            if isinstance(value, str | bytes):
                return token_hash(value.decode() if isinstance(value, bytes) else value)
        except UnicodeError:
            pass
        self._wrong["{count} tokens are not text. Delete them from a copy."].append(where)
        return None

    def _id(self, value: Any, where: str) -> int | None:
        number = user_id(value)
        if number is None:
            self._wrong["{count} ids are not whole numbers from 1 to 2147483647. Correct them in a copy."].append(where)
        return number

    def _owner(self, value: Any, where: str, known: set[int]) -> int | None:
        owner = user_id(value)
        if owner not in known:
            self._wrong["{count} rows belong to users that do not exist. Delete them from a copy."].append(
                f"{where}: user {value}"
            )
            return None
        return owner

    def _text(self, row: Row, column: str, where: str, *, longest: int | None = _MAX_TEXT_LENGTH) -> str:
        try:
            found = parse_text(row.get(column))
        except ValueError:
            found = None
        if found is None or (longest is not None and len(found) > longest):
            self._wrong[
                f"{{count}} texts are longer than {_MAX_TEXT_LENGTH} characters or not UTF-8. Correct them in a copy."
            ].append(f"{where}, {column}")
            return ""
        return found

    def _parsed(self, row: Row, column: str, where: str, parse: Callable[[Any], Value]) -> Value | None:
        value = row.get(column)
        try:
            return parse(value)
        except (ValueError, OverflowError):
            is_date = parse is parse_date
            what = "dates have an unknown format" if is_date else "numbers or booleans cannot be read"
            self._wrong[f"{{count}} {what}. Correct them in a copy."].append(f"{where}, {column}: {str(value)[:40]!r}")
            return None

    def _find_same_emails(self) -> None:
        by_email: dict[str, list[OldUser]] = defaultdict(list)
        for user in self.users:
            by_email[same_email(user.email)].append(user)
        self._wrong["{count} e-mails belong to several users, ignoring case. Merge these users in a copy."] += [
            f"{email}: users {', '.join(str(user.id) for user in users)}"
            for email, users in by_email.items()
            if len(users) > 1
        ]

    def _find_same_tokens(self) -> None:
        by_hash: dict[str, list[int]] = defaultdict(list)
        for token in self.tokens:
            by_hash[token.token_hash].append(token.id)
        self._wrong["{count} tokens are duplicates. Delete one of each from a copy."] += [
            f"auth_tokens {', '.join(map(str, ids))}" for ids in by_hash.values() if len(ids) > 1
        ]
