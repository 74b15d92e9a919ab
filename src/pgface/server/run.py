"""Running the service: in this process, or in several that behave as one."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Final

from pgface.errors import SettingsError
from pgface.gallery import Gallery
from pgface.settings import Settings

_FACTORY: Final = "pgface.server.app:create_app"
_MOST_CONNECTIONS: Final = 1_000
_GRACE: Final = 60
"""Seconds for requests under way when the service is to end."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the service listens, and in how many processes."""

    host: str
    port: int
    processes: int = 1


def prepare(settings: Settings) -> str:
    """See that everything is there before anybody is served; returns the model's name.

    The embedded PostgreSQL's gallery is made, or brought up to date. On a server of yours `pgface init` does that, as
    its owner: a service's role could not.

    Raises:
        SchemaMissingError: there is no gallery, or an older one.
        ModelError: its model cannot be used here.

    """
    with Gallery.create(settings) if settings.database_url is None else Gallery.open(settings) as gallery:
        return gallery.engine.identity.name


def serve(listening: Listening, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are answered first.

    Raises:
        SettingsError: the port cannot be had.

    """
    with tempfile.TemporaryDirectory(prefix="pgface-metrics-") as folder:
        # Both are read when modules are imported, here and in the processes.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        _share_cores(listening.processes)
        import uvicorn

        from pgface.server.logs import configuration

        try:
            uvicorn.run(
                _FACTORY,
                factory=True,
                host=listening.host,
                port=listening.port,
                workers=listening.processes,
                access_log=False,
                log_config=configuration(),
                server_header=False,
                forwarded_allow_ips=settings.trusted_proxies,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE,
            )
        except OSError as error:
            raise SettingsError(
                f"The port {listening.port} of {listening.host} cannot be had ({error.strerror}); choose another one."
            ) from None


def _share_cores(processes: int) -> None:
    cores = os.cpu_count() or 1
    os.environ.setdefault("PGFACE_WORKERS", str(max(1, -(-cores // processes))))
