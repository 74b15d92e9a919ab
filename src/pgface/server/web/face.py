"""The route for the script of the page that logs in by face."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from pgface.accounts import Challenge
from pgface.server.bodies import BodyRoute
from pgface.server.logins import continue_face_login
from pgface.server.schemas.auth import FaceLoginRequest
from pgface.server.schemas.base import Text
from pgface.server.service import ClientDep, ServiceDep
from pgface.server.web.pages import local_path, set_login_cookie

# Not a `PageRoute`, because a script reads the responses to errors.
router = APIRouter(route_class=BodyRoute, include_in_schema=False)


class FaceForm(FaceLoginRequest):
    """The next frames, and the page to go to after the login."""

    next: Text = "/"


@router.post("/login/face")
async def answer_challenge(request: Request, service: ServiceDep, client: ClientDep, form: FaceForm) -> JSONResponse:
    """Check the next frames, as the API does. A finished login sets the cookie and returns the next page."""
    answered = await continue_face_login(service, form, client)
    if isinstance(answered, Challenge):
        return JSONResponse({"pose": answered.pose, "progress": answered.progress}, 202)
    response = JSONResponse({"next": request.scope.get("root_path", "") + local_path(form.next)})
    await set_login_cookie(response, request, answered)
    return response
