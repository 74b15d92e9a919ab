"""`pgface serve`: the web service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.output import say
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address or name to listen at; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for one that is free.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes. dlib needs one for each core, InsightFace one alone.")
    ] = 1,
    certificate: Annotated[
        Path | None,
        typer.Option(help="File with the certificate for https and those it was issued by (PEM).", show_default=False),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="File with the certificate's key (PEM), if it is not in the same.", show_default=False),
    ] = None,
) -> None:
    """Serve the REST API and the web pages until Ctrl-C. The log is JSON on stderr."""
    # Here, because no other command needs them.
    from pgface.server.listening import Listening
    from pgface.server.run import serve as run

    def announce(model: str, url: str) -> None:
        say(f"Serving {model} at {url} - Ctrl-C ends it.")

    run(Listening(host, port, certificate, key), workers, get_settings(), announce)
