"""CreateFaceLivenessSession and GetFaceLivenessSessionResults.

The person sends the frames to `/liveness/ID` or `/api/v1/liveness/ID` of this service. The protocol of AWS's own
components for browsers and phones is another one, which pgface does not have.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import psycopg

from pgface.accounts.liveness_sessions import SessionImage
from pgface.accounts.tokens import state_cipher
from pgface.errors import KeyUsedBeforeError, ModelNotInstalledError, UnknownLivenessSessionError
from pgface.server.compat.rekognition.call import Answer, Call
from pgface.server.compat.rekognition.errors import AwsError

_CHALLENGE: Final = {"Type": "FaceMovementChallenge", "Version": "1.0.0"}
"""The name that AWS has for a challenge of movements alone. The version is that of pgface."""
_REFUSED: Final = "InvalidParameterException"
_PURPOSE: Final = "answer to a ClientRequestToken"


async def create_session(call: Call) -> Answer:
    """Answer CreateFaceLivenessSession."""
    settings = call.fields.get("Settings", {})
    _require_possible(call.fields, settings)
    sessions, token = call.service.liveness, call.fields.get("ClientRequestToken", "")
    cipher = state_cipher(_PURPOSE, token)

    def create(connection: psycopg.Connection) -> Answer:
        session_id = sessions.create(connection, audit_images=settings.get("AuditImagesLimit", 0))
        # The answer is stored for a day, and the id is a secret.
        return {"encrypted": cipher.encrypt(session_id.encode()).decode()}

    def create_once() -> Answer:
        try:
            sessions.require_usable()
            answer = call.once(call.service.gallery.database.transaction, create)
        except ModelNotInstalledError as error:
            raise AwsError("AccessDeniedException", str(error)) from None
        except KeyUsedBeforeError:  # this operation does not have the usual error
            raise AwsError(_REFUSED, "This ClientRequestToken was used for a different request.") from None
        return {"SessionId": cipher.decrypt(answer["encrypted"].encode()).decode()}

    return await call.with_database(create_once)


async def get_results(call: Call) -> Answer:
    """Answer GetFaceLivenessSessionResults."""
    session_id = call.fields["SessionId"]
    try:
        result = await call.with_database(call.service.liveness.result, session_id)
    except UnknownLivenessSessionError:
        raise AwsError("SessionNotFoundException", "There is no such session, or it expired long ago.") from None
    answer: Answer = {"SessionId": session_id, "Status": result.status}
    if result.status != "EXPIRED":
        answer["Challenge"] = _CHALLENGE
    if result.confidence is not None:
        answer["Confidence"] = round(100 * min(max(result.confidence, 0.0), 1.0), 4)
        answer["AuditImages"] = [_image(image) for image in result.images[1:]]
    if result.images:
        answer["ReferenceImage"] = _image(result.images[0])
    return answer


def _require_possible(fields: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse what pgface does not have.

    Raises:
        AwsError: the request asks for it.

    """
    if fields.get("KmsKeyId") is not None:
        raise AwsError(_REFUSED, "pgface does not have KmsKeyId. Results are encrypted with a key of their session.")
    if settings.get("OutputConfig") is not None:
        raise AwsError(_REFUSED, "pgface does not have OutputConfig. GetFaceLivenessSessionResults returns the images.")
    preferences = settings.get("ChallengePreferences")
    if preferences and not any(map(_is_possible, preferences)):
        raise AwsError(
            _REFUSED,
            f"pgface has no challenge of these ChallengePreferences. It has {_CHALLENGE['Type']} of the version "
            f"{_CHALLENGE['Version']}.",
        )


def _is_possible(preference: Mapping[str, Any]) -> bool:
    versions = preference.get("Versions", {})
    own = _CHALLENGE["Version"]
    lowest, highest = versions.get("Minimum", own), versions.get("Maximum", own)
    return preference["Type"] == _CHALLENGE["Type"] and _numbers(lowest) <= _numbers(own) <= _numbers(highest)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _image(image: SessionImage) -> Answer:
    left, top, width, height = image.box
    box = {"Width": width, "Height": height, "Left": left, "Top": top}
    return {
        "Bytes": base64.b64encode(image.jpeg).decode(),
        "BoundingBox": {name: round(share, 6) for name, share in box.items()},
    }
