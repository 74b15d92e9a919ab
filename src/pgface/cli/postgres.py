"""`pgface postgres`: the embedded PostgreSQL, for people who want to look inside."""

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

app = typer.Typer(help="The embedded PostgreSQL.", no_args_is_help=True)


@app.command()
def start() -> None:
    """Start it, and keep it running until `pgface postgres stop`."""
    with _embedded() as server:
        server.keep_running()
    typer.echo(f"The embedded PostgreSQL runs until `pgface postgres stop`: {server.url}")


@app.command()
def stop(
    force: Annotated[bool, typer.Option("--force", help="Stop it also while it is used; open sessions end.")] = False,
) -> None:
    """Stop it; what was committed is on disk."""
    # Also with PGFACE_DATABASE_URL: it may have been started before that was set.
    ran = EmbeddedPostgres(get_settings().postgres_dir).stop(force=force)
    typer.echo("The embedded PostgreSQL is stopped." if ran else "The embedded PostgreSQL was not running.")


@app.command()
def url() -> None:
    """Print the URL of the running server, for psql, psycopg and other clients of libpq."""
    server = _embedded()
    if not server.is_running():
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL is not running; `pgface postgres start` starts it and keeps it running."
        )
    typer.echo(server.url)


@app.command()
def programs() -> None:
    """Print the folder of its pg_dump, pg_basebackup and other programs."""
    typer.echo(_embedded().binaries)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql in the gallery's schema; all arguments are handed to psql."""
    with _embedded() as server:
        command = [str(server.binaries / "psql"), _in_schema(server.url, get_settings().schema_name), *context.args]
        # Ctrl-C is psql's; a handler, and not SIG_IGN, because psql's own children would inherit that.
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
            "PGFACE_DATABASE_URL is set, so pgface uses that server and not the embedded one; unset it first."
        )
    return EmbeddedPostgres(settings.postgres_dir)


def _in_schema(server_url: str, schema_name: str) -> str:
    """The URL with the gallery's schema, and `public` for pgvector, on the search path."""
    quoted = '"' + schema_name.replace('"', '""') + '"'
    option = re.sub(r"([\\\s])", r"\\\1", f"search_path={quoted},public")
    return f"{server_url}&options={quote(f'-c {option}', safe='')}"
