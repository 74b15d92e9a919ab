"""All commands by their names. A command's module is imported when the command is asked for."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group

from pgface.cli.streams import print_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class _Command(NamedTuple):
    module: str
    help: str
    """One line for `pgface --help`, which imports no command."""
    typer: str = "app"
    """The Typer in the module."""


_COMMANDS: Final[Mapping[str, _Command]] = {
    "init": _Command("gallery", "Create the gallery or upgrade it, and bind it to its model."),
    "enroll": _Command("gallery", "Enroll photos of a user, or a folder of people."),
    "identify": _Command("gallery", "Say who is in a photo (1:N)."),
    "verify": _Command("gallery", "Say whether the person in a photo is this user (1:1)."),
    "compare": _Command("gallery", "Say whether two photos show the same person (1:1)."),
    "status": _Command("gallery", "Show the gallery, its model and its server."),
    "schema": _Command("gallery", "Print the gallery's whole schema as SQL."),
    "fit-search": _Command("search", "Fit the search (1:N) to the gallery's size."),
    "evaluate": _Command("evaluate", "Measure the error rates of the model on your photos."),
    "calibrate": _Command("calibrate", "Set the thresholds from the error rates that you accept."),
    "thresholds": _Command("calibrate", "Show the thresholds, and what similarities mean."),
    "audit-gallery": _Command("audit", "Find duplicate people, wrong photos and useless photos."),
    "migrate": _Command("migrate", "Move an old installation, SQLite and NPY, into the gallery."),
    "export": _Command("transfer", "Write the embeddings, and whose they are, to a file."),
    "import": _Command("transfer", "Put an export into the gallery."),
    "backup": _Command("backup", "Write the gallery and its photo files into one archive."),
    "restore": _Command("backup", "Restore an archive, or check it."),
    "doctor": _Command("doctor", "Check the installation, and say how to fix what is wrong."),
    "serve": _Command("serve", "Serve the REST API and the web pages."),
    "healthcheck": _Command("healthcheck", "Ask the web service on this machine whether it works."),
    "bench": _Command("bench", "Measure search on this server, and advise."),
    "secrets": _Command("secrets", "Make the passwords that compose.yaml needs."),
}
_GROUPS: Final[Mapping[str, _Command]] = {
    "index": _Command("index", "Show, build and check the indexes of embeddings."),
    "users": _Command("users", "List, add, merge and delete people."),
    "photos": _Command("users", "List and delete enrolled photos.", "photos_app"),
    "tokens": _Command("accounts", "List and end logins.", "tokens_app"),
    "admins": _Command("admins", "Say who administers the gallery in the web service."),
    "keys": _Command("accounts", "Make, list and revoke API keys.", "keys_app"),
    "audit": _Command("accounts", "Show what happened to accounts.", "audit_app"),
    "roles": _Command("accounts", "Make PostgreSQL roles with fewer rights than the owner.", "roles_app"),
    "models": _Command("models", "List, install and check face models."),
    "postgres": _Command("postgres", "Start, stop and look into the embedded PostgreSQL."),
}


class _Group(TyperGroup):
    """Lists its commands with their whole first paragraph, which Typer would cut off at the end of the line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the section of commands."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        self._list(
            ((name, (command.help or "").partition("\n\n")[0]) for name, command in commands if command), formatter
        )

    def _list(self, rows: Iterable[tuple[str, str]], formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(text.split())) for name, text in rows])


class _AllCommands(_Group):
    """Imports a command's module when the command is asked for: all modules together take most of a second."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer passes it
        """Give the names of all commands."""
        return [*_COMMANDS, *_GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give a command; None for one that does not exist."""
        if cmd_name in (*_COMMANDS, *_GROUPS) and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name; a wrong name is compared with those of all, for a hint."""
        if args and args[0] not in (*_COMMANDS, *_GROUPS):
            for name in self.list_commands(ctx):
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer passes it
        """Write the section of commands without importing any of them."""
        self._list(((name, command.help) for name, command in {**_COMMANDS, **_GROUPS}.items()), formatter)


def _load(name: str) -> Any:
    command = _COMMANDS.get(name) or _GROUPS[name]
    found: typer.Typer = getattr(import_module(f"pgface.cli.{command.module}"), command.typer)
    found.rich_markup_mode = None  # plain help: it names a flag without a type, and fits into narrow terminals
    found.info.cls = _Group
    group = get_group(found)
    if not gc.isenabled():  # see `pgface.__main__`
        gc.freeze()
        gc.enable()
    if name in _COMMANDS:
        return group.commands[name]
    group.name = name
    return group


app = typer.Typer(
    cls=_AllCommands,
    name="pgface",
    help="Face recognition in your PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_version()
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Face recognition in your PostgreSQL."""
