"""The operations that pgface has: the scope that each needs, and the function that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pgface.accounts.keys import Scope
from pgface.server.compat.rekognition import collections, detection, faces, liveness, users
from pgface.server.compat.rekognition.call import Answer, Call
from pgface.server.compat.rekognition.errors import AwsError
from pgface.server.compat.rekognition.shapes import REFUSED


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation."""

    scope: Scope
    """The scope that an access key needs. `admin` includes all others."""
    answer: Callable[[Call], Awaitable[Answer]]


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateCollection": Operation("admin", collections.create_collection),
    "DeleteCollection": Operation("admin", collections.delete_collection),
    "ListCollections": Operation("admin", collections.list_collections),
    "DescribeCollection": Operation("admin", collections.describe_collection),
    "TagResource": Operation("admin", collections.tag_resource),
    "UntagResource": Operation("admin", collections.untag_resource),
    "ListTagsForResource": Operation("admin", collections.list_tags),
    "IndexFaces": Operation("enroll", faces.index_faces),
    "ListFaces": Operation("admin", faces.list_faces),
    "DeleteFaces": Operation("admin", faces.delete_faces),
    "SearchFaces": Operation("identify", faces.search_faces),
    "SearchFacesByImage": Operation("identify", faces.search_faces_by_image),
    "CreateUser": Operation("enroll", users.create_user),
    "DeleteUser": Operation("admin", users.delete_user),
    "ListUsers": Operation("admin", users.list_users),
    "AssociateFaces": Operation("enroll", users.associate_faces),
    "DisassociateFaces": Operation("enroll", users.disassociate_faces),
    "SearchUsers": Operation("identify", users.search_users),
    "SearchUsersByImage": Operation("identify", users.search_users_by_image),
    "CompareFaces": Operation("verify", detection.compare_faces),
    "DetectFaces": Operation("identify", detection.detect_faces),
    "CreateFaceLivenessSession": Operation("verify", liveness.create_session),
    "GetFaceLivenessSessionResults": Operation("verify", liveness.get_results),
}


def find_operation(name: str) -> Operation:
    """Return an operation.

    Raises:
        AwsError: there is no such operation, or pgface does not have it.

    """
    if name in OPERATIONS:
        return OPERATIONS[name]
    if name in REFUSED:
        raise AwsError("AccessDeniedException", f"pgface does not have the operation {name}.")
    raise AwsError("UnknownOperationException", "There is no such operation.")
