"""The list of all users, with their faces."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pgface.accounts.listings import users_with_faces
from pgface.server.cursors import decode_cursor, page
from pgface.server.service import ServiceDep
from pgface.server.web.pages import PageRoute, paging, render

router = APIRouter(route_class=PageRoute)

_PAGE_ROWS: Final = 60
_MAX_CONTESTED: Final = 10
"""The maximum of contested faces on the page."""
_MAX_SEARCH_LENGTH: Final = 255


@router.get("/gallery")
def gallery(
    request: Request, service: ServiceDep, search: str = "", label: str = "", cursor: str | None = None
) -> Response:
    """Show all users, those whose name or e-mail contains a text, or those with a label, in the order of their ids."""
    text = search.replace("\0", "").strip()[:_MAX_SEARCH_LENGTH]
    after = decode_cursor("users", cursor) or 0
    wanted = [label] if label else []
    found = users_with_faces(
        service.gallery.database, text=text or None, labels=wanted, after=after, limit=_PAGE_ROWS + 1
    )
    shown, following = page("users", found, _PAGE_ROWS, lambda user: user.id)
    return render(
        request,
        "admin_gallery.html",
        people=shown,
        search=text,
        label=label,
        contested=[] if cursor or text or label else service.gallery.contested_faces(limit=_MAX_CONTESTED),
        **paging("/admin/gallery", cursor, following, search=text, label=label),
    )
