"""The way in: the beginning, registering, logging in and out, and the language."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response

from pgface.server.web.languages import COOKIE, NAMES
from pgface.server.web.pages import PageRoute, Viewer, local_path, redirect

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_YEAR = 365 * 24 * 3600


@router.get("/")
def beginning(viewer: Viewer) -> Response:
    """Everybody begins at their own account."""
    return redirect("/account" if viewer else "/login")


@router.post("/language")
def choose_language(
    language: Annotated[str, Form(max_length=10)], next_path: Annotated[str, Form(alias="next", max_length=500)] = "/"
) -> Response:
    """Remember it in this browser."""
    response = redirect(local_path(next_path))
    if language in NAMES:
        response.set_cookie(COOKIE, language, max_age=_YEAR, secure=True, httponly=True, samesite="lax")
    return response
