"""IndexFaces, ListFaces, DeleteFaces, SearchFaces and SearchFacesByImage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pgface.gallery import Gallery, indexed_faces
from pgface.gallery.indexed_faces import Refusal, SimilarFace
from pgface.gallery.people_of_faces import find_person
from pgface.server.compat.rekognition.answers import bounding_box, face_confidence, face_detail, stored_face
from pgface.server.compat.rekognition.call import Answer, Call, model_version, percent, threshold
from pgface.server.compat.rekognition.collections import gallery_of
from pgface.server.compat.rekognition.detection import DEFAULT_THRESHOLD, embedded_faces, no_faces
from pgface.server.compat.rekognition.errors import AwsError
from pgface.server.compat.rekognition.images import photo_in
from pgface.server.compat.rekognition.pages import decode_id, encode_token
from pgface.server.compat.rekognition.quality import MAX_FACES, ChosenFaces

_DEFAULT_PAGE: Final = 1000
_DEFAULT_MATCHES: Final = 50
"""AWS does not publish its default. A longer list compares the probe with every face."""


def unknown_face() -> AwsError:
    """Return the error for a FaceId that the collection does not have."""
    return AwsError("InvalidParameterException", "faceId was not found in the collection.")


def refused_faces(refused: Sequence[Refusal], gallery: Gallery, reasons: dict[str, str]) -> list[dict[str, Any]]:
    """Return the faces that were not changed, with the reasons of AWS."""
    return [
        {"FaceId": str(one.face_id), "Reasons": [reasons[one.reason]]}
        | ({"UserId": one.person} if one.person is not None else {})
        | ({"Confidence": percent(gallery, one.similarity)} if one.similarity is not None else {})
        for one in refused
    ]


async def index_faces(call: Call) -> Answer:
    """Answer IndexFaces."""
    gallery, fields = await gallery_of(call), call.fields

    def index() -> Answer:
        photo = photo_in(fields["Image"], gallery.settings)
        most = min(fields.get("MaxFaces", MAX_FACES), MAX_FACES)
        choice = ChosenFaces(fields.get("QualityFilter", "AUTO"), most, gallery.settings)
        stored, size = indexed_faces.index_faces(
            gallery,
            photo,
            choice,
            external_image_id=fields.get("ExternalImageId"),
            on_new=call.recording("photo enrolled"),
        )
        return {
            "FaceRecords": [
                {"Face": stored_face(face, gallery), "FaceDetail": face_detail(found, size)} for face, found in stored
            ],
            "UnindexedFaces": [
                {"Reasons": reasons, "FaceDetail": face_detail(face, size)} for face, reasons in choice.left_out
            ],
            "FaceModelVersion": model_version(gallery),
        }

    return await call.with_model(index)


async def list_faces(call: Call) -> Answer:
    """Answer ListFaces."""
    gallery, fields = await gallery_of(call), call.fields
    list_name = f"ListFaces {fields['CollectionId']}"
    after = decode_id(list_name, fields.get("NextToken"))
    limit = fields.get("MaxResults") or _DEFAULT_PAGE

    def listed() -> Answer:
        user_id = None
        if "UserId" in fields:
            with gallery.database.transaction() as connection:
                user_id = find_person(connection, fields["UserId"]).user_id
        face_ids = [UUID(one) for one in fields["FaceIds"]] if "FaceIds" in fields else None
        found = indexed_faces.list_faces(gallery, after=after, limit=limit + 1, user_id=user_id, face_ids=face_ids)
        page = found[:limit]
        answer: Answer = {
            "Faces": [stored_face(face, gallery) for face in page],
            "FaceModelVersion": model_version(gallery),
        }
        more = {"NextToken": encode_token(list_name, str(page[-1].embedding_id))} if len(found) > limit else {}
        return answer | more

    return await call.with_database(listed)


async def delete_faces(call: Call) -> Answer:
    """Answer DeleteFaces."""
    gallery = await gallery_of(call)
    reasons = {"unknown": "FACE_NOT_FOUND", "other person": "ASSOCIATED_TO_AN_EXISTING_USER"}

    def delete() -> Answer:
        face_ids = [UUID(one) for one in call.fields["FaceIds"]]
        changes = indexed_faces.delete_faces(gallery, face_ids, call.recording("face deleted"))
        return {
            "DeletedFaces": [str(one) for one in changes.done],
            "UnsuccessfulFaceDeletions": refused_faces(changes.refused, gallery, reasons),
        }

    return await call.with_database(delete)


async def search_faces(call: Call) -> Answer:
    """Answer SearchFaces. The searched face is not in the answer."""
    gallery, fields = await gallery_of(call), call.fields

    def search() -> Answer:
        config = gallery.config
        probe = indexed_faces.embedding_of_face(gallery, UUID(fields["FaceId"]))
        if probe is None:
            raise unknown_face()
        embedding_id, embedding = probe
        found = indexed_faces.search_faces(
            gallery,
            embedding,
            threshold(gallery, fields.get("FaceMatchThreshold", DEFAULT_THRESHOLD)),
            fields.get("MaxFaces", _DEFAULT_MATCHES),
            config=config,
            except_embedding_id=embedding_id,
        )
        return {"SearchedFaceId": fields["FaceId"], **_matches(gallery, found)}

    return await call.with_database(search)


async def search_faces_by_image(call: Call) -> Answer:
    """Answer SearchFacesByImage for the largest face of the photo."""
    gallery, fields = await gallery_of(call), call.fields

    def search() -> Answer:
        config = gallery.config
        photo = photo_in(fields["Image"], gallery.settings)
        choice = ChosenFaces(fields.get("QualityFilter", "NONE"), 1, gallery.settings)
        faces, size = embedded_faces(gallery, photo, choice)
        if not faces:
            raise no_faces()
        found = indexed_faces.search_faces(
            gallery,
            faces[0].embedding,
            threshold(gallery, fields.get("FaceMatchThreshold", DEFAULT_THRESHOLD)),
            fields.get("MaxFaces", _DEFAULT_MATCHES),
            config=config,
        )
        return {
            "SearchedFaceBoundingBox": bounding_box(faces[0].box, size),
            "SearchedFaceConfidence": face_confidence(faces[0].detection_score),
            **_matches(gallery, found),
        }

    return await call.with_model(search)


def _matches(gallery: Gallery, found: Sequence[SimilarFace]) -> Answer:
    return {
        "FaceMatches": [
            {"Similarity": percent(gallery, one.similarity), "Face": stored_face(one.face, gallery)} for one in found
        ],
        "FaceModelVersion": model_version(gallery),
    }
