"""`pgface postgres`: the embedded PostgreSQL server."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Annotated
from urllib.parse import quote

import typer

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.errors import EmbeddedPostgresError
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def start() -> None:
    """Start the server, and keep it running until `pgface postgres stop`."""
    with _embedded() as server:
        server.keep_running()
    typer.echo(f"The embedded PostgreSQL runs until `pgface postgres stop`: {server.url}")


@app.command()
def stop(
    force: Annotated[
        bool, typer.Option("--force", help="Stop the server even if it is in use. Open sessions end.")
    ] = False,
) -> None:
    """Stop the server. Committed data is on disk."""
    # Even with PGFACE_DATABASE_URL, because the server may have been started before that was set.
    ran = EmbeddedPostgres(get_settings().postgres_dir).stop(force=force)
    typer.echo("The embedded PostgreSQL is stopped." if ran else "The embedded PostgreSQL was not running.")


@app.command()
def url() -> None:
    """Print the URL of the running server, for psql, psycopg and other clients."""
    server = _embedded()
    if not server.is_running():
        raise EmbeddedPostgresError("The embedded PostgreSQL is not running. Start it with `pgface postgres start`.")
    typer.echo(server.url)


@app.command()
def programs() -> None:
    """Print the folder of the server's programs, such as pg_dump and pg_basebackup."""
    typer.echo(_embedded().binaries)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql in the gallery's schema. All arguments are passed to psql."""
    with _embedded() as server:
        command = [str(server.binaries / "psql"), _in_schema(server.url, get_settings().schema_name), *context.args]
        # Ctrl-C is for psql. SIG_IGN instead of a handler would be inherited by psql's children.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            code = subprocess.run(command, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
    raise typer.Exit(code if code >= 0 else 128 - code)


def _embedded() -> EmbeddedPostgres:
    settings = get_settings()
    if settings.database_url is not None:
        raise EmbeddedPostgresError(
            "PGFACE_DATABASE_URL is set, so pgface uses that server and not the embedded one. Unset it first."
        )
    return EmbeddedPostgres(settings.postgres_dir)


def _in_schema(server_url: str, schema_name: str) -> str:
    """Add a search path with the gallery's schema, and `public` for pgvector, to a URL."""
    quoted = '"' + schema_name.replace('"', '""') + '"'
    option = re.sub(r"([\\\s])", r"\\\1", f"search_path={quoted},public")
    return f"{server_url}&options={quote(f'-c {option}', safe='')}"
