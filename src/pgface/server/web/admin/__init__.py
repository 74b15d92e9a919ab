"""The pages of administrators: the gallery, users, identifying, status, API keys, and the audit log."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from pgface.server.web.admin import gallery, keys, overview, people
from pgface.server.web.pages import PageRoute, get_current_admin

# For every page, and before any of a request's body is read.
router = APIRouter(
    prefix="/admin", route_class=PageRoute, include_in_schema=False, dependencies=[Depends(get_current_admin)]
)
for module in (gallery, people, overview, keys):
    router.include_router(module.router)
