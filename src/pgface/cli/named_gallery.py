"""The option `--gallery`, which lets a command use a named gallery instead of the default one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.main import get_command

if TYPE_CHECKING:
    from pgface.settings import Settings

WITHOUT_GALLERY: Final = frozenset(
    {"init", "schema", "models", "galleries", "roles", "serve", "worker", "healthcheck", "postgres", "secrets"}
)
"""Commands that concern all galleries, or none."""


@dataclass(frozen=True, slots=True)
class NamedGallery:
    """The gallery that a command uses."""

    name: str
    home: Settings
    """The settings of the default gallery."""


_used: list[NamedGallery] = []


def named_gallery() -> NamedGallery | None:
    """Return the gallery of the option. None for the default gallery."""
    return _used[-1] if _used else None


def add_gallery_option(command: Any) -> None:
    """Add the option to a command, or to all commands of a group."""
    if hasattr(command, "commands"):
        for one in command.commands.values():
            add_gallery_option(one)
        if not command.invoke_without_command:
            return
    command.params.append(_option())


@cache
def _option() -> Any:
    """Make the option as Typer does, because a command gets it from its group and not from its function."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def command(
        gallery: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Name of the gallery. The default one by default.", callback=_use),
        ] = None,
    ) -> None:
        pass

    (option,) = get_command(app).params
    option.expose_value = False
    return option


def _use(context: typer.Context, name: str | None) -> None:
    if name is not None:
        context.find_root().with_resource(_named(name))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let the settings lead to the gallery until the command ends. This keeps an embedded server running."""
    from psycopg.rows import tuple_row

    from pgface.database.pool import Database
    from pgface.errors import UnknownGalleryError
    from pgface.settings import get_settings

    home = get_settings()
    with Database.open(home) as database:
        found = database.read("select_gallery_named", {"name": name}, row_factory=tuple_row)
        if not found:
            raise UnknownGalleryError(f"There is no gallery {name}. `pgface galleries list` shows the galleries.")
        _, schema_name, database_url, _ = found[0]
        changed = {"PGFACE_SCHEMA": schema_name, "PGFACE_PHOTO_STORE": ""}  # that is the default gallery's store
        if database_url is not None:
            changed |= {"PGFACE_DATABASE_URL": database_url, "PGFACE_DIRECT_URL": ""}
        before = {variable: os.environ.get(variable) for variable in changed}
        try:
            os.environ.update(changed)
            get_settings.cache_clear()
            _used.append(NamedGallery(name, home))
            yield
        finally:
            _used.clear()
            for variable, value in before.items():
                if value is None:
                    del os.environ[variable]
                else:
                    os.environ[variable] = value
            get_settings.cache_clear()
