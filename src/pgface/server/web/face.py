"""Logging in by face: the page with the camera, and the route for its script."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from pgface.accounts import Challenge
from pgface.server.bodies import BodyRoute
from pgface.server.logins import continue_face_login
from pgface.server.schemas.auth import FaceLoginRequest
from pgface.server.schemas.base import Text
from pgface.server.service import ClientDep, ServiceDep
from pgface.server.web.login import NextPath
from pgface.server.web.pages import (
    PageRoute,
    Viewer,
    local_path,
    redirect,
    render,
    set_login_cookie,
)

_pages = APIRouter(route_class=PageRoute)
_scripts = APIRouter(route_class=BodyRoute)
"""Routes for scripts. The responses to their errors are problems."""


class FaceForm(FaceLoginRequest):
    """The next frames, and the page to go to."""

    next: Text = "/"


@_pages.get("/login/face")
def face_page(request: Request, viewer: Viewer, next_path: NextPath = None) -> Response:
    """Show the form of what the policy needs besides the face."""
    if viewer is not None:
        return redirect(local_path(next_path))
    return render(request, "face.html", next=local_path(next_path))


@_scripts.post("/login/face")
async def answer_challenge(
    request: Request,
    service: ServiceDep,
    client: ClientDep,
    asked: FaceForm,
) -> JSONResponse:
    """Check the next frames, as the API does. The token goes into the cookie, and the script gets the next page."""
    answered = await continue_face_login(service, asked, client)
    if isinstance(answered, Challenge):
        return JSONResponse({"pose": answered.pose, "progress": answered.progress}, 202)
    response = JSONResponse({"next": request.scope.get("root_path", "") + local_path(asked.next)})
    await set_login_cookie(response, request, answered)
    return response


router = APIRouter(include_in_schema=False)
router.include_router(_pages)
router.include_router(_scripts)
