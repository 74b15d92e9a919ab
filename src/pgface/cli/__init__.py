"""The command line: one module a command group, and no logic of its own."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from pgface.cli.output import prepare_streams, print_error
from pgface.errors import PgfaceError
from pgface.ownership import reason_with_owner

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMANDS: Final[Mapping[str, str]] = {
    "init": "gallery",
    "enroll": "gallery",
    "identify": "gallery",
    "verify": "gallery",
    "compare": "gallery",
    "status": "gallery",
    "schema": "gallery",
    "fit-search": "search",
    "evaluate": "evaluate",
    "calibrate": "calibrate",
    "thresholds": "calibrate",
    "audit-gallery": "audit",
    "migrate": "migrate",
    "export": "transfer",
    "import": "transfer",
    "backup": "backup",
    "restore": "backup",
    "doctor": "doctor",
    "serve": "serve",
    "healthcheck": "healthcheck",
    "bench": "bench",
    "secrets": "secrets",
}
"""The module of each command, in which a Typer of the name `app` holds it."""
_GROUPS: Final[Mapping[str, tuple[str, str]]] = {
    "index": ("index", "app"),
    "users": ("accounts", "users_app"),
    "photos": ("users", "photos_app"),
    "tokens": ("accounts", "tokens_app"),
    "admins": ("admins", "app"),
    "keys": ("accounts", "keys_app"),
    "audit": ("accounts", "audit_app"),
    "roles": ("accounts", "roles_app"),
    "models": ("models", "app"),
    "postgres": ("postgres", "app"),
}
"""The module of each group of commands, and the Typer in it."""


class _Commands(TyperGroup):
    """Imports a command's module when the command is asked for: all modules together take most of a second."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer passes it
        """Give the names of all commands."""
        return [*_COMMANDS, *_GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give a command; None for one that does not exist."""
        known = (*_COMMANDS, *_GROUPS)
        # An unknown name is compared with all of them, for a hint.
        for name in (cmd_name,) if cmd_name in known else known:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    if name in _COMMANDS:
        return get_group(import_module(f"pgface.cli.{_COMMANDS[name]}").app).commands[name]
    module, attribute = _GROUPS[name]
    group = get_group(getattr(import_module(f"pgface.cli.{module}"), attribute))
    group.name = name
    return group


app = typer.Typer(
    cls=_Commands,
    name="pgface",
    help="Face recognition in your PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    except PermissionError as error:
        if error.filename is None:
            raise
        print_error(
            f"{error.filename} cannot be used ({reason_with_owner(error, error.filename)}); run pgface as its owner."
        )
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        # What is still in the buffer goes nowhere, or Python would try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            print_error("The disk that the output goes to is full; make room there, or send it somewhere else.")
        sys.exit(1)
