"""The operations on jobs: long work that goes on after the response."""

from __future__ import annotations

import json
import re
import threading
from typing import IO, Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from pgface.accounts import Client
from pgface.accounts.idempotency import StoredResponse
from pgface.errors import NotPermittedError, RequestError
from pgface.faces.face_choice import WhichFace
from pgface.jobs.archive import export_files
from pgface.jobs.jobs import Job, JobKind, Jobs, JobState, PhotoResult
from pgface.server.auth import Caller, require_scope
from pgface.server.bodies import BodyRoute
from pgface.server.cursors import Cursor, Limit, decode_cursor, page
from pgface.server.idempotency import IdempotencyKey, once
from pgface.server.openapi import problems
from pgface.server.schemas.jobs import JobPage, JobResponse, PhotoResultPage
from pgface.server.service import ClientDep, Service, ServiceDep
from pgface.server.uploads import MEDIA_TYPES, received_upload

router = APIRouter(route_class=BodyRoute, tags=["jobs"])

JobPath = Annotated[UUID, Path(description="The id of the job.")]
_JobCaller = require_scope("enroll")
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "For `enroll`, a ZIP or TAR file of photos. For `import`, a Parquet file, or a ZIP file of "
        "`face_db.npy` and `face_db.json`. No body for the others.",
        "content": dict.fromkeys(MEDIA_TYPES, _BINARY),
    }
}
_ADDED: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "model": JobResponse,
        "description": "The job waits for a worker. `Location` has its path.",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "The path of the job."}},
    }
}
_storing: Final = threading.Lock()
"""One upload is stored at a time, because each occupies a connection for that long."""
_FOR_ADMINISTRATORS: Final = "The reason is in the log of the worker. An administrator can read it here."


@router.post(
    "/jobs",
    status_code=202,
    summary="Add a job",
    openapi_extra=_UPLOAD,
    responses=_ADDED | problems(409),
    response_model=None,
)
async def create_job(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Caller, _JobCaller],
    client: ClientDep,
    kind: Annotated[JobKind, Query(description="What to do. `enroll` needs the scope `enroll`, the others `admin`.")],
    face: Annotated[WhichFace, Query(description="Of `enroll`: which face of a photo, as for one photo.")] = "only",
    allow_other_user: Annotated[
        bool,
        Query(description="Of `enroll`: enroll faces also if they are another user's. Only administrators may do so."),
    ] = False,
    model: Annotated[
        str | None,
        Query(max_length=100, pattern=r"^[A-Za-z0-9_.-]+$", description="Of `reembed`: the name of the new model."),
    ] = None,
    drop_lost: Annotated[
        bool, Query(description="Of `reembed`: delete embeddings that cannot be embedded again.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Adds long work that a worker does (`pgface worker`). The response does not wait for it.

    An archive has a folder for each person, `<person>/<photo>`, as for `pgface enroll --folder`.
    """
    if not caller.may("admin") and (kind != "enroll" or allow_other_user):
        raise NotPermittedError
    if (kind == "reembed") != (model is not None):
        raise RequestError("Give `model` for `reembed`, and only for that.")
    jobs = _jobs(service)
    async with received_upload(request) as upload:
        if (upload is not None) != (kind in ("enroll", "import")):
            raise RequestError("Send a file for `enroll` and `import`, and none for the other kinds.")
        fingerprint = f"{kind} {face} {allow_other_user} {model} {drop_lost} {request.state.fingerprint}"
        request.state.fingerprint = fingerprint

        def add() -> Job:
            with _storing:
                return store()

        def store() -> Job:
            if upload is not None and kind == "enroll":
                return jobs.enroll(upload, client, face=face, allow_other_user=allow_other_user)
            if upload is not None:
                return _import(service, jobs, upload, client)
            if model is not None:
                return jobs.reembed(client, model=model, drop_lost=drop_lost)
            return jobs.evaluate(client)

        async def act() -> StoredResponse:
            return StoredResponse(202, _shown(await service.run_db(add), caller, service).to_json())

        response = await once(request, caller, idempotency_key, act)
    response.headers["Location"] = _location(request, json.loads(bytes(response.body))["id"])
    return response


@router.get("/jobs", summary="List the jobs")
def list_jobs(
    service: ServiceDep,
    caller: Annotated[Caller, _JobCaller],
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobPage:
    """Returns the newest jobs first. Programs without the scope `admin` see only those that they added."""
    before = decode_cursor("jobs", cursor)
    found = _jobs(service).newest(created_by=_owner(caller), state=state, before=before, limit=limit + 1)
    shown, following = page("jobs", found, limit, lambda job: job.number)
    return JobPage(jobs=[_shown(job, caller, service) for job in shown], next_cursor=following)


@router.get("/jobs/{job_id}", summary="Get a job")
def get_job(service: ServiceDep, caller: Annotated[Caller, _JobCaller], job_id: JobPath) -> JobResponse:
    """Returns its state and progress."""
    return _shown(_jobs(service).find(job_id, created_by=_owner(caller)), caller, service)


@router.get("/jobs/{job_id}/results", summary="List the results of a job")
def list_job_results(
    service: ServiceDep,
    caller: Annotated[Caller, _JobCaller],
    job_id: JobPath,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PhotoResultPage:
    """Returns one result for each photo, in the order of the archive. Other kinds of jobs have none."""
    last = decode_cursor("results", cursor)
    jobs = _jobs(service)
    jobs.find(job_id, created_by=_owner(caller))
    found = jobs.results(job_id, after=-1 if last is None else last, limit=limit + 1)
    shown, following = page("results", found, limit, lambda result: result.position)
    return PhotoResultPage.of({"results": [_result(one) for one in shown], "next_cursor": following}, service)


@router.post("/jobs/{job_id}/cancel", summary="Cancel a job", responses=problems(409))
def cancel_job(
    service: ServiceDep, caller: Annotated[Caller, _JobCaller], client: ClientDep, job_id: JobPath
) -> JobResponse:
    """Photos that were enrolled stay. Photos that wait are deleted."""
    return _shown(_jobs(service).cancel(job_id, client, created_by=_owner(caller)), caller, service)


def _jobs(service: Service) -> Jobs:
    return Jobs(service.gallery, (service.home or service).gallery)


def _location(request: Request, job_id: str) -> str:
    gallery = request.scope.get("pgface.gallery")
    root = request.scope.get("root_path", "") if gallery is None else request.scope["pgface.root_path"]
    of_gallery = "" if gallery is None else f"/galleries/{gallery}"
    # `RequestContextMiddleware` removes the host. It would add the path of the service to a location without one.
    return f"http://localhost{root}/api/v1{of_gallery}/jobs/{job_id}"


def _import(service: Service, jobs: Jobs, upload: IO[bytes], client: Client) -> Job:
    with export_files(upload, max_bytes=service.settings.max_archive_bytes) as files:
        return jobs.import_export(files, client)


def _owner(caller: Caller) -> str | None:
    """Return whose jobs a caller may see. None for all."""
    return None if caller.may("admin") else caller.name


def _shown(job: Job, caller: Caller, service: Service) -> JobResponse:
    hidden = job.reason is not None and not caller.may("admin")
    changed = {"reason": _FOR_ADMINISTRATORS if hidden else job.reason, "error": _code(job.error)}
    values = {name: getattr(job, name) for name in JobResponse.model_fields} | changed
    return JobResponse.of(values, service)


def _result(result: PhotoResult) -> dict[str, Any]:
    return result.to_json() | {"outcome": result.outcome or "waiting", "error": _code(result.error)}


def _code(error: str | None) -> str | None:
    """Return the code of an error's class, as problems have it."""
    return None if error is None else re.sub(r"(?<!^)(?=[A-Z])", "-", error.removesuffix("Error")).lower()
