"""DetectFaces and CompareFaces, which store nothing."""

from __future__ import annotations

import numpy as np

from pgface.faces.engines.base import Face
from pgface.faces.photo import Upload
from pgface.gallery import Gallery
from pgface.server.compat.rekognition.answers import Size, bounding_box, compared_face, face_confidence, face_detail
from pgface.server.compat.rekognition.call import Answer, Call, percent
from pgface.server.compat.rekognition.errors import AwsError
from pgface.server.compat.rekognition.images import photo_in
from pgface.server.compat.rekognition.quality import MAX_FACES, ChosenFaces

DEFAULT_THRESHOLD = 80.0


def no_faces() -> AwsError:
    """Return the error for a photo without a face, with the sentence of AWS."""
    return AwsError("InvalidParameterException", "There are no faces in the image. Should be at least 1.")


def embedded_faces(gallery: Gallery, photo: Upload, choice: ChosenFaces) -> tuple[list[Face], Size]:
    """Return the chosen faces of a photo, the largest first, with the size of the photo."""
    with gallery.opened(photo) as opened:
        return gallery.engine.detect_and_embed(opened.picture, choice), opened.picture.size


async def detect_faces(call: Call) -> Answer:
    """Answer DetectFaces."""
    gallery = call.service.gallery

    def detect() -> Answer:
        with gallery.opened(photo_in(call.fields["Image"], call.service.settings)) as opened:
            found = ChosenFaces("NONE", 0, call.service.settings)
            gallery.engine.detect_and_embed(opened.picture, found)
            return {"FaceDetails": [face_detail(face, opened.picture.size) for face in found.found[:MAX_FACES]]}

    return await call.with_model(detect)


async def compare_faces(call: Call) -> Answer:
    """Answer CompareFaces: the largest face of the source against every face of the target."""
    gallery, settings, fields = call.service.gallery, call.service.settings, call.fields
    quality_filter = fields.get("QualityFilter", "NONE")
    wanted = fields.get("SimilarityThreshold", DEFAULT_THRESHOLD)

    def compare() -> Answer:
        source_photo = photo_in(fields["SourceImage"], settings)
        target_photo = photo_in(fields["TargetImage"], settings)
        source, source_size = embedded_faces(gallery, source_photo, ChosenFaces(quality_filter, 1, settings))
        target, target_size = embedded_faces(gallery, target_photo, ChosenFaces(quality_filter, MAX_FACES, settings))
        if not source or not target:
            raise no_faces()
        similar = [(percent(gallery, float(np.dot(source[0].embedding, face.embedding))), face) for face in target]
        similar.sort(key=lambda pair: -pair[0])
        return {
            "SourceImageFace": {
                "BoundingBox": bounding_box(source[0].box, source_size),
                "Confidence": face_confidence(source[0].detection_score),
            },
            "FaceMatches": [
                {"Similarity": value, "Face": compared_face(face, target_size)}
                for value, face in similar
                if value >= wanted
            ],
            "UnmatchedFaces": [compared_face(face, target_size) for value, face in similar if value < wanted],
        }

    return await call.with_model(compare)
