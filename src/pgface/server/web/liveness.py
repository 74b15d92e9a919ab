"""The page of a liveness session, to which an application sends its user's browser."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pgface.errors import UnknownLivenessSessionError
from pgface.server.api.liveness import SessionId
from pgface.server.service import ServiceDep
from pgface.server.web.pages import PageRoute, Viewer, render

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/liveness/{session_id}")
async def session_page(request: Request, service: ServiceDep, _: Viewer, session_id: SessionId) -> Response:
    """Show the page with the camera. Its script sends the frames to the API."""
    result = await service.run_db(service.liveness.result, session_id)
    if result.status not in ("CREATED", "IN_PROGRESS"):
        raise UnknownLivenessSessionError
    return render(request, "liveness.html", session=session_id)
