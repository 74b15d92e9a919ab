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

tokens_app = typer.Typer(help="Logins of people.", no_args_is_help=True)
keys_app = typer.Typer(help="API keys of programs.", no_args_is_help=True)
audit_app = typer.Typer(help="What happened to accounts.", no_args_is_help=True)
roles_app = typer.Typer(help="PostgreSQL roles that may do less than the gallery's owner.", no_args_is_help=True)


@tokens_app.command("list")
def list_tokens(user: UserArgument, json: JsonOption = False) -> None:
    """List a user's logins that have not ended; the tokens themselves are kept nowhere."""
    with Gallery.open() as gallery:
        logins = Accounts(gallery).logins(user_ref(user))
    if json:
        print_json([login.to_json() for login in logins])
        return
    rows = [(one.id, f"{one.confidence:.4f}", when(one.created_at), when(one.expires_at)) for one in logins]
    print_table(("id", "confidence", "since", "until"), rows, empty="This user is not logged in.")


@tokens_app.command()
def revoke(user: UserArgument, json: JsonOption = False) -> None:
    """End all logins of a user."""
    with Gallery.open() as gallery:
        ended = Accounts(gallery).log_out_everywhere(user_ref(user), client=COMMAND_LINE)
    if json:
        print_json({"ended": ended})
    else:
        say(f"Ended {counted(ended, 'login')}.")


@tokens_app.command()
def prune(json: JsonOption = False) -> None:
    """Remove logins that have ended, and failed attempts that no longer count."""
    with Database.open(get_settings()) as database:
        removed = prune_logins(database)
        prune_attempts(database)
    if json:
        print_json({"removed": removed})
    else:
        say(f"Removed {counted(removed, 'login')} that had ended.")


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="By which you will know it again.")],
    scope: Annotated[str, typer.Option(help=f"What it may do, with commas in between: {', '.join(SCOPES)}.")],
    json: JsonOption = False,
) -> None:
    """Make a key for a program. It is printed this once, and kept nowhere."""
    scopes = [one.strip() for one in scope.split(",") if one.strip()]
    with Database.open(get_settings()) as database:
        key, stored = create_key(database, name, scopes, COMMAND_LINE)
    if json:
        print_json({"key": key} | stored.to_json())
    else:
        typer.echo(key)


@keys_app.command("list")
def list_api_keys(json: JsonOption = False) -> None:
    """List the keys, without the keys themselves."""
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
def revoke_api_key(key: Annotated[int, typer.Argument(help="Id of the key.")]) -> None:
    """Let a key open nothing any more."""
    with Database.open(get_settings()) as database:
        revoke_key(database, key, COMMAND_LINE)
    say(f"Key {key} opens nothing any more.")


@audit_app.command("list")
def list_audit(
    user: Annotated[int | None, typer.Option(help="Of the user with this id, who may be erased by now.")] = None,
    event: Annotated[str | None, typer.Option(help='Of this kind, such as "login by password".')] = None,
    before: Annotated[int | None, typer.Option(min=1, help="Older than the row with this id.")] = None,
    limit: LimitOption = 100,
    json: JsonOption = False,
) -> None:
    """List what happened to accounts, the newest first."""
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
    columns = ("id", "when", "what", "outcome", "of", "by", "from", "similarity")
    print_table(columns, rows, empty="Nothing has happened yet.")


@audit_app.command("prune")
def prune_log(
    older_than: Annotated[int, typer.Option(min=1, max=36500, metavar="DAYS", help="Days to keep.")],
    json: JsonOption = False,
) -> None:
    """Remove what is older. The service's role may remove only what is older than 30 days."""
    with Database.open(get_settings()) as database:
        removed = prune_audit(database, older_than)
    if json:
        print_json({"removed": removed})
    else:
        say(f"Removed {counted(removed, 'row')} of more than {counted(older_than, 'day')} ago.")


@roles_app.command("create")
def create_roles(
    service: Annotated[
        str | None,
        typer.Option(
            help=f"Of a service that enrolls, identifies and logs people in; {SERVICE} if no other gallery has that."
        ),
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help=f"That may only search; {READER} if no other gallery has that.")
    ] = None,
) -> None:
    """Make both roles, or give them anew what they need after an upgrade. They have no passwords until you set them."""
    settings = get_settings()
    with Database.open(settings), connected(settings) as connection:
        for given, name in ((service, SERVICE), (reader, READER)):
            if given is None:  # who gives a name may mean to share it
                require_own(connection, settings.schema_name, name)
        service, reader = service or SERVICE, reader or READER
        grant_service(connection, settings.schema_name, service)
        grant_reader(connection, settings.schema_name, reader)
    say(f"{service} may do what a service does, and {reader} may search. Set their passwords with \\password in psql.")
