"""The operations of `/liveness`: the frames of a liveness session. Its id is the secret of the caller."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from pgface.server.bodies import BodyRoute
from pgface.server.camera_hints import camera_hint
from pgface.server.openapi import problems
from pgface.server.schemas.auth import HintResponse
from pgface.server.schemas.liveness import LivenessFramesRequest, LivenessHintRequest, LivenessStepResponse
from pgface.server.service import ClientDep, ServiceDep

router = APIRouter(route_class=BodyRoute, tags=["liveness"])

SessionId = Annotated[
    str,
    Path(
        pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        description="The id of the session, as CreateFaceLivenessSession returned it.",
    ),
]


@router.post(
    "/liveness/{session_id}",
    summary="Send frames of a liveness session",
    response_model=LivenessStepResponse,
    responses={
        202: {"model": LivenessStepResponse, "description": "Look where the response says, and send the next frames."},
        **problems(404),
    },
)
async def answer_liveness_session(
    service: ServiceDep, client: ClientDep, session_id: SessionId, body: LivenessFramesRequest
) -> LivenessStepResponse | JSONResponse:
    """Send frames while the status is 202. The first pose is straight ahead.

    The status 200 means that the session has ended. GetFaceLivenessSessionResults says whether the person is live.
    """
    step = await service.inference.run(service.liveness.answer, session_id, body.frames, client=client)
    answer = LivenessStepResponse(pose=step.pose, progress=step.progress, done=step.done)
    return answer if step.done else JSONResponse(answer.to_json(), 202)


@router.post("/liveness/{session_id}/hint", summary="Check the position of a face", responses=problems(404))
async def get_liveness_hint(service: ServiceDep, session_id: SessionId, body: LivenessHintRequest) -> HintResponse:
    """Accepts at most 300 frames for each session. A hint identifies no face. A busy service gives no hints."""
    await service.run_db(service.liveness.count_hint, session_id)
    return HintResponse(hint=await service.inference.run_if_idle(camera_hint, service.gallery, body.frame))
