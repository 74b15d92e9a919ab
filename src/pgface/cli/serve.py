"""`pgface serve`: the web service."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.cli.output import say
from pgface.errors import ModelNotInstalledError
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes. dlib needs one for each core, InsightFace one alone.")
    ] = 1,
) -> None:
    """Serve the REST API and the web pages until Ctrl-C. The log is JSON on stderr."""
    try:
        from pgface.server.run import Listening, prepare
        from pgface.server.run import serve as run
    except ImportError as error:
        raise ModelNotInstalledError(
            f"The service needs the package {error.name}; install it with `pip install 'pgface[server]'`."
        ) from None
    settings = get_settings()
    model = prepare(settings)
    shown = f"[{host}]" if ":" in host else host
    say(f"Serving {model} at http://{shown}:{port}/ - Ctrl-C ends it.")
    run(Listening(host, port, workers), settings)
