"""The command line: one module a command group, and no logic of its own."""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from pgface.cli import (
    accounts,
    admins,
    audit,
    backup,
    bench,
    calibrate,
    doctor,
    evaluate,
    gallery,
    index,
    migrate,
    models,
    postgres,
    search,
    secrets,
    serve,
    transfer,
    users,
)
from pgface.cli.output import prepare_streams, print_error
from pgface.errors import PgfaceError

app = typer.Typer(
    name="pgface",
    help="Face recognition in your PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(gallery.app)
app.add_typer(search.app)
app.add_typer(index.app, name="index")
app.add_typer(users.app, name="users")
app.add_typer(users.photos_app, name="photos")
app.add_typer(accounts.tokens_app, name="tokens")
app.add_typer(admins.app, name="admins")
app.add_typer(accounts.keys_app, name="keys")
app.add_typer(accounts.audit_app, name="audit")
app.add_typer(accounts.roles_app, name="roles")
app.add_typer(models.app, name="models")
app.add_typer(evaluate.app)
app.add_typer(calibrate.app)
app.add_typer(audit.app)
app.add_typer(migrate.app)
app.add_typer(transfer.app)
app.add_typer(backup.app)
app.add_typer(doctor.app)
app.add_typer(serve.app)
app.add_typer(bench.app)
app.add_typer(postgres.app, name="postgres")
app.add_typer(secrets.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pgface {version('pgface')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Face recognition in your PostgreSQL."""


def main() -> None:
    """Run the command line: exit code 0 when it was done, 1 when it failed, 2 for wrong usage, 130 for Ctrl-C."""
    prepare_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a sentence can be said of what goes wrong
    except PgfaceError as error:
        print_error(error)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        # What is still in the buffer goes nowhere, or Python would try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            print_error("The disk that the output goes to is full; make room there, or send it somewhere else.")
        sys.exit(1)
