"""The gallery as faces, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from psycopg.rows import class_row

from pgface.server.cursors import decode_cursor, page
from pgface.server.service import TheService
from pgface.server.web.admin.links import link
from pgface.server.web.pages import PageRoute, render

router = APIRouter(route_class=PageRoute)

_PAGE: Final = 60
_MOST_CONTESTED: Final = 10
"""That are named, so that the page does not search for more."""
_LONGEST_SEARCH: Final = 255


@dataclass(frozen=True, slots=True)
class FaceOfUser:
    """A user and the photo that stands for them."""

    id: int
    name: str
    email: str
    photos: int
    photo_id: int | None
    """None for somebody without photos."""


@router.get("/gallery")
def gallery(request: Request, service: TheService, search: str = "", cursor: str | None = None) -> Response:
    """Everybody, or whose name or e-mail holds some text, in the order of their ids."""
    text = search.replace("\0", "").strip()[:_LONGEST_SEARCH]
    asked = {"after": decode_cursor("users", cursor) or 0, "limit": _PAGE + 1, "text": text or None}
    found = service.gallery.database.read("select_faces_of_users", asked, row_factory=class_row(FaceOfUser))
    shown, following = page("users", found, _PAGE, lambda user: user.id)
    return render(
        request,
        "admin_gallery.html",
        people=shown,
        search=text,
        contested=service.gallery.contested_faces(limit=_MOST_CONTESTED) if cursor is None and not text else [],
        first=cursor is None,
        beginning=link("/admin/gallery", search=text),
        following=following and link("/admin/gallery", search=text, cursor=following),
    )
