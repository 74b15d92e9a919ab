"""The options that say where the service listens: `serve` and `healthcheck` take the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HostOption = Annotated[
    str,
    typer.Option(
        envvar="PGFACE_LISTEN_HOST",
        show_envvar=False,
        help="Address or name to listen at; 0.0.0.0 for every network. PGFACE_LISTEN_HOST sets another default.",
    ),
]
PortOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=65535,
        envvar="PGFACE_LISTEN_PORT",
        show_envvar=False,
        help="Port to listen at; 0 for one that is free. PGFACE_LISTEN_PORT sets another default.",
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PGFACE_CERTIFICATE",
        show_envvar=False,
        show_default=False,
        help="File with the certificate for https and those it was issued by (PEM); PGFACE_CERTIFICATE if not given.",
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PGFACE_CERTIFICATE_KEY",
        show_envvar=False,
        show_default=False,
        help="File with the certificate's key (PEM), if it is not in the same; PGFACE_CERTIFICATE_KEY if not given.",
    ),
]
HOST = "127.0.0.1"
PORT = 8000
