"""My account: photos, sessions, my data, and leaving."""

from __future__ import annotations

from fastapi import APIRouter

from pgface.server.web.pages import PageRoute

router = APIRouter(prefix="/account", route_class=PageRoute, include_in_schema=False)
