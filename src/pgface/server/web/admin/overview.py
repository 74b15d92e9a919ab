"""The pages to identify people, and to see the status of the gallery and the audit log."""

from __future__ import annotations

from typing import Final, get_args

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pgface.accounts import read_audit
from pgface.accounts.audit_log import Event
from pgface.accounts.listings import names_in_audit, user_ids_by_text
from pgface.gallery.status import read_advice
from pgface.server.cursors import decode_cursor, page
from pgface.server.service import ServiceDep
from pgface.server.web.pages import PageRoute, paging, render
from pgface.thresholds import CALIBRATE_AGAIN

router = APIRouter(route_class=PageRoute)

_PAGE_ROWS: Final = 50
_MAX_TEXT_LENGTH: Final = 255
_EVENTS: Final[tuple[str, ...]] = get_args(Event)
_OUTCOMES: Final = ("done", "refused")


@router.get("/identify")
def identify(request: Request) -> Response:
    """Show the page that identifies people in a photo. Its script calls the API, and the photo is not stored."""
    return render(request, "admin_identify.html")


@router.get("/status")
def status(request: Request, service: ServiceDep) -> Response:
    """Show the status of the gallery, with advice."""
    gallery = service.gallery
    found = gallery.status()
    return render(
        request,
        "admin_status.html",
        found=found,
        search=gallery.search_state(),
        advice=read_advice(gallery.database, found),
        calibrate=CALIBRATE_AGAIN,
    )


@router.get("/audit")
def audit(
    request: Request,
    service: ServiceDep,
    event: str = "",
    outcome: str = "",
    user: str = "",
    cursor: str | None = None,
) -> Response:
    """Show the events of accounts, the newest first."""
    database = service.gallery.database
    filters = {
        "event": event if event in _EVENTS else "",
        "outcome": outcome if outcome in _OUTCOMES else "",
        "user": user.replace("\0", "").strip()[:_MAX_TEXT_LENGTH],
    }
    found = read_audit(
        database,
        users=user_ids_by_text(database, filters["user"]) if filters["user"] else None,
        event=filters["event"] or None,
        outcome=filters["outcome"] or None,
        before=decode_cursor("audit", cursor),
        limit=_PAGE_ROWS + 1,
    )
    shown, following = page("audit", found, _PAGE_ROWS, lambda entry: entry.id)
    return render(
        request,
        "admin_audit.html",
        entries=shown,
        names=names_in_audit(database, shown),
        events=_EVENTS,
        event=filters["event"],
        outcome=filters["outcome"],
        user_text=filters["user"],
        **paging("/admin/audit", cursor, following, **filters),
    )
