"""Runs the service in one process or several."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pgface.accounts.face_login import require_enough_liveness
from pgface.errors import (
    DatabaseAccessError,
    DatabaseUnreachableError,
    ModelNotInstalledError,
    PgfaceError,
)
from pgface.gallery import Gallery
from pgface.jobs.queue import require_session
from pgface.server.job_worker import worker_beside
from pgface.server.sockets import Listening
from pgface.settings import Settings
from pgface.system.extras import how_to_install
from pgface.system.resources import usable_cores
from pgface.system.signals import termination_as_keyboard_interrupt

if TYPE_CHECKING:
    from uvicorn import Config

Announce = Callable[[str, str], None]
"""A function that is called with the model's name and the URL when the service accepts requests."""

_FACTORY: Final = "pgface.server.app:create_app"
_PROTOCOL: Final = "pgface.server.connections:BoundedProtocol"
_MAX_CONNECTIONS: Final = 1_000
_RETRY_PAUSE: Final = 0.5
_WORKER_TIMEOUT: Final = 30
"""Seconds without a sign of life after which a process counts as dead. On a busy machine a process starts slowly."""


def prepare(settings: Settings) -> Gallery:
    """Open the gallery, and check that it is ready to serve.

    On the embedded PostgreSQL this creates or upgrades the gallery. On your own server, run `pgface init` as the owner,
    because the service's role may not do that. A new gallery without a model, such as one from `deploy/init.sql`, is
    bound to PGFACE_MODEL if the role permits it.

    Raises:
        SchemaMissingError: there is no gallery, or it is of an older version.
        ModelError: the model is unknown or cannot be used here, or PGFACE_LOGIN_POLICY needs a network against
            presentation attacks that is not installed.
        DatabaseUnreachableError: PostgreSQL does not answer within PGFACE_CONNECT_TIMEOUT.
        SettingsError: PGFACE_READ_URL leads to another database.

    """
    with ExitStack() as undo:
        opened = Gallery.create(settings) if settings.database_url is None else _open_gallery(settings)
        gallery = undo.enter_context(opened)
        _bind_if_new(gallery)
        gallery.database.open_replicas()
        require_enough_liveness(settings)
        gallery.engine  # noqa: B018 - load the model before the first request
        undo.pop_all()
    return gallery


def serve(listening: Listening, processes: int, settings: Settings, announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM. Running requests are finished first.

    Raises:
        SettingsError: the address or the certificate cannot be used.
        SessionNeededError: PGFACE_JOBS is set, and a worker could not listen for jobs.
        PgfaceError: a package is missing, or an error of `prepare`.

    """
    with ExitStack() as kept, termination_as_keyboard_interrupt():
        metrics = kept.enter_context(tempfile.TemporaryDirectory(prefix="pgface-metrics-"))
        # Modules read these variables when they are imported, here and in the worker processes.
        workers = os.environ.get("PGFACE_WORKERS") or str(max(1, -(-usable_cores() // processes)))
        doors = {
            "PGFACE_COMPREFACE": str(settings.compreface),
            "PGFACE_REKOGNITION": str(settings.rekognition),
        }
        kept.enter_context(_variables({"PGFACE_WORKERS": workers, "PROMETHEUS_MULTIPROC_DIR": metrics} | doors))
        create_app = _application()
        listening.require_usable_tls()
        sockets = kept.enter_context(listening.sockets())
        with ExitStack() as opened:
            gallery = opened.enter_context(prepare(settings))
            if settings.jobs:
                with suppress(DatabaseUnreachableError):  # the worker tries again
                    require_session(gallery.database)
                kept.enter_context(worker_beside(settings))
            announce(gallery.engine.identity.name, listening.url(sockets[0].getsockname()[1]))
            if processes == 1:
                _run_here(_configuration(partial(create_app, gallery), listening, settings), sockets)
                return
        _run_in_several(_configuration(_FACTORY, listening, settings, workers=processes), sockets)


def _application() -> Callable[..., Any]:
    try:
        import uvicorn  # noqa: F401 - whether it is installed

        from pgface.server.app import create_app
    except ImportError as error:
        raise PgfaceError(
            f"The service needs the package {error.name}. Install it with {how_to_install('server')}."
        ) from None
    return create_app


def _open_gallery(settings: Settings) -> Gallery:
    """Open the gallery. If PostgreSQL starts together with the service, it may need some seconds."""
    give_up = time.monotonic() + settings.connect_timeout
    while True:
        try:
            return Gallery.open(settings)
        except DatabaseUnreachableError:
            if time.monotonic() > give_up:
                raise
        time.sleep(_RETRY_PAUSE)


def _bind_if_new(gallery: Gallery) -> None:
    if gallery.config.model_name is not None:
        return
    if gallery.status().embeddings:
        raise ModelNotInstalledError(
            "The model of this gallery's embeddings is not known. Set it with `pgface init --model`."
        )
    try:
        gallery.bind()
    except DatabaseAccessError:
        raise ModelNotInstalledError(
            "This gallery is not bound to a model yet, and the service's role has no right to bind it. Run `pgface "
            "init` as the gallery's owner."
        ) from None


def _configuration(
    app: Callable[..., Any] | str, listening: Listening, settings: Settings, *, workers: int = 1
) -> Config:
    from uvicorn import Config

    from pgface.server.logs import configuration

    return Config(
        app,
        factory=True,
        http=_PROTOCOL,
        workers=workers,
        ssl_certfile=listening.certificate,
        ssl_keyfile=listening.key,
        access_log=False,
        log_config=configuration(),
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        timeout_worker_healthcheck=_WORKER_TIMEOUT,
    )


def _run_here(configuration: Config, sockets: list[socket.socket]) -> None:
    from uvicorn import Server

    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # The terminal was closed. Finish running requests first, as for SIGTERM.
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        with suppress(KeyboardInterrupt):  # uvicorn raises again the signal that ended it
            Server(configuration).run(sockets)
    except SystemExit:
        raise _not_started() from None


def _run_in_several(configuration: Config, sockets: list[socket.socket]) -> None:
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    class Supervisor(Multiprocess):
        def keep_subprocess_alive(self) -> None:
            for process in self.processes:
                # Only the worker keeps this end of the pipe. Otherwise the pipe would stay open when the worker is
                # killed. The supervisor would wait for its answer until the timeout, and handle no signal meanwhile.
                process.child_conn.close()
            super().keep_subprocess_alive()

    several = Supervisor(configuration, sockets)
    several.run()
    if any(process.exitcode == STARTUP_FAILURE for process in several.processes):
        raise _not_started()


def _not_started() -> PgfaceError:
    return PgfaceError("The service could not start. Its log above says why.")


@contextmanager
def _variables(wanted: dict[str, str]) -> Iterator[None]:
    """Set environment variables, and restore them at the end."""
    before = {name: os.environ.pop(name, None) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
