"""A gallery that the service's role opens, which may not change the schema or the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgface.database.pool import connected
from pgface.database.roles import grant_service
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.citus import CITUS_URL

_numbers = count(1)


@contextmanager
def opened_as_service(settings: Settings) -> Iterator[Gallery]:
    """Open the gallery of the owner's settings with a new service role."""
    with service_role(settings) as of_service, Gallery.open(of_service) as gallery:
        yield gallery


@contextmanager
def service_role(settings: Settings) -> Iterator[Settings]:
    """Create a service role, whose name needs quotes, and yield its settings."""
    assert settings.database_url
    if CITUS_URL:
        yield as_role(settings, "")
        return
    with connected(settings) as connection:
        # A new name, because another service of the same gallery may run.
        role = f"Service {next(_numbers)} of {connection.info.dbname}"
        grant_service(connection, settings.schema_name, role)
    try:
        yield as_role(settings, role)
    finally:
        with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as owner:
            drop_role(owner, role)


def as_role(settings: Settings, role: str) -> Settings:
    """The same settings with another PostgreSQL user.

    On a cluster, the service is the owner, because Citus refuses changes by two users in one transaction.
    """
    assert settings.database_url
    if CITUS_URL:
        return settings
    url = make_conninfo(settings.database_url.get_secret_value(), user=role)
    values = settings.model_dump() | {"database_url": url}
    return Settings.model_validate({"PGFACE_SCHEMA": values.pop("schema_name")} | values)


def drop_role(owner: psycopg.Connection, role: str) -> None:
    """Drop a role and its privileges."""
    owner.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(role=sql.Identifier(role)))


def sql_as(settings: Settings, role: str) -> psycopg.Connection:
    """Connect as an attacker with the password of a role."""
    assert settings.database_url
    url = make_conninfo(settings.database_url.get_secret_value(), user=role)
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(settings.schema_name)))
    return connection
