"""Asking who is in a photo, the gallery's status, and the audit log."""

from __future__ import annotations

from typing import Final, get_args

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pgface.accounts import read_audit
from pgface.accounts.audit import Event
from pgface.people import id_in_range
from pgface.server.cursors import decode_cursor, page
from pgface.server.service import TheService
from pgface.server.web.admin.links import link
from pgface.server.web.pages import PageRoute, render

router = APIRouter(route_class=PageRoute)

_PAGE: Final = 50
_LONGEST_ID: Final = 10
_EVENTS: Final[tuple[str, ...]] = get_args(Event)


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
    request: Request, service: TheService, event: str = "", user: str = "", cursor: str | None = None
) -> Response:
    """What happened to accounts, the newest first."""
    kind = event if event in _EVENTS else ""
    given = user.strip()[:_LONGEST_ID]
    who = _user_id(given)
    before = decode_cursor("audit", cursor)
    database = service.gallery.database
    found = read_audit(database, user_id=who, event=kind or None, before=before, limit=_PAGE + 1)
    shown, following = page("audit", found, _PAGE, lambda entry: entry.id)
    return render(
        request,
        "admin_audit.html",
        entries=shown,
        events=_EVENTS,
        event=kind,
        user=given,
        first=cursor is None,
        beginning=link("/admin/audit", event=kind, user=given),
        following=following and link("/admin/audit", event=kind, user=given, cursor=following),
    )


def _user_id(text: str) -> int | None:
    """Whose entries; of nobody, if it is no number."""
    if not text:
        return None
    try:
        return id_in_range(int(text))
    except ValueError:
        return -1
