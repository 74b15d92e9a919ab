"""`/healthz`, `/readyz`, `/metrics`: what looks after the service asks for."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Response

from pgface.errors import PgfaceError, SchemaMissingError, SchemaTooNewError
from pgface.server import metrics
from pgface.server.answers import HealthOut, ReadinessOut
from pgface.server.api.examples import METRICS
from pgface.server.auth import Caller, scoped
from pgface.server.service import Service, TheService

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Does the process answer?")
async def healthz() -> HealthOut:
    """Nothing is looked at; restart it if this fails."""
    return HealthOut()


@router.get(
    "/readyz",
    summary="Can the service do its work?",
    responses={503: {"model": ReadinessOut, "description": "It cannot; send it nothing."}},
)
def readyz(service: TheService, response: Response) -> ReadinessOut:
    """The database, the version of its tables, and the model."""
    found = _readiness(service)
    if not found.ready:
        response.status_code = 503
    return found


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}, "example": METRICS}},
            "description": "As Prometheus reads them.",
        }
    },
    summary="Metrics of all processes",
)
def get_metrics(service: TheService, _: Annotated[Caller, scoped("metrics")]) -> Response:
    """Requests, stages, the queue, the gallery's size, and logins by outcome."""
    service.count_gallery()
    return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)


def _readiness(service: Service) -> ReadinessOut:
    database = current = model = False
    with suppress(PgfaceError):
        try:
            service.require_current_schema()
            database = current = True
        except (SchemaMissingError, SchemaTooNewError):
            database = True
    with suppress(PgfaceError):
        model = bool(service.gallery.engine.identity.name)
    return ReadinessOut(ready=database and current and model, database=database, schema_current=current, model=model)
