"""Turning heads and pictures of heads before a camera, with the real engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgface.errors import LivenessError
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Detection, Engine
from pgface.faces.liveness.motion import FaceMotion, FaceTrack, Side, face_patch, require_head
from pgface.faces.pixels import RGBImage
from support.moving_heads import bent, noisy, tilted, turned
from support.photos import Photos
from support.sentences import accounts as says

YAWS = np.arange(0.0, 30.0, 4.0)
PictureAt = Callable[[float], RGBImage]
"""Returns a picture after a turn by a number of degrees."""


def engine_of(name: str) -> Engine:
    return load_engine(name, models_dir=Path(), detector_size=320, execution_provider="CPU")


def detected(engine: Engine, picture: RGBImage) -> Detection:
    """Return the only face of a picture, without an embedding."""
    found: list[Detection] = []

    def remember(detections: Sequence[Detection]) -> Sequence[Detection]:
        found.extend(detections)
        return []

    engine.detect_and_embed(picture, remember)
    (face,) = found
    return face


def motion(engine: Engine, picture_at: PictureAt, side: Side) -> FaceMotion:
    sign = 1 if side == "left" else -1
    frames = noisy(picture_at(sign * float(yaw)) for yaw in YAWS)
    patches = [face_patch(detected(engine, frame)) for frame in frames]
    track = FaceTrack.start(patches[0])
    for patch in patches[1:]:
        track.follow(patch)
    return track.motion(side)


def motions_to_both_sides(engine: Engine, picture_at: PictureAt) -> list[FaceMotion]:
    return [motion(engine, picture_at, "left"), motion(engine, picture_at, "right")]


def photo_of(photos: Photos, person: str, number: int) -> RGBImage:
    return np.asarray(Image.open(photos(person, number)).convert("RGB"))


@pytest.mark.parametrize(("person", "number"), [("George_W_Bush", 6), ("Tony_Blair", 2)])
def test_a_head_is_accepted_and_pictures_of_it_are_refused(
    insightface_pack: Path, photos: Photos, person: str, number: int
) -> None:
    engine = engine_of(str(insightface_pack))
    photo = photo_of(photos, person, number)
    landmarks = detected(engine, photo).landmarks
    require_head(motions_to_both_sides(engine, lambda yaw: turned(photo, landmarks, (yaw, 0))))
    with pytest.raises(LivenessError, match=says.FACE_MOVES_LIKE_FLAT_PICTURE.pattern(side="left")):
        require_head(motions_to_both_sides(engine, lambda yaw: tilted(photo, (1.5 * yaw, 0))))
    with pytest.raises(LivenessError, match=says.FACE_MOVES_LIKE_BENT_PICTURE.pattern()):
        require_head(motions_to_both_sides(engine, lambda yaw: bent(photo, landmarks, yaw)))


@pytest.mark.parametrize("model", ["dlib", "sface"])
def test_the_landmarks_of_other_models_are_enough(photos: Photos, model: str) -> None:
    """dlib has no mouth corners."""
    engine = engine_of(model)
    photo = photo_of(photos, "George_W_Bush", 6)
    landmarks = detected(engine, photo).landmarks
    require_head(motions_to_both_sides(engine, lambda yaw: turned(photo, landmarks, (yaw, 0))))
    with pytest.raises(LivenessError, match=says.FACE_MOVES_LIKE_FLAT_PICTURE.pattern(side="left")):
        require_head(motions_to_both_sides(engine, lambda yaw: tilted(photo, (1.5 * yaw, 0))))
