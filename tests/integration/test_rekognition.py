"""boto3 against the service: every operation of Amazon Rekognition that pgface has."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import httpx2 as httpx
import pytest
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from pgface.accounts import Client, create_access_key, list_keys, read_audit, revoke_key
from pgface.accounts.access_keys import find_access_key
from pgface.errors import DatabaseAccessError, DatabaseError, GalleryError, KeyRefusedError, TransferError
from pgface.faces.liveness.models import OWN
from pgface.galleries import Galleries
from pgface.gallery import Gallery, indexed_faces, people_of_faces
from pgface.gallery.events import last_event_cursor
from pgface.gallery.face_id_import import FaceIdReport, read_former_faces, set_face_ids
from pgface.server.compat.rekognition import collections, images, route
from pgface.server.compat.rekognition.errors import MEDIA_TYPE
from pgface.server.compat.rekognition.shapes import REQUESTS, Structure
from pgface.server.compat.rekognition.validation import parse
from pgface.settings import MEBI, Settings
from support.aws_model import aws_model
from support.databases import Databases
from support.embedded_server import eventually
from support.liveness_networks import save_constant_minifasnet
from support.photo_store import PHOTO_STORE
from support.photos import Photos
from support.pictures import png as encoded_png
from support.rekognition import REGION, RekognitionService, send, serving_rekognition, signed_request
from support.rekognition_calls import (
    BODY,
    DESCRIBE,
    IGNORED,
    NOT_RAISED,
    ODD_REQUESTS,
    UNKNOWN_ARN,
    UNKNOWN_FACE,
    USER,
    calls_with_every_member,
    failing_calls,
)

POWELL, BUSH = "Colin_Powell", "George_W_Bush"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """URL of an S3-compatible store, whose credentials are in the environment."""
    from moto.server import ThreadedMotoServer  # here, because it takes half a second

    credentials = {"AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": "operator"}
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        with patch.dict(os.environ, credentials):
            url = "http://{}:{}".format(*server.get_host_and_port())
            yield url
            images._client(url).close()
            images._client.cache_clear()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def service(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path, store: str
) -> Iterator[RekognitionService]:

    url = databases.create()
    values = {
        "database_url": url,
        "PGFACE_SCHEMA": "public",  # where pgvector is, too
        "data_dir": tmp_path_factory.mktemp("rekognition"),
        "photo_store": PHOTO_STORE,
        "model": str(insightface_pack),
        "rekognition": True,
        "s3_endpoint": store,
        "s3_buckets": "photos, more-photos",
    }
    with serving_rekognition(Settings.model_validate(values), insightface_pack) as service:
        yield service
    databases.drop(url)


@pytest.fixture(scope="module")
def client(service: RekognitionService) -> Any:
    return service.client()


@pytest.fixture(scope="module")
def shared_collection(client: Any) -> str:
    client.create_collection(CollectionId="people")
    return "people"


@pytest.fixture
def collection(client: Any, shared_collection: str) -> Iterator[str]:
    """A collection without faces and users."""
    yield shared_collection
    for user in client.list_users(CollectionId=shared_collection)["Users"]:
        client.delete_user(CollectionId=shared_collection, UserId=user["UserId"])
    faces = [face["FaceId"] for face in client.list_faces(CollectionId=shared_collection)["Faces"]]
    if faces:
        client.delete_faces(CollectionId=shared_collection, FaceIds=faces)


def png(width: int, height: int) -> bytes:
    """A black picture. A large one is a bomb: its rows are not there."""
    rows = bytes((width + 1) * height) if width * height < 1_000_000 else b""
    return encoded_png(width, height, 8, 0, rows)


def image(photos: Photos, person: str, number: int) -> dict[str, bytes]:
    return {"Bytes": photos(person, number).read_bytes()}


def index(client: Any, collection: str, photo: dict[str, bytes], name: str | None = None, **options: Any) -> list[str]:
    """Index a photo, and return the ids of its faces."""
    named = {} if name is None else {"ExternalImageId": name}
    answer = client.index_faces(CollectionId=collection, Image=photo, **named, **options)
    return [record["Face"]["FaceId"] for record in answer["FaceRecords"]]


def code(refused: Any) -> str:
    """The code of an error of boto3."""
    return str(refused.value.response["Error"]["Code"])


def test_collections(client: Any) -> None:
    with (
        patch.object(collections, "_tag_new_gallery", side_effect=GalleryError),
        pytest.raises(client.exceptions.InvalidParameterException),
    ):
        client.create_collection(CollectionId="Staff", Tags={"team": "A"})
    with (
        patch.object(collections, "_tag_new_gallery", side_effect=DatabaseError),
        pytest.raises(client.exceptions.InternalServerError),
    ):
        client.create_collection(CollectionId="Staff", Tags={"team": "A"})
    made = client.create_collection(CollectionId="Staff", Tags={"team": "A"})
    assert made["StatusCode"] == 200
    assert made["CollectionArn"] == f"aws:rekognition:{REGION}:000000000000:collection/Staff"
    with pytest.raises(client.exceptions.ResourceAlreadyExistsException):
        client.create_collection(CollectionId="Staff")
    client.create_collection(CollectionId="staff")
    described = client.describe_collection(CollectionId="Staff")
    assert (described["FaceCount"], described["UserCount"], described["FaceModelVersion"]) == (0, 0, "7.0")
    age = datetime.now(UTC) - described["CreationTimestamp"]
    assert abs(age.total_seconds()) < 60
    arn = described["CollectionARN"]
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"team": "A"}
    client.tag_resource(ResourceArn=arn, Tags={"team": "B", "Größe": "1"})
    client.untag_resource(ResourceArn=arn, TagKeys=["Größe", "unknown"])
    assert client.list_tags_for_resource(ResourceArn=made["CollectionArn"])["Tags"] == {"team": "B"}
    with pytest.raises(client.exceptions.ServiceQuotaExceededException):
        client.tag_resource(ResourceArn=arn, Tags={str(number): "" for number in range(200)})
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.list_tags_for_resource(ResourceArn="arn:aws:s3:::a-bucket-of-photos")
    pages = client.get_paginator("list_collections").paginate(PaginationConfig={"PageSize": 1})
    paged = {name for page in pages for name in page["CollectionIds"]}
    assert paged >= {"Staff", "staff"}
    listed = client.list_collections(MaxResults=0)["CollectionIds"]
    assert listed == sorted(paged)
    for name in ("Staff", "staff"):
        assert client.delete_collection(CollectionId=name)["StatusCode"] == 200
    for call in (client.delete_collection, client.describe_collection, client.list_faces, client.list_users):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(CollectionId="Staff")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.list_tags_for_resource(ResourceArn=arn)


def test_faces_are_indexed_found_listed_and_deleted(client: Any, collection: str, photos: Photos) -> None:
    photo = image(photos, POWELL, 1)
    answer = client.index_faces(
        CollectionId=collection, Image=photo, ExternalImageId="powell:1", DetectionAttributes=["ALL"]
    )
    (record,) = answer["FaceRecords"]
    face, detail = record["Face"], record["FaceDetail"]
    assert face["BoundingBox"] == detail["BoundingBox"]
    assert face["Confidence"] > 99
    assert [mark["Type"] for mark in detail["Landmarks"]] == ["eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"]
    assert detail["Landmarks"][0]["X"] < detail["Landmarks"][1]["X"]
    # The same photo again, with the same name and with another.
    assert index(client, collection, photo, "powell:1") == [face["FaceId"]]
    (renamed,) = index(client, collection, photo, "powell:again")
    assert renamed != face["FaceId"]
    second, third = (index(client, collection, image(photos, POWELL, number))[0] for number in (2, 3))
    (other,) = index(client, collection, image(photos, BUSH, 1), "blair")
    assert client.describe_collection(CollectionId=collection)["FaceCount"] == 5

    found = client.search_faces(CollectionId=collection, FaceId=second)
    assert found["SearchedFaceId"] == second
    similarities = [match["Similarity"] for match in found["FaceMatches"]]
    assert similarities == sorted(similarities, reverse=True)
    assert {match["Face"]["FaceId"] for match in found["FaceMatches"]} == {face["FaceId"], renamed, third}
    assert min(similarities) >= 80
    by_image = client.search_faces_by_image(CollectionId=collection, Image=photo, MaxFaces=2, FaceMatchThreshold=99)
    assert [match["Face"]["FaceId"] for match in by_image["FaceMatches"]] == [face["FaceId"], renamed]
    assert by_image["FaceMatches"][0]["Similarity"] == 100
    assert by_image["FaceMatches"][0]["Face"]["ExternalImageId"] == "powell:1"
    assert by_image["SearchedFaceBoundingBox"] == face["BoundingBox"]
    all_faces = client.search_faces(CollectionId=collection, FaceId=second, FaceMatchThreshold=0, MaxFaces=4096)
    assert all_faces["FaceMatches"][-1]["Face"]["FaceId"] == other
    assert len(all_faces["FaceMatches"]) == 4

    pages = client.get_paginator("list_faces").paginate(CollectionId=collection, PaginationConfig={"PageSize": 2})
    listed = [one for page in pages for one in page["Faces"]]
    assert [one["FaceId"] for one in listed] == [face["FaceId"], renamed, second, third, other]
    assert listed[0] == face
    chosen = client.list_faces(CollectionId=collection, FaceIds=[other, str(uuid.uuid4())])["Faces"]
    assert [one["ExternalImageId"] for one in chosen] == ["blair"]
    token = client.list_faces(CollectionId=collection, MaxResults=1)["NextToken"]
    for wrong in ("x", token[:-2], token[:-1] + "_"):
        with pytest.raises(client.exceptions.InvalidPaginationTokenException):
            client.list_faces(CollectionId=collection, NextToken=wrong)

    unknown = str(uuid.uuid4())
    deleted = client.delete_faces(CollectionId=collection, FaceIds=[other, unknown, other])
    assert deleted["DeletedFaces"] == [other]
    assert deleted["UnsuccessfulFaceDeletions"] == [{"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]}]
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.search_faces(CollectionId=collection, FaceId=other)
    assert client.describe_collection(CollectionId=collection)["FaceCount"] == 4


def test_the_quality_filter_and_the_most_faces(client: Any, collection: str, group_photo: Path) -> None:
    photo = {"Bytes": group_photo.read_bytes()}
    detected = client.detect_faces(Image=photo)["FaceDetails"]
    assert len(detected) == 6
    answer = client.index_faces(CollectionId=collection, Image=photo, MaxFaces=2, QualityFilter="NONE")
    assert [record["FaceDetail"] for record in answer["FaceRecords"]] == detected[:2]
    assert len({record["Face"]["ImageId"] for record in answer["FaceRecords"]}) == 1
    assert [face["Reasons"] for face in answer["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]] * 4
    again = client.index_faces(CollectionId=collection, Image=photo, QualityFilter="NONE")["FaceRecords"]
    assert [record["Face"] for record in again[:2]] == [record["Face"] for record in answer["FaceRecords"]]
    assert len(again) == 6
    assert len({record["Face"]["ImageId"] for record in again}) == 1
    strict = client.index_faces(CollectionId=collection, Image=photo, QualityFilter="HIGH", ExternalImageId="strict")
    assert len(strict["FaceRecords"]) + len(strict["UnindexedFaces"]) == 6
    found = client.search_users_by_image(CollectionId=collection, Image=photo)
    assert [face["Reasons"] for face in found["UnsearchedFaces"]] == [["FACE_NOT_LARGEST"]] * 5
    assert found["UserMatches"] == []


def test_photos_without_a_face(client: Any, collection: str, photos: Photos) -> None:
    empty, face = {"Bytes": png(200, 200)}, image(photos, POWELL, 1)
    assert client.detect_faces(Image=empty)["FaceDetails"] == []
    answer = client.index_faces(CollectionId=collection, Image=empty)
    assert (answer["FaceRecords"], answer["UnindexedFaces"]) == ([], [])
    users = client.search_users_by_image(CollectionId=collection, Image=empty)
    assert users["UserMatches"] == []
    assert "SearchedFace" not in users
    no_faces = pytest.raises(client.exceptions.InvalidParameterException, match="no faces in the image")
    with no_faces:
        client.search_faces_by_image(CollectionId=collection, Image=empty)
    for source, target in ((empty, face), (face, empty)):
        with no_faces:
            client.compare_faces(SourceImage=source, TargetImage=target)


def test_two_photos_are_compared(client: Any, photos: Photos, group_photo: Path) -> None:
    source, target = image(photos, POWELL, 1), image(photos, POWELL, 2)
    answer = client.compare_faces(SourceImage=source, TargetImage=target)
    (match,) = answer["FaceMatches"]
    assert match["Similarity"] >= 80
    assert answer["UnmatchedFaces"] == []
    assert (
        answer["SourceImageFace"]["BoundingBox"] == client.detect_faces(Image=source)["FaceDetails"][0]["BoundingBox"]
    )
    others = client.compare_faces(SourceImage=source, TargetImage={"Bytes": group_photo.read_bytes()})
    assert others["FaceMatches"] == []
    assert len(others["UnmatchedFaces"]) == 6
    every = client.compare_faces(
        SourceImage=source, TargetImage={"Bytes": group_photo.read_bytes()}, SimilarityThreshold=0
    )
    assert len(every["FaceMatches"]) == 6


def test_users(service: RekognitionService, client: Any, collection: str, photos: Photos) -> None:
    powell = [index(client, collection, image(photos, POWELL, number))[0] for number in (1, 2, 3)]
    (blair,) = index(client, collection, image(photos, BUSH, 1))
    for user in ("colin:powell", "tony.blair"):
        client.create_user(CollectionId=collection, UserId=user)
    with pytest.raises(client.exceptions.ConflictException):
        client.create_user(CollectionId=collection, UserId="tony.blair")
    pages = client.get_paginator("list_users").paginate(CollectionId=collection, PaginationConfig={"PageSize": 1})
    assert [(one["UserId"], one["UserStatus"]) for page in pages for one in page["Users"]] == [
        ("colin:powell", "CREATED"),
        ("tony.blair", "CREATED"),
    ]
    unknown = str(uuid.uuid4())
    done = client.associate_faces(CollectionId=collection, UserId="colin:powell", FaceIds=[*powell[:2], unknown])
    assert {one["FaceId"] for one in done["AssociatedFaces"]} == set(powell[:2])
    assert done["UserStatus"] == "ACTIVE"
    assert done["UnsuccessfulFaceAssociations"] == [{"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]}]
    # Again, and a face of another person.
    again = client.associate_faces(CollectionId=collection, UserId="colin:powell", FaceIds=[powell[0], blair])
    assert again["AssociatedFaces"] == []
    (refused,) = again["UnsuccessfulFaceAssociations"]
    assert (refused["FaceId"], refused["Reasons"]) == (blair, ["LOW_MATCH_CONFIDENCE"])
    assert refused["Confidence"] < 75
    client.associate_faces(CollectionId=collection, UserId="tony.blair", FaceIds=[blair])
    taken = client.associate_faces(CollectionId=collection, UserId="tony.blair", FaceIds=[powell[0]])
    assert taken["UnsuccessfulFaceAssociations"] == [
        {"FaceId": powell[0], "UserId": "colin:powell", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
    ]
    described = client.describe_collection(CollectionId=collection)
    assert (described["FaceCount"], described["UserCount"]) == (4, 2)
    assert [face["FaceId"] for face in client.list_faces(CollectionId=collection, UserId="colin:powell")["Faces"]] == (
        powell[:2]
    )

    by_face = client.search_users(CollectionId=collection, FaceId=powell[2])
    assert [match["User"] for match in by_face["UserMatches"]] == [{"UserId": "colin:powell", "UserStatus": "ACTIVE"}]
    assert by_face["SearchedFace"] == {"FaceId": powell[2]}
    by_user = client.search_users(CollectionId=collection, UserId="colin:powell", UserMatchThreshold=0)
    assert [match["User"]["UserId"] for match in by_user["UserMatches"]] == ["tony.blair"]
    assert by_user["SearchedUser"] == {"UserId": "colin:powell"}
    by_image = client.search_users_by_image(CollectionId=collection, Image=image(photos, POWELL, 4), MaxUsers=1)
    assert [match["User"]["UserId"] for match in by_image["UserMatches"]] == ["colin:powell"]
    assert by_image["SearchedFace"]["FaceDetail"]["Confidence"] > 99
    faces = client.search_faces(CollectionId=collection, FaceId=powell[2])["FaceMatches"]
    assert {match["Face"]["FaceId"]: match["Face"].get("UserId") for match in faces} == dict.fromkeys(
        powell[:2], "colin:powell"
    )
    for both in ({}, {"UserId": "tony.blair", "FaceId": blair}):
        with pytest.raises(client.exceptions.InvalidParameterException):
            client.search_users(CollectionId=collection, **both)

    kept = client.delete_faces(CollectionId=collection, FaceIds=[blair])
    assert kept["UnsuccessfulFaceDeletions"] == [
        {"FaceId": blair, "UserId": "tony.blair", "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
    ]
    left = client.disassociate_faces(
        CollectionId=collection, UserId="colin:powell", FaceIds=[powell[0], blair, unknown]
    )
    assert left["DisassociatedFaces"] == [{"FaceId": powell[0]}]
    assert left["UserStatus"] == "ACTIVE"
    assert left["UnsuccessfulFaceDisassociations"] == [
        {"FaceId": blair, "UserId": "tony.blair", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]},
        {"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]},
    ]
    client.delete_user(CollectionId=collection, UserId="colin:powell")
    for call in (client.delete_user, client.search_users, client.list_faces):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(CollectionId=collection, UserId="colin:powell")
    assert {face["FaceId"] for face in client.list_faces(CollectionId=collection)["Faces"]} == {*powell, blair}
    assert client.delete_faces(CollectionId=collection, FaceIds=powell)["DeletedFaces"] == powell
    described = client.describe_collection(CollectionId=collection)
    assert (described["FaceCount"], described["UserCount"]) == (1, 1)
    with Galleries.open(service.settings) as galleries:
        recorded = read_audit(galleries[collection].database, limit=1000)
    assert {
        "photo enrolled",
        "user added",
        "face associated",
        "face disassociated",
        "user deleted",
        "face deleted",
    } <= {entry.event for entry in recorded}
    assert all(str(entry.actor).startswith("operator key ") for entry in recorded)


def test_users_are_found_behind_many_faces_without_a_user(client: Any, collection: str, photos: Photos) -> None:
    for number in (1, 2, 3):
        index(client, collection, image(photos, POWELL, number))
    (bush,) = index(client, collection, image(photos, BUSH, 1))
    client.create_user(CollectionId=collection, UserId="bush")
    client.associate_faces(CollectionId=collection, UserId="bush", FaceIds=[bush])
    probe = {"CollectionId": collection, "Image": image(photos, POWELL, 4), "UserMatchThreshold": 0}
    for longest in (1, 2, 50):
        with patch.object(people_of_faces, "_MAX_FAST", longest):
            found = client.search_users_by_image(**probe, MaxUsers=1)["UserMatches"]
            assert [match["User"]["UserId"] for match in found] == ["bush"]
            assert client.search_users(CollectionId=collection, UserId="bush", MaxUsers=1)["UserMatches"] == []


def test_pages_end_with_the_last_row(client: Any, collection: str, photos: Photos) -> None:
    for number in (1, 2, 3):
        index(client, collection, image(photos, POWELL, number))
        client.create_user(CollectionId=collection, UserId=f"user{number}")
    for call, key, page_size in ((client.list_faces, "Faces", 3), (client.list_users, "Users", 3)):
        whole = call(CollectionId=collection, MaxResults=page_size)
        assert (len(whole[key]), "NextToken" in whole) == (3, False)
        first = call(CollectionId=collection, MaxResults=2)
        last = call(CollectionId=collection, MaxResults=2, NextToken=first["NextToken"])
        assert (first[key] + last[key], "NextToken" in last) == (whole[key], False)
        # A token outlives the row that it names.
        if key == "Users":
            client.delete_user(CollectionId=collection, UserId=first[key][-1]["UserId"])
        else:
            client.delete_faces(CollectionId=collection, FaceIds=[first[key][-1]["FaceId"]])
        assert call(CollectionId=collection, NextToken=first["NextToken"])[key] == last[key]
    assert client.list_faces(CollectionId=collection, MaxResults=0)["Faces"]


def test_faces_get_the_ids_that_they_had_before(
    service: RekognitionService, client: Any, collection: str, group_photo: Path, tmp_path: Path
) -> None:
    photo, name = {"Bytes": group_photo.read_bytes()}, "group"
    index(client, collection, photo, name)
    faces = client.list_faces(CollectionId=collection)["Faces"]
    image_id = str(uuid.uuid4())
    former = [face | {"FaceId": str(uuid.uuid4()), "ImageId": image_id} for face in faces]
    for face in former:  # another detector
        box = face["BoundingBox"]
        face["BoundingBox"] = box | {"Width": 1.2 * box["Width"], "Top": box["Top"] + 0.1 * box["Height"]}
    lost = former[0] | {"FaceId": str(uuid.uuid4()), "ExternalImageId": "deleted"}
    file = tmp_path / "faces.json"
    file.write_text(json.dumps({"Faces": [*reversed(former), lost]}))
    with Galleries.open(service.settings) as galleries:
        report = set_face_ids(galleries[collection], read_former_faces(file))
        assert report == FaceIdReport(len(faces), [lost["FaceId"]])
        taken = [replace(face, external_image_id="other") for face in read_former_faces(file)[:1]]
        index(client, collection, photo, "other")
        with pytest.raises(TransferError):
            set_face_ids(galleries[collection], taken)
    listed = client.list_faces(CollectionId=collection, FaceIds=[face["FaceId"] for face in former])["Faces"]
    assert [face["FaceId"] for face in listed] == [face["FaceId"] for face in former]
    assert {face["ImageId"] for face in listed} == {image_id}
    assert index(client, collection, photo, name)[0] in {face["FaceId"] for face in former}
    client.search_faces(CollectionId=collection, FaceId=former[0]["FaceId"])
    file.write_text("[{}]")
    with pytest.raises(TransferError):
        read_former_faces(file)


def test_a_request_token_is_of_one_request(
    service: RekognitionService, client: Any, collection: str, photos: Photos
) -> None:
    user = {"CollectionId": collection, "UserId": "ada", "ClientRequestToken": "once"}
    with ThreadPoolExecutor(4) as threads:  # one does it, and the others wait for its answer
        answers = [threads.submit(client.create_user, **user) for _ in range(4)]
        for answer in answers:
            answer.result()
    faces = index(client, collection, image(photos, POWELL, 1))
    first, again = (client.associate_faces(**user, FaceIds=faces) for _ in range(2))
    assert first["AssociatedFaces"] == again["AssociatedFaces"] == [{"FaceId": faces[0]}]
    with pytest.raises(client.exceptions.IdempotentParameterMismatchException):
        client.create_user(**user | {"UserId": "bob"})
    assert [one["UserId"] for one in client.list_users(CollectionId=collection)["Users"]] == ["ada"]
    # An earlier version recorded a request before its work. For a minute, it counts as running.
    with Galleries.open(service.settings) as galleries:
        database = galleries[collection].database
        with database.transaction() as connection:
            connection.execute("UPDATE idempotent_requests SET status = NULL, answer = NULL")
        with pytest.raises(client.exceptions.ThrottlingException, match="ClientRequestToken"):
            client.create_user(**user)
        with database.transaction() as connection:
            connection.execute("UPDATE idempotent_requests SET started_at = now() - interval '61 s'")
    with pytest.raises(client.exceptions.ConflictException):
        client.create_user(**user)


def test_a_collection_shows_nothing_of_another(client: Any, collection: str, photos: Photos) -> None:
    other = f"other.{uuid.uuid4()}"
    client.create_collection(CollectionId=other)
    (face,) = index(client, collection, image(photos, POWELL, 1), "secret")
    client.create_user(CollectionId=collection, UserId="powell")
    client.associate_faces(CollectionId=collection, UserId="powell", FaceIds=[face])
    assert client.list_faces(CollectionId=other)["Faces"] == []
    assert client.list_faces(CollectionId=other, FaceIds=[face])["Faces"] == []
    assert client.list_users(CollectionId=other)["Users"] == []
    photo = image(photos, POWELL, 1)
    assert client.search_faces_by_image(CollectionId=other, Image=photo, FaceMatchThreshold=0)["FaceMatches"] == []
    assert client.search_users_by_image(CollectionId=other, Image=photo, UserMatchThreshold=0)["UserMatches"] == []
    assert client.delete_faces(CollectionId=other, FaceIds=[face])["DeletedFaces"] == []
    for search in (client.search_faces, client.search_users):
        with pytest.raises(client.exceptions.InvalidParameterException):
            search(CollectionId=other, FaceId=face)
    for call in (client.search_users, client.delete_user, client.list_faces):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(CollectionId=other, UserId="powell")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.associate_faces(CollectionId=other, UserId="powell", FaceIds=[face])
    token = client.list_faces(CollectionId=collection, MaxResults=1).get("NextToken")
    assert token is None
    index(client, collection, image(photos, BUSH, 1))
    token = client.list_faces(CollectionId=collection, MaxResults=1)["NextToken"]
    with pytest.raises(client.exceptions.InvalidPaginationTokenException):
        client.list_faces(CollectionId=other, NextToken=token)
    client.delete_collection(CollectionId=other)
    assert len(client.list_faces(CollectionId=collection)["Faces"]) == 2


def test_a_collection_is_deleted_while_faces_are_indexed(
    service: RekognitionService, client: Any, photos: Photos
) -> None:
    before = set(service.settings.photos_dir.rglob("*.jpg"))
    client.create_collection(CollectionId="short")

    def keep_indexing(number: int) -> str:
        while True:
            try:
                index(client, "short", image(photos, POWELL, number), f"{number}.{uuid.uuid4()}")
            except ClientError as refused:
                return str(refused.response["Error"]["Code"])

    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(keep_indexing, number) for number in (1, 2, 3)]
        assert eventually(lambda: client.describe_collection(CollectionId="short")["FaceCount"] > 3, 30)
        # SDKs repeat a request that failed with InternalServerError, such as one that PostgreSQL ended in a deadlock.
        eventually(lambda: "short" not in _without("short", client), 30)
        codes = {answer.result() for answer in answers}
    assert codes <= {"ResourceNotFoundException", "InternalServerError"}
    assert set(service.settings.photos_dir.rglob("*.jpg")) == before


def test_two_clients_create_and_delete_one_collection(client: Any) -> None:
    """No deadlock between them reaches a client, and a client is told only what the other one can have done."""
    rounds = 10 * int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))

    def outcome(operation: Any) -> str:
        try:
            return str(operation(CollectionId="contested")["StatusCode"])
        except ClientError as refused:
            return str(refused.response["Error"]["Code"])

    def take_turns(_: int) -> list[tuple[str, str]]:
        return [(outcome(client.create_collection), outcome(client.delete_collection)) for _ in range(rounds)]

    with ThreadPoolExecutor(2) as threads:
        outcomes = [pair for pairs in threads.map(take_turns, range(2)) for pair in pairs]
    created, deleted = map(set, zip(*outcomes, strict=True))
    assert created <= {"200", "ResourceAlreadyExistsException"}
    assert deleted <= {"200", "ResourceNotFoundException"}


def test_searches_write_events(
    service: RekognitionService, client: Any, collection: str, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    powell, bush, other = (
        index(client, collection, image(photos, person, number))[0]
        for person, number in ((POWELL, 1), (BUSH, 1), (POWELL, 2))
    )
    client.create_user(CollectionId=collection, UserId="colin")
    client.associate_faces(CollectionId=collection, UserId="colin", FaceIds=[powell])
    with Galleries.open(service.settings) as galleries:
        people = galleries[collection]
        found = {str(face.face_id): face for face in indexed_faces.list_faces(people, limit=9)}
        ids = {name: found[face].user_id for name, face in (("powell", powell), ("other", other))}

        def search() -> None:
            probe, stranger = image(photos, POWELL, 3), image(photos, "Ariel_Sharon", 1)
            client.search_faces(CollectionId=collection, FaceId=other)
            client.search_faces(CollectionId=collection, FaceId=bush)
            client.search_faces_by_image(CollectionId=collection, Image=probe, MaxFaces=1)
            client.search_users(CollectionId=collection, FaceId=other)
            client.search_users(CollectionId=collection, UserId="colin", UserMatchThreshold=0)
            client.search_users_by_image(CollectionId=collection, Image=probe)
            client.search_users_by_image(CollectionId=collection, Image=stranger, UserMatchThreshold=0)

        start = last_event_cursor(people.database)
        search()
        assert last_event_cursor(people.database) == start
        monkeypatch.setattr(Gallery, "settings", people.settings.model_copy(update={"search_events": True}))
        search()
        assert eventually(lambda: len(people.events(after=start)) == 7)
        events = people.events(after=start).events
    best = client.search_faces_by_image(CollectionId=collection, Image=image(photos, POWELL, 3))["FaceMatches"][0]
    best_id = found[best["Face"]["FaceId"]].user_id
    assert {event.kind for event in events} == {"identified"}
    assert [(event.user_id, event.matched) for event in events] == [
        (ids["powell"], True),
        (None, False),
        (best_id, True),
        (ids["powell"], True),
        (None, False),
        (ids["powell"], True),
        (None, False),
    ]
    assert events[2].confidence == pytest.approx(best["Similarity"], abs=0.01)
    assert {event.confidence for event in events if not event.matched} == {None}


def _without(collection: str, client: Any) -> list[str]:
    """Delete a collection, and return those that are left."""
    with suppress(ClientError):
        client.delete_collection(CollectionId=collection)
    names: list[str] = client.list_collections()["CollectionIds"]
    return names


def test_images_that_cannot_be_used(client: Any, photos: Photos) -> None:
    data = photos(POWELL, 1).read_bytes()
    for wrong, name in (
        (b"GIF89a" + data, "InvalidImageFormatException"),
        (data[:2000], "InvalidImageFormatException"),
        (png(30_000, 30_000), "ImageTooLargeException"),
        (data + bytes(5_242_881 - len(data)), "ValidationException"),
    ):
        with pytest.raises(ClientError) as refused:
            client.detect_faces(Image={"Bytes": wrong})
        assert code(refused) == name
    client.detect_faces(Image={"Bytes": data + bytes(5_242_880 - len(data))})
    place = {"S3Object": {"Bucket": "photos", "Name": "a.jpg"}}
    for neither in ({}, place | {"Bytes": data}):
        with pytest.raises(client.exceptions.InvalidParameterException):
            client.detect_faces(Image=neither)


def test_objects_of_a_store(client: Any, store: str, photos: Photos) -> None:
    objects = boto3.client("s3", endpoint_url=store, region_name="us-east-1")
    for bucket in ("photos", "private"):
        objects.create_bucket(Bucket=bucket)
        objects.put_object(Bucket=bucket, Key="a b.jpg", Body=photos(POWELL, 1).read_bytes())
    objects.put_bucket_versioning(Bucket="photos", VersioningConfiguration={"Status": "Enabled"})
    old = objects.put_object(Bucket="photos", Key="a b.jpg", Body=photos(POWELL, 1).read_bytes())["VersionId"]
    objects.put_object(Bucket="photos", Key="a b.jpg", Body=png(200, 200))
    objects.put_object(Bucket="photos", Key="large.jpg", Body=photos(POWELL, 1).read_bytes() + bytes(15 * MEBI))

    def detect(bucket: str, name: str, **version: str) -> int:
        answer = client.detect_faces(Image={"S3Object": {"Bucket": bucket, "Name": name, **version}})
        return len(answer["FaceDetails"])

    assert detect("photos", "a b.jpg") == 0
    assert detect("photos", "a b.jpg", Version=old) == 1
    for bucket, name in (("photos", "b.jpg"), ("private", "a b.jpg"), ("more-photos", "a b.jpg")):
        with pytest.raises(client.exceptions.InvalidS3ObjectException):
            detect(bucket, name)
    with pytest.raises(client.exceptions.ImageTooLargeException):
        detect("photos", "large.jpg")
    objects.close()


def test_a_key_may_do_what_its_scopes_permit(
    service: RekognitionService, client: Any, collection: str, photos: Photos
) -> None:
    enroller, finder = service.client("enroll"), service.client("identify", "verify")
    photo = image(photos, POWELL, 1)
    index(enroller, collection, photo)
    assert finder.search_faces_by_image(CollectionId=collection, Image=photo)["FaceMatches"]
    finder.compare_faces(SourceImage=photo, TargetImage=photo)
    for refused in (
        lambda: index(finder, collection, photo),
        lambda: enroller.search_faces_by_image(CollectionId=collection, Image=photo),
        lambda: enroller.compare_faces(SourceImage=photo, TargetImage=photo),
        lambda: finder.list_faces(CollectionId=collection),
        lambda: enroller.delete_collection(CollectionId=collection),
        lambda: client.detect_labels(Image=photo),
        lambda: client.create_face_liveness_session(),
    ):
        with pytest.raises(client.exceptions.AccessDeniedException):
            refused()


def test_keys(service: RekognitionService) -> None:
    made = service.access_key("identify")
    assert (len(made.access_key_id), len(made.secret)) == (20, 40)
    photo = {"Bytes": png(100, 100)}
    service.client(key=made).detect_faces(Image=photo)
    (listed,) = [key for key in list_keys(service.owner.database) if key.access_key_id == made.access_key_id]
    assert listed.last_used_at is not None
    service.client().create_collection(CollectionId="keys")
    with Galleries.open(service.settings) as galleries:
        elsewhere = create_access_key(galleries["keys"].database, service.settings, "a program", ["admin"], Client())
    service.client().delete_collection(CollectionId="keys")
    for wrong, name in (
        ({"aws_access_key_id": elsewhere.access_key_id}, "UnrecognizedClientException"),
        ({"aws_secret_access_key": made.secret[::-1]}, "InvalidSignatureException"),
        ({"aws_access_key_id": "PGFAAAAAAAAAAAAAAAAA"}, "UnrecognizedClientException"),
        ({"aws_session_token": "token"}, "UnrecognizedClientException"),
    ):
        with pytest.raises(ClientError) as refused:
            service.client(key=made, **wrong).detect_faces(Image=photo)
        assert code(refused) == name
    service.client(key=made, region_name="us-gov-west-1").detect_faces(Image=photo)
    service.client(key=made, endpoint_url=f"{service.url}/rekognition").detect_faces(Image=photo)
    revoke_key(service.owner.database, made.key.id, Client())
    with pytest.raises(ClientError) as refused:
        service.client(key=made).detect_faces(Image=photo)
    assert code(refused) == "UnrecognizedClientException"


def test_the_database_and_the_services_role_do_not_reveal_a_secret(service: RekognitionService) -> None:
    made = service.access_key("identify")
    with service.owner.database.transaction() as connection:
        rows = connection.execute("SELECT a::text || k::text FROM access_keys a JOIN api_keys k ON k.id = a.key_id")
        assert not any(made.secret in row for (row,) in rows)
    for statement in (
        "SELECT encrypted_secret FROM access_keys",
        "SELECT key FROM api_keys",
        "DELETE FROM access_keys",
    ):
        with pytest.raises(DatabaseAccessError), service.gallery.database.transaction() as connection:
            connection.execute(statement.encode())
    # Without the file of the data folder, the encrypted secret is of no use.
    (service.settings.data_dir / "access-keys.secret").rename(service.settings.data_dir / "elsewhere")
    try:
        with pytest.raises(KeyRefusedError):
            find_access_key(service.gallery.database, service.settings, made.access_key_id)
    finally:
        (service.settings.data_dir / "elsewhere").rename(service.settings.data_dir / "access-keys.secret")
    assert (service.settings.data_dir / "access-keys.secret").stat().st_mode & 0o777 == 0o600
    assert find_access_key(service.gallery.database, service.settings, made.access_key_id) == made


def test_bodies_that_the_service_does_not_read(service: RekognitionService) -> None:
    url, target = f"{service.url}/", {"X-Amz-Target": "RekognitionService.DetectFaces"}
    with httpx.Client(trust_env=False) as plain:
        unsigned = plain.post(url, headers=target | {"Content-Type": MEDIA_TYPE}, content=b"{}")
        assert (unsigned.status_code, unsigned.json()["__type"]) == (400, "MissingAuthenticationTokenException")
        assert unsigned.headers["x-amzn-requestid"] == unsigned.json()["Logref"]
        signed = sign(service, b"{}", target)
        other_type = plain.post(url, headers=signed | {"Content-Type": "application/json"}, content=b"{}")
        assert other_type.json()["__type"] == "SerializationException"
        too_long = plain.post(url, headers=signed, content=bytes(16_000_000))
        assert too_long.json()["__type"] == "ImageTooLargeException"
        for body, wanted, name in (
            (b"{", "DetectFaces", "SerializationException"),
            (b"{}", "DetectFaces", "ValidationException"),
            (b"{}", "DetectLabels", "AccessDeniedException"),
            (b"{}", "DetectAnything", "UnknownOperationException"),
            (b"{}", "", "UnknownOperationException"),
        ):
            signed = sign(service, body, {"X-Amz-Target": f"RekognitionService.{wanted}"})
            assert plain.post(url, headers=signed, content=body).json()["__type"] == name
        signed = sign(service, b"{}", target)
        assert plain.post(url, headers=signed, content=b"{ }").json()["__type"] == "InvalidSignatureException"
        # A proxy that the service trusts may have another name than the client has signed.
        signed = sign(service, b"{}", target, host="faces.example")
        for headers, name in (
            ({}, "InvalidSignatureException"),
            ({"X-Forwarded-Host": "faces.example"}, "ValidationException"),
        ):
            assert plain.post(url, headers=signed | headers, content=b"{}").json()["__type"] == name
        assert plain.get(url).status_code == 303


class NotedMembers(dict[str, Any]):
    """The members of a request, which note what is read of them."""

    def __init__(self, members: dict[str, Any], read: set[str]) -> None:
        super().__init__(members)
        self._read = read

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add(name)
        return super().get(name, default)


def test_every_member_of_a_request_is_read(
    service: RekognitionService, client: Any, shared_collection: str, photos: Photos
) -> None:
    client.delete_collection(CollectionId=shared_collection)
    read: dict[str, set[str]] = {name: set() for name in REQUESTS}
    given: dict[str, set[str]] = {name: set() for name in REQUESTS}

    def noted(body: bytes, shape: Structure) -> dict[str, Any]:
        return NotedMembers(parse(body, shape), read[operation])

    save_constant_minifasnet(service.settings.models_dir / OWN / "2.7_80x80_MiniFASNetV2.onnx", 0, 9, 0)
    found = {"face": UNKNOWN_FACE, "arn": UNKNOWN_ARN}
    refused = tuple(
        getattr(client.exceptions, name)
        for name in ("InvalidPaginationTokenException", "InvalidParameterException", "SessionNotFoundException")
    )
    with patch.object(route, "parse", noted):
        for operation, members in calls_with_every_member(image(photos, POWELL, 1), found):
            given[operation] |= members.keys()
            with suppress(*refused):
                answer = getattr(client, xform_name(operation))(**members)
                found["arn"] = answer.get("CollectionARN", found["arn"])
                if "FaceRecords" in answer:
                    found["face"] = answer["FaceRecords"][0]["Face"]["FaceId"]
    client.create_collection(CollectionId=shared_collection)
    for name, shape in REQUESTS.items():
        assert given[name] == shape.members.keys(), name
        assert read[name] == shape.members.keys() - IGNORED.get(name, set()), name


def test_every_error_of_the_model_has_its_class(
    service: RekognitionService, client: Any, collection: str, photos: Photos
) -> None:
    client.create_user(CollectionId=collection, UserId=USER)
    (face,) = index(client, collection, image(photos, POWELL, 1))
    arn = client.describe_collection(CollectionId=collection)["CollectionARN"]
    client.tag_resource(ResourceArn=arn, Tags={"one": "more"})
    for name in ("create_user", "delete_user", "associate_faces", "disassociate_faces"):
        more = {"FaceIds": [UNKNOWN_FACE]} if name.endswith("faces") else {}
        user = "temporary" if name.endswith("user") else USER
        getattr(client, name)(CollectionId=collection, UserId=user, ClientRequestToken="mismatch", **more)
    stranger = service.client("metrics")
    empty, wrong, large = ({"Bytes": data} for data in (png(200, 200), b"GIF89a", png(30_000, 30_000)))
    raised: dict[str, set[str]] = {name: set() for name in REQUESTS}
    with patch.object(people_of_faces, "MAX_FACES_OF_PERSON", 0):
        for name, error, members in failing_calls(image(photos, POWELL, 1), empty, wrong, large):
            known = members if error != "ServiceQuotaExceededException" else members | {"FaceIds": [face]}
            if name == "TagResource":
                known = {"ResourceArn": arn} | members
            with pytest.raises(getattr(client.exceptions, error)):
                getattr(client, xform_name(name))(**known)
            raised[name].add(error)
            if "AccessDeniedException" not in raised[name]:
                with pytest.raises(client.exceptions.AccessDeniedException):
                    getattr(stranger, xform_name(name))(**known)
                raised[name].add("AccessDeniedException")
    for name, found in raised.items():
        never = {error for error, names in NOT_RAISED.items() if name in names}
        documented = {shape.name for shape in aws_model().operation_model(name).error_shapes}
        assert found.isdisjoint(never), name
        assert found | never >= documented, name
        assert found <= documented, name


def test_odd_requests(service: RekognitionService) -> None:
    key = service.access_key("admin")
    for name, (wanted, odd) in ODD_REQUESTS.items():
        request = {"operation": DESCRIBE, "body": BODY} | odd
        url = service.url + request.pop("path", "/")
        operation, body = request.pop("operation"), request.pop("body")
        status, answer = send(service.url, signed_request(url, key, operation, body, **request))
        assert (status, answer.get("__type", "")) == (400, wanted), name
    plain = signed_request(service.url, key, DESCRIBE, BODY)
    changes = {
        "ResourceNotFoundException": [
            (b"X-Amz-", b"x-AMZ-"),
            (b"X-Amz-Date: ", b"X-Amz-Date:\t \t"),
            (b"Z\r\n", b"Z \t\r\n"),
        ],
        "UnrecognizedClientException": [
            (b"Credential=PGFA", b"Credential=test"),
            (key.access_key_id.encode(), b"test"),
        ],
        "UnknownOperationException": [(b"POST", b"PUT"), (b"POST", b"OPTIONS"), (b"POST", b"DELETE")],
        "IncompleteSignatureException": [(b"HMAC-SHA256 ", b"ECDSA-P256-SHA256 "), (b"Signature=", b"Signature=0")],
    }
    for wanted, replacements in changes.items():
        for old, new in replacements:
            status, answer = send(service.url, plain.replace(old, new))
            assert (status, answer["__type"]) == (400, wanted), new
    # A repetition within the time limit gets the same answer, as from AWS.
    assert {send(service.url, plain)[1]["__type"] for _ in range(3)} == {"ResourceNotFoundException"}


def test_a_key_that_is_revoked_while_its_body_arrives(service: RekognitionService, client: Any) -> None:
    key = service.access_key("admin")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        service.client(key=key).describe_collection(CollectionId="unknown")
    request = signed_request(service.url, key, "CreateCollection", b'{"CollectionId": "late"}')
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(send, service.url, request[:-5], request[-5:], pause=1.3)
        time.sleep(0.3)
        revoke_key(service.owner.database, key.key.id, Client())
        assert answer.result()[1]["__type"] == "UnrecognizedClientException"
    assert "late" not in client.list_collections()["CollectionIds"]


def sign(service: RekognitionService, body: bytes, headers: dict[str, str], host: str | None = None) -> dict[str, str]:
    key = service.access_key("admin")
    signed_url = f"http://{host}/" if host else f"{service.url}/"
    request = AWSRequest("POST", signed_url, headers={"Content-Type": MEDIA_TYPE} | headers, data=body)
    SigV4Auth(Credentials(key.access_key_id, key.secret), "rekognition", REGION).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}
