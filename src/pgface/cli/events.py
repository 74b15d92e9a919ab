"""`pgface events`: what happened in the gallery."""

from __future__ import annotations

import json as json_format
import time
from typing import TYPE_CHECKING, Annotated

import typer

from pgface.cli.options import JsonOption, LimitOption
from pgface.cli.output import note, print_json, print_table, say, when
from pgface.database.pool import Database
from pgface.gallery.events import EVENT_KINDS, read_events
from pgface.settings import get_settings
from pgface.text import counted

if TYPE_CHECKING:
    from pgface.gallery.events import Event, EventPage

_PAUSE = 1.0
"""Seconds between two looks for new events."""
_COLUMNS = ("cursor", "time", "event", "user", "photo", "details")

app = typer.Typer()


@app.command()
def events(
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR",
            help="Only events after this cursor. The oldest events by default. `end` for future events only.",
        ),
    ] = None,
    limit: LimitOption = 100,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND,...", help=f"Only events of these kinds: {', '.join(EVENT_KINDS)}.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Print new events until you press Ctrl+C.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what happened in the gallery, oldest first. With --json and --follow, each line is an event."""
    kinds = None if kind is None else [one.strip() for one in kind.split(",") if one.strip()]
    with Database.open(get_settings()) as database:
        page = read_events(database, after=after, limit=limit, kinds=kinds)
        if not follow:
            _print_page(page, json)
            return
        try:
            while True:
                for event in page:
                    _print_line(event, json)
                if len(page) < limit:
                    time.sleep(_PAUSE)
                page = read_events(database, after=page.next_cursor, limit=limit, kinds=kinds)
        except KeyboardInterrupt:
            note(f"The next event follows after {page.next_cursor}.")


def _print_page(page: EventPage, json: bool) -> None:
    if json:
        print_json(page.to_json())
        return
    print_table(_COLUMNS, map(_row, page), empty="There are no events.")
    note(f"Read on with --after {page.next_cursor}")


def _print_line(event: Event, json: bool) -> None:
    if json:
        typer.echo(json_format.dumps(event.to_json(), ensure_ascii=False))
    else:
        say("  ".join(str(value) for value in _row(event) if value is not None))


def _row(event: Event) -> tuple[object, ...]:
    details = []
    if event.other_user_id is not None:
        details.append(f"user {event.other_user_id} was merged")
    if event.matched is not None:
        details.append("match" if event.matched else "no match")
    if event.confidence is not None:
        details.append(f"confidence {event.confidence:.1f}")
    if event.count > 1:
        details.append(counted(event.count, "row"))
    return event.cursor, when(event.at), event.kind, event.user_id, event.photo_id, ", ".join(details) or None
