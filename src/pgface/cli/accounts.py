"""`pgface tokens`, `pgface keys`, `pgface audit` and `pgface roles`."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.accounts import (
    COMMAND_LINE,
    SCOPES,
    Accounts,
    create_key,
    list_keys,
    prune_audit,
    prune_logins,
    read_audit,
    revoke_key,
)
from pgface.accounts.attempts import prune_attempts
from pgface.cli.gallery import user_ref
from pgface.cli.output import JsonOption, print_json, print_table, say, when
from pgface.cli.users import LimitOption, UserArgument
from pgface.database.pool import Database, connected
from pgface.database.roles import READER, SERVICE, grant_reader, grant_service, require_own
from pgface.gallery import Gallery
from pgface.settings import get_settings
from pgface.text import counted

tokens_app = typer.Typer(help="List and end users' sessions.", no_args_is_help=True)
keys_app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)
audit_app = typer.Typer(help="Read and prune the log of account events.", no_args_is_help=True)
roles_app = typer.Typer(help="Create PostgreSQL roles with fewer rights than the owner.", no_args_is_help=True)


@tokens_app.command("list")
def list_tokens(user: UserArgument, json: JsonOption = False) -> None:
    """List a user's active sessions. The tokens themselves are not stored."""
    with Gallery.open() as gallery:
        logins = Accounts(gallery).logins(user_ref(user))
    if json:
        print_json([login.to_json() for login in logins])
        return
    rows = [(one.id, f"{one.confidence:.4f}", when(one.created_at), when(one.expires_at)) for one in logins]
    print_table(("id", "confidence", "since", "until"), rows, empty="This user has no sessions.")


@tokens_app.command()
def revoke(user: UserArgument, json: JsonOption = False) -> None:
    """End all sessions of a user."""
    with Gallery.open() as gallery:
        ended = Accounts(gallery).log_out_everywhere(user_ref(user), client=COMMAND_LINE)
    if json:
        print_json({"ended": ended})
    else:
        say(f"Ended {counted(ended, 'session')}.")


@tokens_app.command()
def prune(json: JsonOption = False) -> None:
    """Delete expired sessions, and failed attempts that no longer count."""
    with Database.open(get_settings()) as database:
        removed = prune_logins(database)
        prune_attempts(database)
    if json:
        print_json({"removed": removed})
    else:
        say(f"Deleted {counted(removed, 'expired session')}.")


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A label for the key.")],
    scope: Annotated[str, typer.Option(metavar="SCOPE,...", help=f"What the key may do: {', '.join(SCOPES)}.")],
    json: JsonOption = False,
) -> None:
    """Create a key for a program. It is printed only once, because pgface stores only its hash."""
    scopes = [one.strip() for one in scope.split(",") if one.strip()]
    with Database.open(get_settings()) as database:
        key, stored = create_key(database, name, scopes, COMMAND_LINE)
    if json:
        print_json({"key": key} | stored.to_json())
    else:
        typer.echo(key)


@keys_app.command("list")
def list_api_keys(json: JsonOption = False) -> None:
    """List the keys with their scopes and dates. The secret parts are not stored."""
    with Database.open(get_settings()) as database:
        keys = list_keys(database)
    if json:
        print_json([key.to_json() for key in keys])
        return
    rows = [
        (key.id, key.name, ", ".join(key.scopes), when(key.created_at), when(key.last_used_at), when(key.revoked_at))
        for key in keys
    ]
    print_table(("id", "name", "scopes", "since", "last used", "revoked"), rows, empty="There are no keys.")


@keys_app.command("revoke")
def revoke_api_key(key: Annotated[int, typer.Argument(metavar="ID", help="Id of the key.")]) -> None:
    """Revoke a key."""
    with Database.open(get_settings()) as database:
        revoke_key(database, key, COMMAND_LINE)
    say(f"Key {key} is revoked.")


@audit_app.command("list")
def list_audit(
    user: Annotated[
        int | None, typer.Option(metavar="ID", help="Only events of the user with this id, who may be deleted.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(metavar="EVENT", help='Only events of this kind, such as "login by password".')
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="ID", help="Only events before the one with this id.")
    ] = None,
    limit: LimitOption = 100,
    json: JsonOption = False,
) -> None:
    """List account events, newest first."""
    with Database.open(get_settings()) as database:
        entries = read_audit(database, user_id=user, event=event, before=before, limit=limit)
    if json:
        print_json([entry.to_json() for entry in entries])
        return
    rows = [
        (
            entry.id,
            when(entry.at),
            entry.event if entry.count == 1 else f"{entry.event} ({entry.count} times)",
            entry.reason or entry.outcome,
            entry.user_id if entry.key_id is None else f"key {entry.key_id}",
            entry.actor,
            entry.address,
            None if entry.similarity is None else f"{entry.similarity:.3f}",
        )
        for entry in entries
    ]
    columns = ("id", "time", "event", "outcome", "user or key", "actor", "address", "similarity")
    print_table(columns, rows, empty="There are no events.")


@audit_app.command("prune")
def prune_log(
    older_than: Annotated[int, typer.Option(min=1, max=36500, metavar="DAYS", help="How many days of events to keep.")],
    json: JsonOption = False,
) -> None:
    """Delete old events. The service's role may delete only events older than 30 days."""
    with Database.open(get_settings()) as database:
        removed = prune_audit(database, older_than)
    if json:
        print_json({"removed": removed})
    else:
        say(f"Deleted {counted(removed, 'event')} older than {counted(older_than, 'day')}.")


@roles_app.command("create")
def create_roles(
    service: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="Role of the service, which enrolls, identifies and logs people in. "
            f"{SERVICE} by default, unless another gallery uses it.",
        ),
    ] = None,
    reader: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE", help=f"Role that may only search. {READER} by default, unless another gallery uses it."
        ),
    ] = None,
) -> None:
    """Create both roles, or update their rights after an upgrade. They have no passwords until you set them."""
    settings = get_settings()
    with Database.open(settings), connected(settings) as connection:
        for given, name in ((service, SERVICE), (reader, READER)):
            if given is None:  # a role that you name may be shared by several galleries
                require_own(connection, settings.schema_name, name)
        service, reader = service or SERVICE, reader or READER
        grant_service(connection, settings.schema_name, service)
        grant_reader(connection, settings.schema_name, reader)
    say(f"{service} may do what a service does, and {reader} may search. Set their passwords with \\password in psql.")
