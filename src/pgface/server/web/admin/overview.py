"""Asking who is in a photo, the gallery's status, and the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from fastapi import APIRouter, Request
from fastapi.responses import Response
from psycopg.rows import scalar_row, tuple_row

from pgface.accounts import AuditEntry, read_audit
from pgface.accounts.audit import Event
from pgface.database.pool import Database
from pgface.gallery.users import id_in_range
from pgface.server.cursors import decode_cursor, page
from pgface.server.service import TheService
from pgface.server.web.admin.links import link
from pgface.server.web.pages import PageRoute, render

router = APIRouter(route_class=PageRoute)

_PAGE: Final = 50
_LONGEST_TEXT: Final = 255
_MOST_USERS: Final = 1000
"""Whose names hold a text that the log is filtered by."""
_EVENTS: Final[tuple[str, ...]] = get_args(Event)
_OUTCOMES: Final = ("done", "refused")


@dataclass(frozen=True, slots=True)
class _Names:
    """Names by id."""

    users: dict[int, str]
    keys: dict[int, str]


@router.get("/identify")
def identify(request: Request) -> Response:
    """A photo, and who is in it? The browser asks the API, and nothing of the photo is kept."""
    return render(request, "admin_identify.html")


@router.get("/status")
def status(request: Request, service: TheService) -> Response:
    """The gallery at a glance, and what is to be done about it."""
    gallery = service.gallery
    return render(request, "admin_status.html", found=gallery.status(), search=gallery.search_state())


@router.get("/audit")
def audit(
    request: Request,
    service: TheService,
    event: str = "",
    outcome: str = "",
    user: str = "",
    cursor: str | None = None,
) -> Response:
    """What happened to accounts, the newest first."""
    database = service.gallery.database
    asked = {
        "event": event if event in _EVENTS else "",
        "outcome": outcome if outcome in _OUTCOMES else "",
        "user": user.replace("\0", "").strip()[:_LONGEST_TEXT],
    }
    found = read_audit(
        database,
        users=_users(database, asked["user"]) if asked["user"] else None,
        event=asked["event"] or None,
        outcome=asked["outcome"] or None,
        before=decode_cursor("audit", cursor),
        limit=_PAGE + 1,
    )
    shown, following = page("audit", found, _PAGE, lambda entry: entry.id)
    return render(
        request,
        "admin_audit.html",
        entries=shown,
        names=_names(database, shown),
        events=_EVENTS,
        event=asked["event"],
        outcome=asked["outcome"],
        user_text=asked["user"],
        first=cursor is None,
        beginning=link("/admin/audit", **asked),
        following=following and link("/admin/audit", **asked, cursor=following),
    )


def _users(database: Database, text: str) -> list[int]:
    """The user with an id, who may be deleted, or all whose name or e-mail holds a text."""
    if text.isdecimal():
        return [id_in_range(int(text))]
    return database.read("select_users_by_text", {"text": text, "limit": _MOST_USERS}, row_factory=scalar_row)


def _names(database: Database, entries: Sequence[AuditEntry]) -> _Names:
    """The names of the users and keys that some entries are about or by; a deleted user has none."""
    actors = [(entry.actor or "").split() for entry in entries]

    def ids(kind: str, concerned: Iterable[int | None]) -> list[int]:
        acted = {int(words[1]) for words in actors if len(words) == 2 and words[0] == kind and words[1].isdecimal()}
        return sorted(acted | {one for one in concerned if one is not None})

    asked = {
        "users": ids("user", (entry.user_id for entry in entries)),
        "keys": ids("key", (entry.key_id for entry in entries)),
    }
    found = database.read("select_names", asked, row_factory=tuple_row)
    return _Names(
        users={number: name for kind, number, name in found if kind == "user"},
        keys={number: name for kind, number, name in found if kind == "key"},
    )
