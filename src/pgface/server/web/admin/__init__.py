"""The pages of administrators."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from pgface.server.web.admin import galleries, gallery, keys, overview, people
from pgface.server.web.pages import PageRoute, get_current_admin

# The dependency applies to every page, before the body of a request is read.
router = APIRouter(
    prefix="/admin", route_class=PageRoute, include_in_schema=False, dependencies=[Depends(get_current_admin)]
)
for module in (gallery, people, overview, keys, galleries):
    router.include_router(module.router)
