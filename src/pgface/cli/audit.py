"""`pgface audit`: the log of account events."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.accounts import prune_audit, read_audit
from pgface.cli.options import JsonOption, LimitOption
from pgface.cli.output import print_result, print_results, when
from pgface.database.pool import Database
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()


@app.command("list")
def list_audit(
    user: Annotated[
        int | None,
        typer.Option(metavar="ID", help="Only events of the user with this id, even if the user was deleted."),
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
    print_results(
        entries,
        json,
        ("id", "time", "event", "outcome", "user or key", "actor", "address", "similarity"),
        lambda entry: (
            entry.id,
            when(entry.at),
            entry.event if entry.count == 1 else f"{entry.event} ({entry.count} times)",
            entry.reason or entry.outcome,
            entry.user_id if entry.key_id is None else f"key {entry.key_id}",
            entry.actor,
            entry.address,
            None if entry.similarity is None else f"{entry.similarity:.3f}",
        ),
        empty="There are no events.",
    )


@app.command("prune")
def prune_log(
    older_than: Annotated[int, typer.Option(min=1, max=36500, metavar="DAYS", help="How many days of events to keep.")],
    json: JsonOption = False,
) -> None:
    """Delete old events. The service's role may delete only events older than 30 days."""
    with Database.open(get_settings()) as database:
        removed = prune_audit(database, older_than)
    sentence = f"Deleted {counted(removed, 'event')} older than {counted(older_than, 'day')}."
    print_result({"removed": removed}, sentence, json)
