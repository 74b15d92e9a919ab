"""The operations of the three services: what each path does."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from pgface.accounts import Client
from pgface.accounts.subjects import Example, StoredExample, Subjects
from pgface.errors import SeveralFacesError, UnknownPhotoError
from pgface.faces.face_choice import without_bystanders
from pgface.faces.photo import Upload
from pgface.gallery import Gallery
from pgface.gallery.config import GalleryConfig
from pgface.server.compat.compreface.bodies import MAX_FILE_BYTES, MAX_REQUEST_BYTES, read_images, read_json
from pgface.server.compat.compreface.faces import FoundFaces, Options, find_faces
from pgface.server.compat.compreface.similarity import similarities
from pgface.server.compat.compreface.wire import (
    CompreFaceError,
    Query,
    answer,
    embeddings_of,
    image_id,
    invalid,
    subject_name,
    undefined,
    unknown_image,
    unknown_subject,
)
from pgface.server.service import Service
from pgface.vectors import unit_embedding

_DEFAULT_PAGE: Final = 20
_MAX_PAGE: Final = 2000
"""The largest page, as in Spring."""
_MAX_PREDICTIONS: Final = 1000
"""Of one face. CompreFace has no such limit, so that a request could ask for a whole gallery."""
_MAX_ALL_PREDICTIONS: Final = 100_000
"""Of all embeddings of a request."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an operation, from a caller who may make it."""

    request: Request
    service: Service
    gallery: Gallery
    client: Client
    query: Query
    path: dict[str, str] = field(default_factory=dict)

    @property
    def subjects(self) -> Subjects:
        """The subjects of the caller's gallery."""
        return Subjects(self.gallery)


Handler = Callable[[Call], Awaitable[Response]]


# Subjects


async def add_subject(call: Call) -> Response:
    """Add a subject without examples."""
    name = subject_name((await _json_object(call)).get("subject"))
    added = await call.service.run_db(call.subjects.add, name, call.client)
    return answer({"subject": added.name}, 201)


async def list_subjects(call: Call) -> Response:
    """List the names of all subjects."""
    return answer({"subjects": await call.service.run_db(call.subjects.names)})


async def rename_subject(call: Call) -> Response:
    """Rename a subject, or give its examples to the subject that has the new name."""
    old = call.path["subject"]
    new = subject_name((await _json_object(call)).get("subject"))
    if new == old:
        return answer({"updated": False})
    if not await call.service.run_db(call.subjects.rename, old, new, call.client):
        raise unknown_subject(old)
    return answer({"updated": True})


async def delete_subject(call: Call) -> Response:
    """Delete a subject with its examples."""
    deleted = await call.service.run_db(call.subjects.delete, call.path["subject"], call.client)
    if not deleted.subjects:
        raise unknown_subject(call.path["subject"])
    return answer({"subject": deleted.subjects[0]})


async def delete_subjects(call: Call) -> Response:
    """Delete all subjects with their examples."""
    deleted = await call.service.run_db(call.subjects.delete_all, call.client)
    return answer({"deleted": len(deleted.subjects)})


# Examples


async def add_example(call: Call) -> Response:
    """Enroll the face of an image for a subject."""
    name = call.query.text("subject")
    if name is None:
        raise CompreFaceError(400, 33, "Required parameter subject is missing")
    if not name.strip():
        raise invalid("Subject name is empty; ")
    min_score = call.query.fraction("det_prob_threshold")
    (image,) = await read_images(call.request, ["file"])
    added = await call.service.inference.run(call.subjects.add_example, image, name, call.client, min_score=min_score)
    return answer({"image_id": str(added), "subject": name}, 201)


async def list_examples(call: Call) -> Response:
    """List a page of the examples."""
    # Spring uses the default in place of a value that it cannot read.
    page, size = _page_number(call.query.text("page"), 0), _page_number(call.query.text("size"), _DEFAULT_PAGE)
    size = min(size or _DEFAULT_PAGE, _MAX_PAGE)
    subject = call.query.text("subject") or None
    found, count = await call.service.run_db(call.subjects.examples, subject, offset=page * size, limit=size)
    return answer(
        {
            "faces": [_example(one) for one in found],
            "page_number": page,
            "page_size": size,
            "total_pages": math.ceil(count / size),
            "total_elements": count,
        }
    )


async def delete_examples(call: Call) -> Response:
    """Delete the examples of a subject, and the subject. Without a name, all of them, as CompreFace does."""
    name = call.query.text("subject")
    if name:
        deleted = await call.service.run_db(call.subjects.delete, name, call.client)
    else:
        deleted = await call.service.run_db(call.subjects.delete_all, call.client)
    return answer({"deleted": deleted.examples})


async def delete_example(call: Call) -> Response:
    """Delete one example. The subject stays."""
    wanted = image_id(call.path["image_id"])
    deleted = await call.service.run_db(call.subjects.delete_examples, [wanted], call.client)
    if not deleted:
        raise CompreFaceError(404, 44, f"Image {wanted} not found")
    return answer(_example(deleted[0]))


async def delete_some_examples(call: Call) -> Response:
    """Delete the examples with these ids, and leave out unknown ids."""
    ids = await read_json(call.request)
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise undefined()
    wanted = list(dict.fromkeys(image_id(one) for one in ids))

    deleted = await call.service.run_db(call.subjects.delete_examples, wanted, call.client)
    return answer([_example(one) for one in deleted])


async def get_image(call: Call) -> Response:
    """Return the stored crop of an example. For an unknown id, CompreFace's answer has no bytes."""
    wanted = image_id(call.path["image_id"])

    def read() -> bytes:
        example = call.subjects.example(wanted)
        try:
            return (example and call.subjects.crop(example)) or b""
        except UnknownPhotoError:
            return b""

    return Response(await call.service.run_db(read), media_type="application/octet-stream")


# Faces of images


async def recognize(call: Call) -> Response:
    """Find the most similar examples for each face of an image."""
    options, count = Options.read(call.query), _prediction_count(call.query)
    (image,) = await read_images(call.request, ["file"])

    def work() -> dict[str, Any]:
        config = call.gallery.config
        found = find_faces(call.gallery, image, options, embedded=True)
        subjects = _predictions(call, found.embeddings, count, config)
        result = [face | {"subjects": names} for face, names in zip(found.described(), subjects, strict=True)]
        return {"result": result, "plugins_versions": found.versions(config.model_name or "")}

    return answer(await call.service.inference.run(work))


async def detect(call: Call) -> Response:
    """Find the faces of an image."""
    options = Options.read(call.query)
    (image,) = await read_images(call.request, ["file"])

    def work() -> dict[str, Any]:
        found = find_faces(call.gallery, image, options, embedded=False)
        versions = found.versions(call.gallery.config.model_name or "")
        return {"result": found.described(exact_probability=True), "plugins_versions": versions}

    return answer(await call.service.inference.run(work))


async def verify_images(call: Call) -> Response:
    """Compare the only face of an image with every face of another image."""
    options = Options.read(call.query)
    source, target = await read_images(call.request, ["source_image", "target_image"])

    def work() -> dict[str, Any]:
        config = call.gallery.config
        first = _only_face(call.gallery, source, options)
        others = find_faces(call.gallery, target, options, embedded=True)
        values = similarities(_cosines(first.embeddings[0], others.embeddings), config.anchors)
        matches = [face | {"similarity": value} for face, value in zip(others.described(), values, strict=True)]
        compared = {
            "source_image_face": first.described()[0],
            "face_matches": matches,
            "plugins_versions": others.versions(config.model_name or ""),
        }
        return {"result": [compared]}

    return answer(await call.service.inference.run(work))


async def verify_example(call: Call) -> Response:
    """Compare every face of an image with one example."""
    options, wanted = Options.read(call.query), image_id(call.path["image_id"])
    (image,) = await read_images(call.request, ["file"])

    def work() -> dict[str, Any]:
        config = call.gallery.config
        found = find_faces(call.gallery, image, options, embedded=True)
        example = _known_example(call, wanted)
        values = similarities(call.subjects.verify(found.embeddings, example, config), config.anchors)
        result = [
            {"subject": example.subject, "similarity": value} | face
            for face, value in zip(found.described(), values, strict=True)
        ]
        return {"result": result, "plugins_versions": found.versions(config.model_name or "")}

    return answer(await call.service.inference.run(work))


# Embeddings


async def recognize_embeddings(call: Call) -> Response:
    """Find the most similar examples for each embedding."""
    count = _prediction_count(call.query)
    given = embeddings_of((await _json_object(call)).get("embeddings"), "embeddings")
    count = min(count, _MAX_ALL_PREDICTIONS // len(given))

    def work() -> list[dict[str, Any]]:
        found = _predictions(call, [unit_embedding(one) for one in given], count, call.gallery.config)
        return [{"embedding": one, "similarities": names} for one, names in zip(given, found, strict=True)]

    return answer({"result": await call.service.inference.run(work)})


async def verify_embeddings_of_example(call: Call) -> Response:
    """Compare each embedding with one example."""
    wanted = image_id(call.path["image_id"])
    given = embeddings_of((await _json_object(call)).get("embeddings"), "embeddings")

    def work() -> list[dict[str, Any]]:
        config = call.gallery.config
        cosines = call.subjects.verify(given, _known_example(call, wanted), config)
        return _ranked(given, cosines, config)

    return answer({"result": await call.service.inference.run(work)})


async def verify_embeddings(call: Call) -> Response:
    """Compare each embedding with another one."""
    body = await _json_object(call)
    source = body.get("source")
    (source,) = embeddings_of([source] if source else None, "source")
    targets = embeddings_of(body.get("targets"), "targets")

    def work() -> list[dict[str, Any]]:
        cosines = _cosines(unit_embedding(source), list(map(unit_embedding, targets)))
        return _ranked(targets, cosines, call.gallery.config)

    return answer({"result": await call.service.inference.run(work)})


# Facts


async def limits(call: Call) -> Response:  # noqa: ARG001 - the same signature as the others
    """Return the limits of files and bodies, in bytes."""
    return answer({"maxFileSize": MAX_FILE_BYTES, "maxBodySize": MAX_REQUEST_BYTES})


async def consistence(call: Call) -> Response:  # noqa: ARG001 - the same signature as the others
    """Return that the embeddings belong to the model, which a gallery guarantees."""
    return answer(
        {
            "demoFaceCollectionIsInconsistent": False,
            "dbIsInconsistent": False,
            "saveImagesToDB": True,
            "status": "OK",
        }
    )


async def _json_object(call: Call) -> dict[str, Any]:
    body = await read_json(call.request)
    if not isinstance(body, dict):
        raise undefined()
    return body


def _example(example: Example) -> dict[str, str]:
    return {"image_id": str(example.id), "subject": example.subject}


def _page_number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 9 else default


def _prediction_count(query: Query) -> int:
    count = query.integer("prediction_count", 1)
    if count < 1:
        raise invalid("prediction_count should be equal or greater than 1; ")
    return min(count, _MAX_PREDICTIONS)


def _known_example(call: Call, wanted: Any) -> StoredExample:
    example = call.subjects.example(wanted)
    if example is None:
        raise unknown_image()
    return example


def _only_face(gallery: Gallery, image: Upload, options: Options) -> FoundFaces:
    found = find_faces(gallery, image, options, embedded=True)
    if len(without_bystanders(found.detections)) > 1:
        raise SeveralFacesError
    return found


def _predictions(
    call: Call, embeddings: Sequence[NDArray[Any]], count: int, config: GalleryConfig
) -> list[list[dict[str, Any]]]:
    """Return the subjects of the most similar examples for each embedding."""
    found = call.subjects.identify(embeddings, count, config)
    named = []
    for similar in found:
        values = similarities([one.similarity for one in similar], config.anchors)
        named.append(
            [{"subject": one.subject, "similarity": value} for one, value in zip(similar, values, strict=True)]
        )
    return named


def _cosines(embedding: NDArray[Any], others: Sequence[NDArray[Any]]) -> list[float]:
    """Return the cosine of a unit embedding to each of the others."""
    return [float(np.dot(embedding, other)) for other in others]


def _ranked(embeddings: Sequence[list[float]], cosines: Sequence[float], config: GalleryConfig) -> list[dict[str, Any]]:
    """Return embeddings with their similarities to another one, the most similar first."""
    pairs = zip(embeddings, similarities(cosines, config.anchors), strict=True)
    return [{"embedding": one, "similarity": value} for one, value in sorted(pairs, key=lambda pair: -pair[1])]
