"""For administrators: the gallery, a person, identifying, status, and the audit log."""

from __future__ import annotations

from fastapi import APIRouter

from pgface.server.web.pages import PageRoute

router = APIRouter(prefix="/admin", route_class=PageRoute, include_in_schema=False)
