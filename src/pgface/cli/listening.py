"""The options for the service's address, which `serve` and `healthcheck` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HostOption = Annotated[
    str,
    typer.Option(
        envvar="PGFACE_LISTEN_HOST",
        show_envvar=False,
        metavar="ADDRESS",
        help="Address or name to listen on. 0.0.0.0 is every network. PGFACE_LISTEN_HOST sets another default.",
    ),
]
PortOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=65535,
        envvar="PGFACE_LISTEN_PORT",
        show_envvar=False,
        metavar="PORT",
        help="Port to listen on. 0 picks a free port. PGFACE_LISTEN_PORT sets another default.",
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PGFACE_CERTIFICATE",
        show_envvar=False,
        show_default=False,
        metavar="FILE",
        help="PEM file with the certificate for https and its chain. PGFACE_CERTIFICATE by default.",
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        envvar="PGFACE_CERTIFICATE_KEY",
        show_envvar=False,
        show_default=False,
        metavar="FILE",
        help="PEM file with the key, if it is not in the certificate's file. PGFACE_CERTIFICATE_KEY by default.",
    ),
]
HOST = "127.0.0.1"
PORT = 8000
