"""The operations for users of a collection, who are the people of a gallery."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import psycopg

from pgface.errors import DuplicateExternalIdError
from pgface.gallery import Gallery, indexed_faces, people_of_faces
from pgface.gallery.people_of_faces import SimilarPerson, TooManyFacesError, find_person
from pgface.server.compat.rekognition.answers import face_detail
from pgface.server.compat.rekognition.call import Answer, Call, model_version, percent, threshold
from pgface.server.compat.rekognition.collections import gallery_of
from pgface.server.compat.rekognition.detection import DEFAULT_THRESHOLD, embedded_faces
from pgface.server.compat.rekognition.errors import AwsError
from pgface.server.compat.rekognition.faces import refused_faces, unknown_face
from pgface.server.compat.rekognition.images import photo_in
from pgface.server.compat.rekognition.pages import decode_id, encode_token
from pgface.server.compat.rekognition.quality import ChosenFaces

_DEFAULT_PAGE: Final = 500
_DEFAULT_MATCHES: Final = 50
_ASSOCIATION_THRESHOLD: Final = 75.0
_REASONS: Final = {
    "unknown": "FACE_NOT_FOUND",
    "other person": "ASSOCIATED_TO_A_DIFFERENT_USER",
    "not similar": "LOW_MATCH_CONFIDENCE",
}
_ACTIVE: Final = "ACTIVE"
_CREATED: Final = "CREATED"
"""The status of a user without faces."""


async def create_user(call: Call) -> Answer:
    """Answer CreateUser."""
    gallery, person = await gallery_of(call), call.fields["UserId"]
    if person.startswith(people_of_faces.ID_PREFIX):
        raise AwsError(
            "InvalidParameterException", f"A UserId that starts with {people_of_faces.ID_PREFIX} is reserved."
        )

    def create(connection: psycopg.Connection) -> Answer:
        try:
            people_of_faces.add_person(connection, person, call.recording("user added"))
        except DuplicateExternalIdError:
            raise AwsError("ConflictException", "A user with this UserId exists already.") from None
        return {}

    return await call.with_database(call.once, gallery.database.transaction, create)


async def delete_user(call: Call) -> Answer:
    """Answer DeleteUser. The faces of the user stay in the collection."""
    gallery, person = await gallery_of(call), call.fields["UserId"]

    def delete(connection: psycopg.Connection) -> Answer:
        people_of_faces.delete_person(connection, person, call.recording("user deleted"))
        return {}

    return await call.with_database(call.once, gallery.deletion, delete)


async def list_users(call: Call) -> Answer:
    """Answer ListUsers."""
    gallery, fields = await gallery_of(call), call.fields
    list_name = f"ListUsers {fields['CollectionId']}"
    after = decode_id(list_name, fields.get("NextToken"))
    limit = fields.get("MaxResults", _DEFAULT_PAGE)

    def listed() -> Answer:
        found = people_of_faces.list_people(gallery, after=after, limit=limit + 1)
        page = found[:limit]
        answer: Answer = {
            "Users": [{"UserId": one.person, "UserStatus": _status(one.has_faces)} for one in page],
        }
        return answer | ({"NextToken": encode_token(list_name, str(page[-1].user_id))} if len(found) > limit else {})

    return await call.with_database(listed)


async def associate_faces(call: Call) -> Answer:
    """Answer AssociateFaces."""
    gallery, fields = await gallery_of(call), call.fields

    def associate(connection: psycopg.Connection) -> Answer:
        least = threshold(gallery, fields.get("UserMatchThreshold", _ASSOCIATION_THRESHOLD))
        face_ids = [UUID(one) for one in fields["FaceIds"]]
        try:
            changes = people_of_faces.associate(
                connection, fields["UserId"], face_ids, least, call.recording("face associated")
            )
        except TooManyFacesError:
            most = people_of_faces.MAX_FACES_OF_PERSON
            raise AwsError("ServiceQuotaExceededException", f"A user has at most {most} faces.") from None
        return {
            "AssociatedFaces": [{"FaceId": str(one)} for one in changes.done],
            "UnsuccessfulFaceAssociations": refused_faces(changes.refused, gallery, _REASONS),
            "UserStatus": _status(find_person(connection, fields["UserId"]).has_faces),
        }

    return await call.with_database(call.once, gallery.deletion, associate)


async def disassociate_faces(call: Call) -> Answer:
    """Answer DisassociateFaces."""
    gallery, fields = await gallery_of(call), call.fields

    def disassociate(connection: psycopg.Connection) -> Answer:
        face_ids = [UUID(one) for one in fields["FaceIds"]]
        changes, has_faces = people_of_faces.disassociate(
            connection, fields["UserId"], face_ids, call.recording("face disassociated")
        )
        return {
            "DisassociatedFaces": [{"FaceId": str(one)} for one in changes.done],
            "UnsuccessfulFaceDisassociations": refused_faces(changes.refused, gallery, _REASONS),
            "UserStatus": _status(has_faces),
        }

    # A disassociation deletes no file, but the search must follow it as it follows a deletion.
    return await call.with_database(call.once, gallery.deletion, disassociate)


async def search_users(call: Call) -> Answer:
    """Answer SearchUsers, for the mean of a user's faces or for a face."""
    gallery, fields = await gallery_of(call), call.fields
    if ("UserId" in fields) == ("FaceId" in fields):
        raise AwsError("InvalidParameterException", "Give either UserId or FaceId.")

    def search() -> Answer:
        config = gallery.config
        searched: Answer
        if "FaceId" in fields:
            probe = indexed_faces.embedding_of_face(gallery, UUID(fields["FaceId"]))
            if probe is None:
                raise unknown_face()
            embedding, own_id, searched = probe[1], None, {"SearchedFace": {"FaceId": fields["FaceId"]}}
        else:
            with gallery.database.transaction() as connection:
                own_id = find_person(connection, fields["UserId"]).user_id
            searched = {"SearchedUser": {"UserId": fields["UserId"]}}
            mean = people_of_faces.embedding_of_person(gallery, own_id)
            if mean is None:
                return searched | _matches(gallery, [])
            embedding = mean
        found = people_of_faces.search_people(
            gallery,
            embedding,
            threshold(gallery, fields.get("UserMatchThreshold", DEFAULT_THRESHOLD)),
            fields.get("MaxUsers", _DEFAULT_MATCHES),
            config=config,
            except_user_id=own_id,
        )
        return searched | _matches(gallery, found)

    return await call.with_database(search)


async def search_users_by_image(call: Call) -> Answer:
    """Answer SearchUsersByImage for the largest face of the photo. A photo without a face is no error."""
    gallery, fields = await gallery_of(call), call.fields

    def search() -> Answer:
        config = gallery.config
        photo = photo_in(fields["Image"], gallery.settings)
        choice = ChosenFaces(fields.get("QualityFilter", "NONE"), 1, gallery.settings)
        faces, size = embedded_faces(gallery, photo, choice)
        unsearched = [
            {
                "FaceDetails": face_detail(face, size),
                "Reasons": ["FACE_NOT_LARGEST" if one == "EXCEEDS_MAX_FACES" else one for one in reasons],
            }
            for face, reasons in choice.left_out
        ]
        if not faces:
            return _matches(gallery, []) | {"UnsearchedFaces": unsearched}
        found = people_of_faces.search_people(
            gallery,
            faces[0].embedding,
            threshold(gallery, fields.get("UserMatchThreshold", DEFAULT_THRESHOLD)),
            fields.get("MaxUsers", _DEFAULT_MATCHES),
            config=config,
        )
        searched = {"SearchedFace": {"FaceDetail": face_detail(faces[0], size)}}
        return _matches(gallery, found) | searched | {"UnsearchedFaces": unsearched}

    return await call.with_model(search)


def _matches(gallery: Gallery, found: list[SimilarPerson]) -> Answer:
    return {
        "UserMatches": [
            {
                "Similarity": percent(gallery, one.similarity),
                "User": {"UserId": one.person, "UserStatus": _ACTIVE},
            }
            for one in found
        ],
        "FaceModelVersion": model_version(gallery),
    }


def _status(has_faces: bool) -> str:
    return _ACTIVE if has_faces else _CREATED
