"""The operations for health checks and monitoring: `/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from pgface.accounts.listings import gallery_size
from pgface.database.migrate import require_current
from pgface.database.pool import Database
from pgface.database.replica_lag import any_lag
from pgface.errors import PgfaceError, SchemaMissingError, SchemaTooNewError
from pgface.server import metrics
from pgface.server.auth import Caller, require_scope
from pgface.server.schemas.operations import HealthResponse, ReadinessResponse, ReplicaResponse
from pgface.server.service import Service, ServiceDep

router = APIRouter(tags=["operations"])

_EXPOSITION: Final = {
    "content": {
        "text/plain": {"schema": {"type": "string"}, "example": "pgface_users 120.0\npgface_embeddings 480.0\n"}
    },
    "description": "The format of Prometheus.",
}


@router.get("/healthz", summary="Check that the process responds")
async def healthz() -> HealthResponse:
    """Checks nothing else. If this fails, restart the process."""
    return HealthResponse()


@router.get(
    "/readyz",
    summary="Check that the service is ready",
    responses={503: {"model": ReadinessResponse, "description": "The service is not ready. Send no requests to it."}},
)
def readyz(service: ServiceDep, response: Response) -> ReadinessResponse:
    """Checks the database, the version of its tables, and the model. A replica must also follow its primary."""
    found = _readiness(service)
    if not found.ready:
        response.status_code = 503
    return found


@router.get("/metrics", response_class=Response, responses={200: _EXPOSITION}, summary="Get the metrics")
def get_metrics(service: ServiceDep, _: Annotated[Caller, require_scope("metrics")]) -> Response:
    """Returns the metrics of all processes: requests, stages, the work queues, the size of the gallery, and logins.

    With replicas, they also show how far each is behind.
    """
    database = service.gallery.database
    with any_lag():
        users, embeddings = gallery_size(database)
        metrics.users.set(users)
        metrics.embeddings.set(embeddings)
        lag = database.replica_lag()
        metrics.read_only.set(lag is not None)
        if lag is not None:
            metrics.set_lag("database", lag)
        for replica, lag_of_one in database.lags_of_replicas().items():
            metrics.set_lag(replica, lag_of_one)
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _readiness(service: Service) -> ReadinessResponse:
    database = current = model = False
    replica: ReplicaResponse | None = None
    with suppress(PgfaceError), any_lag():
        try:
            replica = _replica(service.gallery.database)
            with service.gallery.database.transaction() as connection:
                require_current(connection)
            database = current = True
        except (SchemaMissingError, SchemaTooNewError):
            database = True
    with suppress(PgfaceError):
        model = bool(service.gallery.engine.identity.name)
    ready = database and current and model and (replica is None or replica.current)
    return ReadinessResponse(ready=ready, database=database, schema_current=current, model=model, replica=replica)


def _replica(database: Database) -> ReplicaResponse | None:
    lag = database.replica_lag()
    if lag is None:
        return None
    return ReplicaResponse(current=not database.is_behind(lag), lag_bytes=lag.bytes, lag_seconds=lag.seconds)
