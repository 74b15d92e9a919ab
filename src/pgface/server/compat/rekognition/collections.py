"""Collections, which are galleries, and their tags."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from pgface.database.sql import queries
from pgface.errors import SchemaMissingError, UnknownGalleryError
from pgface.gallery import Gallery
from pgface.server.compat.rekognition.call import NEW_MODEL_VERSION, Answer, Call, model_version
from pgface.server.compat.rekognition.errors import AwsError
from pgface.server.compat.rekognition.pages import decode_token, encode_token

_MAX_PAGE: Final = 100
"""Each collection of a page is opened for the version of its model."""
_MAX_TAGS: Final = 200
_ARN: Final = re.compile(
    r"(arn:)?aws[a-z-]*:rekognition:[a-z0-9-]*:\d{12}:collection/(?P<collection>[a-zA-Z0-9_.\-]{1,255})"
)
_LIST: Final = "ListCollections"


async def gallery_of(call: Call, collection: str | None = None) -> Gallery:
    """Return the gallery of a collection, by default of that which the request names.

    Raises:
        UnknownGalleryError: there is no such collection.

    """
    name = call.fields["CollectionId"] if collection is None else collection
    return await call.with_database(call.service.galleries.__getitem__, name)


async def require_collection(call: Call) -> None:
    """Check that the collection of a request exists, unless the request creates it.

    Raises:
        UnknownGalleryError: it does not.

    """
    if call.operation == "CreateCollection":
        return
    if "CollectionId" in call.fields:
        await gallery_of(call)
    elif "ResourceArn" in call.fields:
        await _tagged_gallery(call)


async def create_collection(call: Call) -> Answer:
    """Answer CreateCollection."""
    name, tags = call.fields["CollectionId"], call.fields.get("Tags", {})
    recording = call.recording_gallery("gallery created")

    def record_and_tag(connection: psycopg.Connection) -> None:
        recording(connection)
        if tags:
            _tag_new_gallery(connection, name, tags)

    def create() -> Answer:
        call.service.galleries.create(name, authority=call.client.authority, within=record_and_tag)
        arn = call.arn(name, prefix="aws")
        return {"StatusCode": 200, "CollectionArn": arn, "FaceModelVersion": NEW_MODEL_VERSION}

    return await call.with_database(create)


async def delete_collection(call: Call) -> Answer:
    """Answer DeleteCollection."""
    name, authority = call.fields["CollectionId"], call.client.authority
    recording = call.recording_gallery("gallery deleted")

    def delete() -> Answer:
        call.service.galleries.delete(name, authority=authority, within=recording)
        return {"StatusCode": 200}

    return await call.with_database(delete)


async def list_collections(call: Call) -> Answer:
    """Answer ListCollections. The order of the pages is that of a hash, so that a short token can have the place."""
    after = decode_token(_LIST, call.fields.get("NextToken")) or ""
    limit = min(call.fields.get("MaxResults") or _MAX_PAGE, _MAX_PAGE)

    def listed() -> Answer:
        names = {_digest(info.name): info.name for info in call.service.galleries.list_without_sizes()}
        digests = sorted(digest for digest in names if digest > after)
        page = digests[:limit]
        versions = {}
        for name in sorted(names[digest] for digest in page):
            with suppress(UnknownGalleryError, SchemaMissingError):  # it was deleted in the meantime
                versions[name] = model_version(call.service.galleries[name])
        answer: Answer = {"CollectionIds": list(versions), "FaceModelVersions": list(versions.values())}
        return answer | ({"NextToken": encode_token(_LIST, page[-1])} if len(digests) > limit else {})

    return await call.with_database(listed)


async def describe_collection(call: Call) -> Answer:
    """Answer DescribeCollection."""
    gallery = await gallery_of(call)

    def described() -> Answer:
        (row,) = gallery.database.read("count_indexed", row_factory=tuple_row)
        faces, people, created_at = row
        return {
            "FaceCount": faces,
            "UserCount": people,
            "FaceModelVersion": model_version(gallery),
            "CollectionARN": call.arn(call.fields["CollectionId"]),
            "CreationTimestamp": round(created_at.timestamp(), 3),
        }

    return await call.with_database(described)


async def tag_resource(call: Call) -> Answer:
    """Answer TagResource."""
    gallery = await _tagged_gallery(call)
    await call.with_database(_set_tags, gallery, call.fields["Tags"])
    return {}


async def untag_resource(call: Call) -> Answer:
    """Answer UntagResource."""
    gallery = await _tagged_gallery(call)
    await call.with_database(gallery.database.execute, "delete_gallery_tags", {"keys": call.fields["TagKeys"]})
    return {}


async def list_tags(call: Call) -> Answer:
    """Answer ListTagsForResource."""
    gallery = await _tagged_gallery(call)
    return {"Tags": await call.with_database(_tags_of, gallery)}


async def _tagged_gallery(call: Call) -> Gallery:
    found = _ARN.fullmatch(call.fields["ResourceArn"])
    if found is None:
        raise AwsError("InvalidParameterException", "ResourceArn must be the ARN of a collection.")
    return await gallery_of(call, found["collection"])


def _tag_new_gallery(connection: psycopg.Connection, name: str, tags: dict[str, str]) -> None:
    """Set the tags of a gallery in the transaction that creates it, on a connection to the default gallery."""
    row = connection.execute(queries()["select_gallery_named"], {"name": name}).fetchone()
    assert row is not None  # noqa: S101 - it was created in this transaction
    insert = sql.SQL("INSERT INTO {}.gallery_tags (key, value) VALUES (%s, %s)").format(sql.Identifier(row[1]))
    with connection.cursor() as cursor:
        cursor.executemany(insert, tags.items())


def _set_tags(gallery: Gallery, tags: dict[str, str]) -> None:
    with gallery.database.transaction() as connection:
        for key, value in sorted(tags.items()):  # in one order, so that two requests do not wait for each other
            connection.execute(queries()["set_gallery_tag"], {"key": key, "value": value})
        if len(connection.execute(queries()["select_gallery_tags"]).fetchall()) > _MAX_TAGS:
            raise AwsError("ServiceQuotaExceededException", f"A collection has at most {_MAX_TAGS} tags.")


def _tags_of(gallery: Gallery) -> dict[str, str]:
    return dict(gallery.database.read("select_gallery_tags", row_factory=tuple_row))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
