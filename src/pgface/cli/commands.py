"""All commands by name, in groups for `pgface --help`. A command's module is imported when the command runs."""

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
    """One line for `pgface --help`, which imports no command. It is also the help of a group."""
    is_group: bool = False
    """Whether the module's app is a group of commands with this name, or contains the command."""


GROUPS: Final[Mapping[str, Mapping[str, _Command]]] = {
    "Gallery": {
        "init": _Command("gallery", "Create the gallery or upgrade it, and bind it to its model."),
        "galleries": _Command("galleries", "Create, list, rename and delete named galleries.", is_group=True),
        "status": _Command("gallery", "Show the gallery, its model and its server."),
        "schema": _Command("gallery", "Print the gallery's whole schema as SQL."),
        "models": _Command("models", "List, install and check face models.", is_group=True),
        "reembed": _Command("reembed", "Change the gallery's model, and keep its people."),
    },
    "Enroll and identify": {
        "enroll": _Command("enroll", "Enroll photos of a user, or a folder of people."),
        "identify": _Command("identify", "Say who is in a photo (1:N)."),
        "verify": _Command("identify", "Say whether the person in a photo is this user (1:1)."),
        "compare": _Command("identify", "Say whether two photos show the same person (1:1)."),
    },
    "People": {
        "users": _Command("users", "List, add, merge and delete users.", is_group=True),
        "photos": _Command("photos", "List and delete enrolled photos.", is_group=True),
        "events": _Command("events", "Show what happened in the gallery."),
    },
    "Accounts": {
        "admins": _Command("admins", "Add, remove and list administrators of the service.", is_group=True),
        "tokens": _Command("tokens", "List and end users' sessions.", is_group=True),
        "keys": _Command("keys", "Create, list and revoke API keys.", is_group=True),
        "audit": _Command("audit", "Read and prune the log of account events.", is_group=True),
        "roles": _Command("roles", "Create PostgreSQL roles with fewer rights.", is_group=True),
    },
    "Search and index": {
        "fit-search": _Command("search", "Fit the search (1:N) to the gallery's size."),
        "index": _Command("index", "Show, build and check the indexes of embeddings.", is_group=True),
        "bench": _Command("bench", "Measure search on this server, and advise.", is_group=True),
    },
    "Accuracy": {
        "evaluate": _Command("evaluate", "Measure the error rates of the model on your photos."),
        "calibrate": _Command("calibrate", "Set the thresholds from the error rates that you accept."),
        "thresholds": _Command("calibrate", "Show the thresholds, and what similarities mean."),
        "audit-gallery": _Command("audit_gallery", "Find duplicate users, wrong photos and poor photos."),
    },
    "Backup and migration": {
        "backup": _Command("backup", "Write the gallery and its photo files to one archive."),
        "restore": _Command("backup", "Restore an archive, or check it."),
        "export": _Command("transfer", "Write the embeddings and their users to a file."),
        "import": _Command("transfer", "Load an export into the gallery."),
        "migrate": _Command("migrate", "Move SQLite and NPY, or CompreFace, into the gallery."),
    },
    "Operations": {
        "serve": _Command("serve", "Serve the REST API and the web pages."),
        "worker": _Command("worker", "Run jobs, such as the enrollment of an archive."),
        "jobs": _Command("jobs", "List, show and cancel jobs.", is_group=True),
        "healthcheck": _Command("healthcheck", "Check that the web service on this machine works."),
        "doctor": _Command("doctor", "Check the installation and suggest fixes."),
        "postgres": _Command("postgres", "Start, stop and open the embedded PostgreSQL.", is_group=True),
        "secrets": _Command("secrets", "Create the passwords that compose.yaml needs."),
    },
}
"""The commands by their task, in the order of `pgface --help` and of the reference."""
_COMMANDS: Final = {name: command for commands in GROUPS.values() for name, command in commands.items()}
_NAME_WIDTH = max(map(len, _COMMANDS))
"""Width of the names in `pgface --help`, so that its sections align."""


class _Group(TyperGroup):
    """Lists its commands with their whole first paragraph, which Typer would cut off at the end of the line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the section of commands."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        helps = ((name, (command.help or "").partition("\n\n")[0]) for name, command in commands if command)
        _write_section(formatter, "Commands", helps)


class _AllCommands(_Group):
    """Imports a command's module when the command runs, because all modules together take most of a second."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer passes it
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if it does not exist."""
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command for the arguments. For a wrong name, Typer suggests similar names of loaded commands."""
        if args and args[0] not in _COMMANDS:
            for name in _COMMANDS:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer passes it
        """Write a section for each group of commands, without importing any command."""
        for title, commands in GROUPS.items():
            _write_section(formatter, title, ((name, command.help) for name, command in commands.items()))


def _write_section(formatter: Any, title: str, rows: Iterable[tuple[str, str]]) -> None:
    with formatter.section(title):
        formatter.write_dl([(name.ljust(_NAME_WIDTH), " ".join(text.split())) for name, text in rows])


def _load(name: str) -> Any:
    command = _COMMANDS[name]
    found: typer.Typer = import_module(f"pgface.cli.{command.module}").app
    found.rich_markup_mode = None  # plain help names a flag without a type, and fits into narrow terminals
    found.info.cls = _Group
    callback = found.registered_callback
    runs_alone = callback is not None and bool(callback.invoke_without_command)
    found.info.no_args_is_help = not runs_alone
    group = get_group(found)
    if not gc.isenabled():  # see `pgface.__main__`
        gc.freeze()
        gc.enable()
    # Imported here, because `pgface --help` needs no database.
    from pgface.cli.named_gallery import WITHOUT_GALLERY, add_gallery_option

    if name not in WITHOUT_GALLERY:
        add_gallery_option(group)
    if not command.is_group:
        return group.commands[name]
    group.name = name
    if not runs_alone:
        group.help = command.help
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
