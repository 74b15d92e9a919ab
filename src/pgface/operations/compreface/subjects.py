"""Adds the subjects of a CompreFace service to a gallery, as users."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import GalleryError, MigrationError
from pgface.gallery.users import UNUSABLE_PASSWORD, clean_name
from pgface.operations.compreface.report import ServiceReport
from pgface.operations.compreface.source import Service, Source, Subject
from pgface.text import counted, shown


@dataclass(frozen=True, slots=True)
class NewUser:
    """The user that a subject becomes."""

    subject_id: UUID
    external_id: str
    """The subject's name, cleaned. Its id if the name cannot be shown."""
    name: str

    @property
    def email(self) -> str:
        """An address in the reserved domain. It contains the subject's id, so another run finds a renamed subject."""
        return f"{self.subject_id}@compreface.invalid"


@dataclass(slots=True)
class SubjectUsers:
    """The subjects of a service, with their users' ids."""

    ids: dict[UUID, int] = field(default_factory=dict)
    """The gallery's ids of users. A dry run has only those that exist."""
    names: dict[UUID, str] = field(default_factory=dict)
    """The names of the subjects, for the report."""


def require_merge_or_own_users(database: Database, source: Source, service: Service) -> None:
    """Check that the gallery has no users other than this service's subjects.

    Raises:
        MigrationError: it has. Then the caller has to allow it.

    """
    with database.transaction() as connection:
        ((users,),) = connection.execute(queries()["count_users"]).fetchall()
        if not users:
            return
        known: set[int] = set()
        for page in source.subjects(service):
            known.update(_find(connection, [user_of(subject) for subject in page]).values())
    if others := users - len(known):
        raise MigrationError(
            f"The gallery is not empty, and {counted(others, 'of its users is', 'of its users are')} not a subject of "
            f"{shown(service.title)}. Use `merge=True` to add the subjects to them, or choose another gallery with "
            "PGFACE_SCHEMA. Nothing was written."
        )


def move_subjects(
    database: Database | None, source: Source, service: Service, report: ServiceReport, *, dry_run: bool
) -> SubjectUsers:
    """Add the subjects that are not in the gallery yet, a page in each transaction.

    Args:
        database: the gallery. None if a dry run has none.
        source: CompreFace's tables.
        service: the service whose subjects are added.
        report: gets the counts and the odd names.
        dry_run: only look for the users that exist.

    Raises:
        DatabaseError: the users cannot be written. Those of earlier pages stay.

    """
    users = SubjectUsers()
    same = source.same_subjects(service)
    report.same_subjects = len(same)
    for page in source.subjects(service):
        users.names |= {subject.id: subject.name for subject in page}
        wanted = [user_of(subject) for subject in page if subject.id not in same]
        report.odd_names += [
            f"{shown(subject.name)!r} is now {user.name}"
            for subject in page
            if (user := user_of(subject)).name != unicodedata.normalize("NFC", subject.name)
        ]
        with _transaction(database) as connection:
            found = _find(connection, wanted)
            new = [user for user in wanted if user.subject_id not in found]
            report.new_subjects += len(new)
            if new and connection is not None and not dry_run:
                connection.execute(queries()["add_migrated_subjects"], _columns(new) | {"password": UNUSABLE_PASSWORD})
                found = _find(connection, wanted)
            users.ids |= found
    users.ids |= {other: users.ids[first] for other, first in same.items() if first in users.ids}
    return users


def user_of(subject: Subject) -> NewUser:
    """Return the user that a subject becomes. A name that cannot be shown is replaced by the subject's id."""
    try:
        name = clean_name(subject.name)
    except GalleryError:
        return NewUser(subject.id, str(subject.id), f"Subject {subject.id}")
    return NewUser(subject.id, name, name)


@contextmanager
def _transaction(database: Database | None) -> Iterator[psycopg.Connection[Any] | None]:
    if database is None:
        yield None
        return
    with database.transaction() as connection:
        yield connection


def _find(connection: psycopg.Connection[Any] | None, users: Sequence[NewUser]) -> dict[UUID, int]:
    """Return the gallery's ids of the users that exist."""
    if connection is None or not users:
        return {}
    columns = _columns(users)
    rows = connection.execute(queries()["find_migrated_subjects"], columns).fetchall()
    by_email = {email: number for number, email, _ in rows}
    by_name: dict[str, int] = {}
    for number, _, name in rows:
        by_name.setdefault(name, number)
    lowered = connection.execute(queries()["lower_names"], columns).fetchall()
    found = {
        user.subject_id: by_email.get(user.email, by_name.get(name))
        for user, (name,) in zip(users, lowered, strict=True)
    }
    return {subject: number for subject, number in found.items() if number is not None}


def _columns(users: Sequence[NewUser]) -> dict[str, Any]:
    return {
        "names": [user.name for user in users],
        "emails": [user.email for user in users],
        "external_ids": [user.external_id for user in users],
    }
