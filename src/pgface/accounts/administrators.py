"""Administrators: users who may see and change all data of a gallery through the service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, scalar_row

from pgface.accounts.audit_log import Event, record
from pgface.accounts.client import Client
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.gallery.users import UserRef, get_user
from pgface.results import User


@dataclass(frozen=True, slots=True)
class Administrator:
    """A user who is an administrator."""

    id: int
    name: str
    email: str
    since: datetime
    all_galleries: bool = False
    """Whether they administer all galleries. Only for administrators of the default gallery."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "id": self.id,
            "name": self.name,
            "email": self.email,
            "since": self.since.isoformat(),
            "all_galleries": self.all_galleries,
        }


def add_administrator(database: Database, user: UserRef, client: Client, *, all_galleries: bool = False) -> User:
    """Make a user an administrator. The service's role has no right to do this.

    With `all_galleries`, the user of a default gallery administers also all galleries of its registry.

    Raises:
        UnknownUserError: there is no such user.

    """
    query = "add_administrator_of_all" if all_galleries else "add_administrator"
    return _change(database, query, "administrator added", user, client)


def remove_administrator(database: Database, user: UserRef, client: Client) -> User:
    """Make an administrator an ordinary user again. The service's role has no right to do this.

    Raises:
        UnknownUserError: there is no such user.

    """
    return _change(database, "remove_administrator", "administrator removed", user, client)


def administrator_rights(database: Database, user_id: int) -> tuple[bool, bool]:
    """Return whether this user is an administrator, and whether they administer all galleries."""
    found: list[bool] = database.read("administrator_rights", {"user_id": user_id}, row_factory=scalar_row)
    return bool(found), found == [True]


def list_administrators(database: Database) -> list[Administrator]:
    """List all administrators in the order of their ids."""
    return database.read("select_administrators", row_factory=class_row(Administrator))


def _change(database: Database, query: str, event: Event, user: UserRef, client: Client) -> User:
    with database.transaction() as connection:
        found = get_user(connection, user)
        if connection.execute(queries()[query], {"user_id": found.id}).fetchone() is not None:
            record(connection, event, client, user_id=found.id)
    return found
