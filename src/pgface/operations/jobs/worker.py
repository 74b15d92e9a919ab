"""Takes jobs from the queue, one after another.

procrastinate runs the queue. A worker gives a sign of life every few seconds. When it has given none for
PGFACE_JOB_STALLED_SECONDS, another worker puts its job back into the queue and continues it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pgface.database.job_queue import install_queue, queue_schema, require_procrastinate, require_queue
from pgface.database.pool import Database, connected
from pgface.errors import DatabaseAccessError
from pgface.faces.engines.inference import running_calls
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from pgface.jobs.queue import QUEUE, TASK, put_back_lost, require_session
from pgface.operations.jobs.run import TRY_AGAIN, StopRequestedError, run_job
from pgface.settings import Settings

if TYPE_CHECKING:
    import psycopg
    from procrastinate import App, JobContext

_SIGNS_OF_LIFE: Final = 3
"""How many signs of life must be missing before a worker counts as dead."""
_PAUSE: Final = 2.0
"""Seconds before another attempt when PostgreSQL does not answer."""
_CONNECTIONS: Final = 3
"""One listens for jobs. The others take a job, end it, and give signs of life."""

_log = logging.getLogger(__name__)

Announce = Callable[[], None]


def run_worker(settings: Settings, announce: Announce, *, until_idle: bool = False) -> None:
    """Run jobs until SIGINT or SIGTERM. The photo that is being processed is finished first.

    Args:
        settings: the default gallery, whose queue it is.
        announce: called when the worker takes jobs.
        until_idle: end when no job waits.

    Raises:
        SchemaMissingError: there is no gallery or no queue, and this role may not create one.
        SessionNeededError, SettingsError: as for `require_session`.
        DatabaseError: PostgreSQL does not answer at the start.
        PgfaceError: procrastinate is not installed.

    """
    require_procrastinate()
    settings = settings.model_copy(update={"workers": 1})
    _prepare_queue(settings)
    with Galleries.open(settings) as galleries, running_calls.one():
        require_session(galleries.default.database)
        # The call that is counted here keeps the networks of a job on one core.
        asyncio.run(_run(galleries, settings, announce, until_idle=until_idle))


def _prepare_queue(settings: Settings) -> None:
    with connected(settings) as connection:
        try:
            install_queue(connection, settings.schema_name)
        except DatabaseAccessError:  # a role of the service may only use an existing one
            with connection.transaction():
                require_queue(connection, settings.schema_name)


async def _run(galleries: Galleries, settings: Settings, announce: Announce, *, until_idle: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    announced = False
    while not stopped.is_set():
        try:
            async with _opened(galleries, settings, stopped) as app:
                if not announced:
                    announce()
                announced = True
                await _take_jobs(app, settings, stopped, until_idle=until_idle)
            if until_idle:
                return
        except Exception as error:  # PostgreSQL does not answer. procrastinate has errors of its own for that.
            _log.warning("The queue cannot be reached, and the worker tries again.", extra={"failure": str(error)})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), _PAUSE)


async def _take_jobs(app: App, settings: Settings, stopped: asyncio.Event, *, until_idle: bool) -> None:
    """Take jobs until the worker is to stop, or until PostgreSQL does not answer."""
    seconds = settings.job_stalled_seconds
    taking = asyncio.create_task(
        app.run_worker_async(
            queues=[QUEUE],
            wait=not until_idle,
            fetch_job_polling_interval=min(5.0, seconds),
            install_signal_handlers=False,
            shutdown_graceful_timeout=0.0,  # the job is told to stop at once, and then ends its photo
            update_heartbeat_interval=seconds / _SIGNS_OF_LIFE,
            stalled_worker_timeout=seconds,
            delete_jobs="always",
        )
    )
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait([taking, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not taking.done():
        taking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await taking


@asynccontextmanager
async def _opened(galleries: Galleries, settings: Settings, stopped: asyncio.Event) -> AsyncIterator[App]:
    from procrastinate import App, PsycopgConnector

    home = galleries.default.database

    async def enter(connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(
            "SELECT set_config('search_path', quote_ident(%s) || ', pg_temp', false)",
            (queue_schema(settings.schema_name),),
        )
        await connection.commit()

    connector = PsycopgConnector(
        conninfo=home.direct_url,
        kwargs={"application_name": "pgface worker", "prepare_threshold": None},
        configure=enter,
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=settings.connect_timeout,
    )
    app = App(connector=connector)
    _add_task(app, galleries, stopped)
    async with app.open_async():
        await _recover(app, home, settings)
        recovering = asyncio.create_task(_recover_regularly(app, home, settings))
        try:
            yield app
        finally:
            recovering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await recovering


def _add_task(app: App, galleries: Galleries, stopped: asyncio.Event) -> None:
    from procrastinate import RetryStrategy
    from procrastinate.exceptions import JobAborted

    retry = RetryStrategy(retry_exceptions=[JobAborted, *TRY_AGAIN])

    @app.task(name=TASK, pass_context=True, retry=retry)
    def run(context: JobContext, schema: str, job: str) -> None:
        gallery = _gallery_of(galleries, schema)
        if gallery is None:  # it was deleted, with its jobs
            return
        try:
            run_job(gallery, UUID(job), lambda: stopped.is_set() or context.should_abort())
        except StopRequestedError:
            raise JobAborted from None


def _gallery_of(galleries: Galleries, schema: str) -> Gallery | None:
    if schema == galleries.default.settings.schema_name:
        return galleries.default
    name = next((info.name for info in galleries.list_without_sizes() if info.schema_name == schema), None)
    return None if name is None else galleries[name]


async def _recover_regularly(app: App, home: Database, settings: Settings) -> None:
    while True:
        await asyncio.sleep(settings.job_stalled_seconds / _SIGNS_OF_LIFE)
        try:
            await _recover(app, home, settings)
        except Exception as error:  # the next run tries again
            _log.warning("Stalled jobs could not be looked for.", extra={"failure": str(error)})


async def _recover(app: App, home: Database, settings: Settings) -> None:
    """Put jobs of dead workers back into the queue, and those that the queue has lost."""
    from procrastinate.exceptions import ConnectorException

    stalled = await app.job_manager.get_stalled_jobs(
        task_name=TASK, seconds_since_heartbeat=settings.job_stalled_seconds
    )
    for job in stalled:
        with contextlib.suppress(ConnectorException):  # another worker was faster
            await app.job_manager.retry_job(job)
            _log.info("A job of a stopped worker continues.", extra={"job": job.task_kwargs.get("job")})
    await asyncio.to_thread(put_back_lost, home, settings.schema_name)
