"""Puts jobs into the queue, which is procrastinate's."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from pgface.database.job_queue import entered_queue, require_procrastinate, require_queue
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import DatabaseError, SessionNeededError

if TYPE_CHECKING:
    from procrastinate import App

QUEUE: Final = "pgface"
TASK: Final = "pgface.run_job"


def require_session(home: Database) -> None:
    """Check that a worker can listen for jobs. A pooler in transaction mode would take its session away.

    Raises:
        SessionNeededError: there is a transaction pooler, and PGFACE_DIRECT_URL is not set.
        SettingsError: PGFACE_DIRECT_URL leads to another database.
        DatabaseError: PostgreSQL does not answer.

    """
    try:
        with home.dedicated_connection():
            pass
    except SessionNeededError:
        raise SessionNeededError(
            "A worker of jobs needs its own session, and a pooler is in between. "
            "Set PGFACE_DIRECT_URL to PostgreSQL itself."
        ) from None


def put(connection: psycopg.Connection, home_schema: str, schema_name: str, job_id: UUID) -> None:
    """Put a job into the queue, in the transaction of a connection.

    Args:
        connection: a connection to the default gallery's database.
        home_schema: the schema of the default gallery, whose queue it is.
        schema_name: the schema of the job's gallery.
        job_id: the job.

    Raises:
        SchemaMissingError: there is no queue, and this role may not create it.
        DatabaseError: PostgreSQL refused.

    """
    from procrastinate.exceptions import ConnectorException

    require_queue(connection, home_schema)
    with entered_queue(connection, home_schema):
        # One run of a job at a time.
        task = app().configure_task(TASK, queue=QUEUE, lock=str(job_id), connection=connection)
        try:
            task.defer(schema=schema_name, job=str(job_id))
        except ConnectorException as error:
            raise DatabaseError("The job could not be put into the queue.") from error


def put_back_lost(home: Database, home_schema: str) -> Collection[UUID]:
    """Put unfinished jobs that are not in the queue back into it, and return them.

    A worker that was taken for dead may have removed the job of another worker. A queue may be lost and created again.
    """
    with home.transaction() as connection:
        require_queue(connection, home_schema)
        unfinished = connection.execute(queries()["unfinished_jobs"]).fetchall()
        with entered_queue(connection, home_schema):
            queued = {job for (job,) in connection.execute(queries()["queued_jobs"]).fetchall()}
        lost = [(schema, job) for schema, job in unfinished if str(job) not in queued]
        for schema, job in lost:
            put(connection, home_schema, schema, job)
        return [job for _, job in lost]


def app() -> App:
    """Return an application of procrastinate that uses the connections it is given.

    Raises:
        PgfaceError: procrastinate is not installed.

    """
    require_procrastinate()
    from procrastinate import App, SyncPsycopgConnector

    return App(connector=SyncPsycopgConnector())
