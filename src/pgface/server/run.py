"""Running the service: in this process, or in several that behave as one."""

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
from pgface.server.sockets import Listening
from pgface.settings import Settings
from pgface.system.extras import how_to_install
from pgface.system.resources import usable_cores
from pgface.system.signals import termination_as_keyboard_interrupt

if TYPE_CHECKING:
    from uvicorn import Config

Announce = Callable[[str, str], None]
"""Called with the model's name and the URL, as soon as requests are taken."""

_FACTORY: Final = "pgface.server.app:create_app"
_PROTOCOL: Final = "pgface.server.connections:BoundedProtocol"
_MOST_CONNECTIONS: Final = 1_000
_PAUSE: Final = 0.5
_SILENCE: Final = 30
"""Seconds after which a process that says nothing is taken for dead; it may take some to begin on a busy machine."""


def prepare(settings: Settings) -> Gallery:
    """Open the gallery, and see that everything is there before anybody is served.

    The embedded PostgreSQL's gallery is made, or brought up to date. On a server of yours `pgface init` does that, as
    its owner: a service's role could not. What `deploy/init.sql` has just made, which has no model yet and holds
    nothing, is bound to PGFACE_MODEL if the role may.

    Raises:
        SchemaMissingError: there is no gallery, or an older one.
        ModelError: its model cannot be used here, or is not known; or PGFACE_LOGIN_POLICY needs a network against
            presentation attacks that is not installed.
        DatabaseUnreachableError: PostgreSQL does not answer within PGFACE_CONNECT_TIMEOUT.

    """
    with ExitStack() as undo:
        gallery = undo.enter_context(Gallery.create(settings) if settings.database_url is None else _opened(settings))
        _bind_if_new(gallery)
        require_enough_liveness(settings)
        gallery.engine  # noqa: B018 - loaded before the first request comes
        undo.pop_all()
    return gallery


def serve(listening: Listening, processes: int, settings: Settings, announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are answered first.

    Raises:
        SettingsError: the address cannot be had, or the certificate not be used.
        PgfaceError: as `prepare` says, or a package is missing.

    """
    with ExitStack() as kept, termination_as_keyboard_interrupt():
        metrics = kept.enter_context(tempfile.TemporaryDirectory(prefix="pgface-metrics-"))
        # Both are read when modules are imported, here and in the processes.
        workers = os.environ.get("PGFACE_WORKERS") or str(max(1, -(-usable_cores() // processes)))
        kept.enter_context(_variables({"PGFACE_WORKERS": workers, "PROMETHEUS_MULTIPROC_DIR": metrics}))
        create_app = _application()
        listening.require_usable_tls()
        sockets = kept.enter_context(listening.sockets())
        with ExitStack() as opened:
            gallery = opened.enter_context(prepare(settings))
            announce(gallery.engine.identity.name, listening.url(sockets[0].getsockname()[1]))
            if processes == 1:
                _run_here(_configuration(partial(create_app, gallery), listening, settings), sockets)
                return
        _run_in_several(_configuration(_FACTORY, listening, settings, workers=processes), sockets)


def _application() -> Callable[..., Any]:
    try:
        import uvicorn  # noqa: F401 - only whether it is there

        from pgface.server.app import create_app
    except ImportError as error:
        raise PgfaceError(
            f"The service needs the package {error.name}; install it with {how_to_install('server')}."
        ) from None
    return create_app


def _opened(settings: Settings) -> Gallery:
    """The gallery, after a moment if PostgreSQL is only just starting beside the service."""
    give_up = time.monotonic() + settings.connect_timeout
    while True:
        try:
            return Gallery.open(settings)
        except DatabaseUnreachableError:
            if time.monotonic() > give_up:
                raise
        time.sleep(_PAUSE)


def _bind_if_new(gallery: Gallery) -> None:
    if gallery.config.model_name is not None:
        return
    if gallery.status().embeddings:
        raise ModelNotInstalledError(
            "This gallery holds embeddings, and not which model they were made with; tell it by `pgface init --model`."
        )
    try:
        gallery.bind()
    except DatabaseAccessError:
        raise ModelNotInstalledError(
            "This gallery is not bound to a model yet, and the service's role may not do that; run `pgface init` as "
            "the gallery's owner."
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
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        timeout_worker_healthcheck=_SILENCE,
    )


def _run_here(configuration: Config, sockets: list[socket.socket]) -> None:
    from uvicorn import Server

    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # The terminal is closed: requests under way are answered first, as otherwise.
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        with suppress(KeyboardInterrupt):  # uvicorn's last act is the signal that ended it
            Server(configuration).run(sockets)
    except SystemExit:
        raise _not_started() from None


def _run_in_several(configuration: Config, sockets: list[socket.socket]) -> None:
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    several = Multiprocess(configuration, sockets)
    several.run()
    if any(process.exitcode == STARTUP_FAILURE for process in several.processes):
        raise _not_started()


def _not_started() -> PgfaceError:
    return PgfaceError("The service could not start; its log, above, says why.")


@contextmanager
def _variables(wanted: dict[str, str]) -> Iterator[None]:
    """Have environment variables for a while, and then those from before again."""
    before = {name: os.environ.pop(name, None) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
