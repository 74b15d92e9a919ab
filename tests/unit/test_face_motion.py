"""The motion inside a face distinguishes a head from a flat or bent picture."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from pgface.errors import LivenessError, ModelNotInstalledError
from pgface.faces.engines.base import Box, Detection, RawDetection
from pgface.faces.liveness.motion import (
    EYE_DISTANCE,
    MIN_FACE_SIZE,
    MIN_RELIEF,
    MIN_RESIDUAL,
    PATCH_SIZE,
    FaceMotion,
    FaceTrack,
    Side,
    face_patch,
    require_head,
)
from pgface.faces.liveness.relief import RULING_ANGLES, Relief, face_depth, grid, relief_of
from pgface.faces.quality import describe
from support.sentences import accounts as says

Array = NDArray[np.float64]
Patch = NDArray[np.uint8]
Moves = Callable[[Array, Array, float], tuple[Array, Array]]
"""Returns the motion of each place to the right and down, from x and y in eye distances and a turn in degrees."""

STEPS = 8
TURN = 28.0
EVERYWHERE = np.ones(len(grid()), dtype=np.bool_)


def astronaut(box_size: float = 110.0) -> Detection:
    landmarks = np.array([[202, 107], [246, 108], [221, 134], [205, 154], [241, 155]], np.float32)
    (face,) = describe(skimage.data.astronaut(), [RawDetection(Box(170, 70, box_size, box_size), landmarks, 0.9)])
    return face


@pytest.fixture(scope="module")
def patch() -> Patch:
    return face_patch(astronaut())


def flat(x: Array, y: Array, degrees: float) -> tuple[Array, Array]:
    """Return the motion of a picture that is tilted near the camera."""
    yaw = math.radians(2 * degrees)
    nearer = 1 + 0.09 * x * math.sin(yaw)
    return x * math.cos(yaw) * nearer - x, y * nearer - y


def bent(x: Array, y: Array, degrees: float, axis: float = 0.0) -> tuple[Array, Array]:
    """Return the motion of paper round a can that turns about its axis."""
    radius, yaw = 1.3, math.radians(degrees)
    across = x * math.cos(axis) + y * math.sin(axis)
    moved = radius * np.sin(np.arcsin(np.clip(across / radius, -1, 1)) + yaw) - across - radius * math.sin(yaw)
    return moved * math.cos(axis), moved * math.sin(axis)


def bent_diagonally(x: Array, y: Array, degrees: float) -> tuple[Array, Array]:
    return bent(x, y, degrees, axis=math.radians(30))


def head(x: Array, y: Array, degrees: float) -> tuple[Array, Array]:
    """Return the motion of a head that turns, without perspective."""
    yaw = math.radians(degrees)
    depth = face_depth(x, y) - 1.2
    return x * math.cos(yaw) + depth * math.sin(yaw) - x, np.zeros_like(y)


def turned(patch: Patch, moves: Moves, degrees: float) -> Patch:
    """Return the patch after a turn, with each of its places moved."""
    width, height = PATCH_SIZE
    columns, rows = (places.astype(float) for places in np.meshgrid(np.arange(width), np.arange(height)))
    x, y = (columns - 88) / EYE_DISTANCE, (rows - 77) / EYE_DISTANCE
    from_x, from_y = x.copy(), y.copy()
    for _ in range(15):  # find the place that moved here
        aside, below = moves(from_x, from_y, degrees)
        from_x, from_y = x - aside, y - below
    column, row = ((88 + EYE_DISTANCE * from_x), (77 + EYE_DISTANCE * from_y))
    moved = cv2.remap(patch, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(moved)


def motion(patch: Patch, moves: Moves, side: Side) -> FaceMotion:
    track = FaceTrack.start(patch)
    for degrees in np.linspace(0, TURN if side == "left" else -TURN, STEPS)[1:]:
        track.follow(turned(patch, moves, float(degrees)))
    return track.motion(side)


def motions_to_both_sides(patch: Patch, moves: Moves) -> list[FaceMotion]:
    return [motion(patch, moves, "left"), motion(patch, moves, "right")]


def test_a_head_is_accepted(patch: Patch) -> None:
    motions = motions_to_both_sides(patch, head)
    require_head(motions)
    assert min(motion.homography_residual for motion in motions) > 1.5 * MIN_RESIDUAL
    assert min(motion.relief for motion in motions) > MIN_RELIEF
    assert min(motion.depth_correlation for motion in motions) > 0.5
    assert min(motion.followed for motion in motions) > 0.8


def test_a_flat_picture_is_refused(patch: Patch) -> None:
    with pytest.raises(LivenessError, match=says.FACE_MOVES_LIKE_FLAT_PICTURE.pattern(side="left")):
        require_head(motions_to_both_sides(patch, flat))


@pytest.mark.parametrize("moves", [bent, bent_diagonally])
def test_a_bent_picture_is_refused(patch: Patch, moves: Moves) -> None:
    motions = motions_to_both_sides(patch, moves)
    assert min(motion.homography_residual for motion in motions) > MIN_RESIDUAL, "only its depth reveals it"
    with pytest.raises(LivenessError, match=says.FACE_MOVES_LIKE_BENT_PICTURE.pattern()):
        require_head(motions)


def test_a_turn_to_the_other_side_does_not_count(patch: Patch) -> None:
    track = FaceTrack.start(patch)
    for degrees in (5, 10, 15):
        track.follow(turned(patch, head, degrees))
    assert track.motion("left").depth_correlation > 0.3
    assert track.motion("right").depth_correlation < 0


def test_both_sides_are_needed(patch: Patch) -> None:
    with pytest.raises(LivenessError, match=says.FACE_NOT_MEASURED_TO_BOTH_SIDES.pattern()):
        require_head([motion(patch, head, "left")])
    with pytest.raises(LivenessError, match=says.FACE_NOT_MEASURED_TO_BOTH_SIDES.pattern()):
        require_head([])


GOOD = FaceMotion("left", 2 * MIN_RESIDUAL, MIN_RELIEF, 0.1, 1.0)


@pytest.mark.parametrize(
    "worse",
    [
        replace(GOOD, side="right", homography_residual=MIN_RESIDUAL - 0.001),
        replace(GOOD, side="right", homography_residual=math.nan),
        replace(GOOD, side="right", beyond_paper=MIN_RELIEF / 2),
        replace(GOOD, side="right", beyond_paper=math.nan),
        replace(GOOD, side="right", depth_correlation=-0.5),
        replace(GOOD, side="right", depth_correlation=math.nan),
        replace(GOOD, side="right", followed=0.4),
        replace(GOOD, side="right", followed=math.nan),
    ],
)
def test_one_bad_turn_is_enough_to_refuse(worse: FaceMotion) -> None:
    require_head([GOOD, replace(GOOD, side="right")])
    with pytest.raises(LivenessError):
        require_head([GOOD, worse])


def test_a_serialised_track_continues(patch: Patch) -> None:
    frames = [turned(patch, head, degrees) for degrees in (7, 14, 21)]
    whole, parts = FaceTrack.start(patch), FaceTrack.start(patch)
    for frame in frames:
        whole.follow(frame)
        packed = parts.to_bytes()
        assert len(packed) < 150_000
        parts = FaceTrack.from_bytes(packed)
        parts.follow(frame)
    assert parts.motion("left") == whole.motion("left")


def test_a_damaged_track_is_refused(patch: Patch) -> None:
    packed = FaceTrack.start(patch).to_bytes()
    for damaged in (b"", packed[:1000], packed[:-100], b"x" * 2000):
        with pytest.raises(LivenessError, match=says.FACE_MOTION_NOT_READABLE.pattern()):
            FaceTrack.from_bytes(damaged)


def test_a_track_of_another_shape_is_refused(patch: Patch) -> None:
    small = FaceTrack(patch[:50], np.zeros((3, 2), np.float32), np.ones(3, dtype=np.bool_))
    with pytest.raises(LivenessError, match=says.FACE_MOTION_NOT_READABLE.pattern()):
        FaceTrack.from_bytes(small.to_bytes())


def test_pictures_without_texture_and_noise_are_refused() -> None:
    random = np.random.default_rng(1)
    shape = PATCH_SIZE[::-1]
    for frames in (
        [np.full(shape, grey, np.uint8) for grey in (0, 128, 255)],
        [random.integers(0, 255, shape, np.uint8) for _ in range(3)],
    ):
        track = FaceTrack.start(frames[0])
        for frame in frames[1:]:
            track.follow(frame)
        with pytest.raises(LivenessError):
            require_head([track.motion("left"), track.motion("right")])


def test_a_small_face_is_refused() -> None:
    message = says.FACE_TOO_SMALL_TO_FOLLOW.pattern(pixels=40, least=f"{MIN_FACE_SIZE:.0f}")
    with pytest.raises(LivenessError, match=message):
        face_patch(astronaut(box_size=40))


def test_the_eyes_of_a_patch_are_level_and_in_their_place() -> None:
    face = astronaut()
    assert face_patch(face).shape == PATCH_SIZE[::-1]
    side = float(np.hypot(*face.region.right))
    eyes = (np.array([202, 107]) + np.array([246, 108])) / 2
    grey = skimage.data.astronaut().mean(axis=2)
    at_eyes = face_patch(face)[72:83, 83:94].mean()
    around = grey[int(eyes[1]) - 3 : int(eyes[1]) + 5, int(eyes[0]) - 3 : int(eyes[0]) + 5].mean()
    assert side > 0
    assert abs(at_eyes - around) < 12


def test_the_relief_of_a_face_is_not_that_of_bent_paper() -> None:
    x, y = grid().T
    itself = relief_of(face_depth(x, y), EVERYWHERE)
    assert itself.depth_correlation == pytest.approx(1)
    assert itself.beyond_paper > MIN_RELIEF / 2
    assert relief_of(-face_depth(x, y), EVERYWHERE).depth_correlation == pytest.approx(-1)
    assert relief_of(np.zeros(len(x)), EVERYWHERE) == Relief(0, 0)
    for axis in RULING_ANGLES:
        sideways, _ = bent(x, y, TURN, axis=axis)
        assert relief_of(sideways, EVERYWHERE).beyond_paper < MIN_RELIEF / 2, math.degrees(axis)


def test_without_opencv_the_error_says_what_to_install(patch: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModelNotInstalledError, match=says.OPENCV_NEEDED.pattern()):
        FaceTrack.start(patch).follow(patch)
