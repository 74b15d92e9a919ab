"""Events of a gallery, which other programs read in order and by cursor.

Triggers write an event for each statement that changes users, photos, faces or the model. So changes by SQL and by bulk
loads are included. Identifications and verifications only add events with `PGFACE_SEARCH_EVENTS`.

No event is lost or returned twice to a reader that keeps the cursor: see `0005_events.sql`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from psycopg.rows import dict_row, scalar_row

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import CursorError, GalleryError
from pgface.gallery.config import GalleryConfig
from pgface.results import Match, Verification

EventKind = Literal[
    "gallery_created",
    "model_changed",
    "user_added",
    "user_changed",
    "user_merged",
    "user_deleted",
    "photo_deleted",
    "enrolled",
    "face_contested",
    "face_accepted",
    "face_changed",
    "face_deleted",
    "identified",
    "verified",
]
EVENT_KINDS: Final[tuple[str, ...]] = get_args(EventKind)
END: Final = "end"
"""In place of a cursor: only events that are still to come."""
CURSOR: Final = re.compile(r"[0-9a-f]{8}\.[0-9]{1,19}\.[0-9]{1,18}", re.ASCII)
_MAX_CURSOR_CHARACTERS_SHOWN: Final = 60

_Search = tuple[int | None, bool, float | None]
"""The user, whether they matched, and the confidence."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the gallery. It has no name, e-mail, photo or embedding."""

    cursor: str
    """The place of the event. Give it as `after` to read the events that follow."""
    id: int
    """Unique among the events of the gallery. Ids are not in the order of the events."""
    at: datetime
    kind: str
    user_id: int | None
    """The user. None if the event is about no user or about more than 100, or if the user was deleted since."""
    other_user_id: int | None
    """Of `user_merged`, the user that was deleted."""
    photo_id: int | None
    """The photo, if the event is about one photo."""
    matched: bool | None
    """Of `identified` and `verified`, whether a user matched. None for other kinds."""
    confidence: float | None
    """Of a match, 0 to 100."""
    count: int
    """The number of users, photos or faces that one statement changed, or that one call searched."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"at": self.at.isoformat()}


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in their order, and the cursor to continue with."""

    events: tuple[Event, ...]
    next_cursor: str
    """Give it as `after` to read the next events. It changes also if no event has one of the wanted kinds."""

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return {"events": [event.to_json() for event in self.events], "next_cursor": self.next_cursor}


def read_events(
    database: Database, *, after: str | None = None, limit: int = 100, kinds: Collection[str] | None = None
) -> EventPage:
    """Read the events after a cursor. See `Gallery.events`."""
    if not 1 <= limit < 2**31:
        raise GalleryError(f"`limit` must be at least 1, got {limit}.")
    unknown = [kind for kind in kinds or () if kind not in EVENT_KINDS]
    if unknown:
        raise GalleryError(f"There is no kind of event {unknown[0]!r}. Choose from {', '.join(EVENT_KINDS)}.")
    if after == END:
        return EventPage((), last_event_cursor(database))
    if after is not None and not CURSOR.fullmatch(after):
        raise CursorError(f"{after[:_MAX_CURSOR_CHARACTERS_SHOWN]!r} is not the cursor of an event.")
    values = {"after": after, "limit": limit, "kinds": None if kinds is None else list(kinds)}
    rows = database.read("read_events", values, row_factory=dict_row)
    newest = rows[0]["newest"]
    events = tuple(Event(**{key: value for key, value in row.items() if key != "newest"}) for row in rows if row["id"])
    # A full page may leave events behind. Otherwise everything up to the newest event was read.
    return EventPage(events, events[-1].cursor if len(events) == limit else newest)


def last_event_cursor(database: Database) -> str:
    """Return the cursor of the newest event."""
    (cursor,) = database.read("last_event_cursor", row_factory=scalar_row)
    return str(cursor)


def record_identified(database: Database, found: Sequence[Sequence[Match]], threshold: float) -> None:
    """Write an event for each face that was searched: the best match above the gallery's own threshold, or none.

    A lower threshold of the caller does not count, so that no event names a stranger as a user.
    """
    best = [matches[0] if matches and matches[0].similarity >= threshold else None for matches in found]
    rows: list[_Search] = [(match.user_id, True, match.confidence) if match else (None, False, None) for match in best]
    _record_searches(database, "identified", rows)


def record_searched(database: Database, best: tuple[int, float] | None, config: GalleryConfig) -> None:
    """Write an event for one face that was searched, as `record_identified` does.

    Args:
        database: the gallery's connections.
        best: the most similar user and the similarity. None if the search found no user.
        config: the gallery's threshold and confidence scale.

    """
    matched = best if best is not None and best[1] >= config.identify_threshold else None
    row: _Search = (matched[0], True, config.confidence(matched[1])) if matched else (None, False, None)
    _record_searches(database, "identified", [row])


def record_verified(database: Database, verifications: Sequence[Verification], threshold: float) -> None:
    """Write an event for each verification: the user whom the probe was compared with, and whether they matched.

    As for `record_identified`, a match is at least the gallery's own threshold.
    """
    rows: list[_Search] = [
        (one.user_id, one.match and one.similarity >= threshold, one.confidence) for one in verifications
    ]
    _record_searches(database, "verified", rows)


def _record_searches(database: Database, kind: EventKind, rows: Sequence[_Search]) -> None:
    if rows:
        users, matches, confidences = map(list, zip(*rows, strict=True))
        values = {"kind": kind, "users": users, "matches": matches, "confidences": confidences}
        database.execute("record_searches", values)


def prune_events(database: Database, days: int) -> int:
    """Delete events older than this many days, and return how many. Cursors from before them no longer work."""
    with database.transaction() as connection, connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(queries()["prune_events"], {"days": days}).fetchall()[0])
