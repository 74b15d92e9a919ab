"""Check by the motion inside a face that a head turns before a camera, and not a flat or bent picture.

The face is cropped from each frame upright and at a fixed size. Dense optical flow (DIS: Kroeger et al. 2016) follows
about 500 points of a grid from a frontal frame to a turned one, from frame to frame, forward and back. A turn gives
three figures:

- The homography residual is the part of the motion that no homography explains. A flat picture moves by a homography,
  wherever the camera is (Hartley and Zisserman 2004, section 13.1).
- Beyond paper is the share of the motion that paper bent about any axis does not explain
  (`pgface.faces.liveness.relief`).
- The depth correlation is the similarity of this share to the relief of a face.

This does not distinguish a head from a mask, from embossed paper, or from a video that a program rendered over the
shape of a head. It needs OpenCV.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pgface.errors import LivenessError, ModelNotInstalledError
from pgface.faces.align import CROP_BY_EYES, EYES_FROM_TOP
from pgface.faces.engines.base import Detection
from pgface.faces.liveness.relief import grid, relief_of
from pgface.system.extras import how_to_install

Side = Literal["left", "right"]
"""The person's left or right. See `pgface.faces.liveness.head_turns.Turn`."""

PATCH_SIZE: Final = (176, 192)
"""Width and height of a face's patch, in pixels."""
EYE_DISTANCE: Final = 60.0
"""Distance between the eyes of a frontal face in its patch, in pixels."""
_EYES: Final = np.array([88.0, 77.0])
"""The middle of the eyes in the patch, in pixels."""

MIN_FRONTAL_FACE_SIZE: Final = 70.0
"""Minimum length of the shorter side of a face's box at the start of a turn, in pixels."""
MIN_FACE_SIZE: Final = 50.0
"""The same for later frames, because the box of a turned head is narrower."""
MIN_FOLLOWED: Final = 0.5
"""Minimum share of the grid's points that must be followed to the end of a turn."""
MIN_RESIDUAL: Final = 0.018
"""Minimum homography residual of a head in each turn, in eye distances."""
MIN_RELIEF: Final = 0.23
"""Minimum mean `FaceMotion.relief` of a head over a turn to each side. docs/explanation/liveness.md explains how the
limits were chosen."""

_MAX_RETURN_ERROR: Final = 1.5
"""Maximum distance, in pixels, between a point and its place after the flow to the next frame and back."""
_MARGIN: Final = 2
"""Points closer to the edge of a patch, in pixels, are not followed."""


@dataclass(frozen=True, slots=True)
class FaceMotion:
    """The motion inside the face during a turn of the head."""

    side: Side
    homography_residual: float
    """Root mean square of what no homography explains, in eye distances. NaN if too few points were followed."""
    beyond_paper: float
    """0 to 1, see `pgface.faces.liveness.relief.Relief`. NaN if too few points were followed."""
    depth_correlation: float
    """-1 to 1, see `pgface.faces.liveness.relief.Relief`."""
    followed: float
    """Share of the points that were followed, 0 to 1."""

    @property
    def relief(self) -> float:
        """The share beyond paper, up to doubled if it is similar to the relief of a face."""
        return self.beyond_paper * (1 + self.depth_correlation)


def require_size(face: Detection, minimum: float) -> None:
    """Refuse a face that is too small to measure its motion.

    Args:
        face: the face in a frame.
        minimum: minimum length of the shorter side of its box, in pixels.

    Raises:
        LivenessError: the face is smaller.

    """
    if not face.quality.face_size >= minimum:
        raise LivenessError(
            f"The face is {face.quality.face_size:.0f} pixels wide or high, and must be at least {minimum:.0f}."
        )


def face_patch(face: Detection) -> NDArray[np.uint8]:
    """Crop a face in grey, with its eyes level and in a fixed place, shape (192, 176), uint8.

    Raises:
        LivenessError: the face is too small to measure its motion.

    """
    require_size(face, MIN_FACE_SIZE)
    side = CROP_BY_EYES * EYE_DISTANCE
    left, top = 0.5 - _EYES[0] / side, EYES_FROM_TOP - _EYES[1] / side
    width, height = PATCH_SIZE
    return face.region.grey((left, top, left + width / side, top + height / side), PATCH_SIZE)


class FaceTrack:
    """A face that is followed from a frontal frame on. Use it from one thread at a time."""

    def __init__(self, patch: NDArray[np.uint8], points: NDArray[np.float32], followed: NDArray[np.bool_]) -> None:
        self._patch = patch
        self._points = points
        self._followed = followed

    @classmethod
    def start(cls, patch: NDArray[np.uint8]) -> Self:
        """Start at a frontal frame.

        Args:
            patch: the result of `face_patch`, shape (192, 176), uint8.

        """
        points = _starting_points()
        return cls(patch, points, np.ones(len(points), dtype=np.bool_))

    def follow(self, patch: NDArray[np.uint8]) -> None:
        """Follow the points to the next frame.

        Args:
            patch: the result of `face_patch`, shape (192, 176), uint8, of a frame about a tenth of a second later.

        Raises:
            ModelNotInstalledError: OpenCV is missing.

        """
        cv2 = _import_cv2()
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        there = self._points + _sampled(flow.calc(self._patch, patch, None), self._points)
        back = there + _sampled(flow.calc(patch, self._patch, None), there)
        with np.errstate(invalid="ignore"):
            near = np.linalg.norm(back - self._points, axis=1) < _MAX_RETURN_ERROR
            inside = ((there >= _MARGIN) & (there < np.array(PATCH_SIZE) - _MARGIN)).all(axis=1)
        self._followed = self._followed & near & inside
        # A lost point keeps its last place, so that its coordinates remain numbers.
        self._points = np.where(self._followed[:, np.newaxis], there, self._points).astype(np.float32)
        self._patch = patch

    def motion(self, side: Side) -> FaceMotion:
        """Measure the motion from the frontal frame to the last frame.

        Args:
            side: the side to which the head has turned.

        Raises:
            ModelNotInstalledError: OpenCV is missing.

        """
        followed = float(self._followed.mean())
        if followed < MIN_FOLLOWED:
            return FaceMotion(side, np.nan, np.nan, np.nan, followed)
        begin = _starting_points()
        # The person's left is right in the picture. Points closer to the camera move there.
        sign = 1 if side == "left" else -1
        sideways = sign * (self._points - begin)[:, 0].astype(np.float64) / EYE_DISTANCE
        residual = _homography_residual(begin[self._followed], self._points[self._followed]) / EYE_DISTANCE
        return FaceMotion(side, residual, *relief_of(sideways, self._followed), followed)

    def to_bytes(self) -> bytes:
        """Serialise the state for `from_bytes`, to about 40 kB."""
        file = io.BytesIO()
        np.savez(file, patch=self._patch, points=self._points, followed=self._followed)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restore a track from the bytes of `to_bytes`.

        Raises:
            LivenessError: the data is damaged, or another version of pgface made it.

        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as packed:
                patch, points, followed = packed["patch"], packed["points"], packed["followed"]
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise LivenessError(_DAMAGED) from error
        count = len(grid())
        shapes = [(patch, PATCH_SIZE[::-1], np.uint8), (points, (count, 2), np.float32), (followed, (count,), np.bool_)]
        if any(array.shape != shape or array.dtype != dtype for array, shape, dtype in shapes):
            raise LivenessError(_DAMAGED)
        return cls(patch, points, followed)


_DAMAGED = "The motion of the face so far cannot be read: it is damaged, or another version of pgface made it."


def require_head(motions: Sequence[FaceMotion]) -> None:
    """Check that a head turned, and not a flat or bent picture of one.

    Args:
        motions: the motion of every measured turn to a side, at least one to each.

    Raises:
        LivenessError: it was not a head. The message says why, and is for the audit log, not for the client.

    """
    for motion in motions:
        if not motion.followed >= MIN_FOLLOWED:
            raise LivenessError(
                f"Only {motion.followed:.0%} of the face could be followed in the turn to the {motion.side}, "
                f"and at least {MIN_FOLLOWED:.0%} is needed."
            )
        if not motion.homography_residual >= MIN_RESIDUAL:
            raise LivenessError(
                f"The face moves like a flat picture in the turn to the {motion.side}: "
                f"its residual is {motion.homography_residual:.3f} and must be at least {MIN_RESIDUAL:.3f}."
            )
    if {motion.side for motion in motions} != {"left", "right"}:
        raise LivenessError("The motion of the face was not measured to both sides.")
    relief = float(np.mean([np.mean([it.relief for it in motions if it.side == side]) for side in ("left", "right")]))
    if not relief >= MIN_RELIEF:
        raise LivenessError(
            f"The face moves like a bent picture: its relief is {relief:.3f} and must be at least {MIN_RELIEF:.3f}."
        )


def _starting_points() -> NDArray[np.float32]:
    return np.asarray(grid() * EYE_DISTANCE + _EYES, dtype=np.float32)


def _sampled(field: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the flow at points, shape (points, 2)."""
    cv2 = _import_cv2()
    x, y = points[:, np.newaxis, 0], points[:, np.newaxis, 1]
    sampled = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    at_points: NDArray[np.float32] = sampled[:, 0]
    return at_points


def _homography_residual(begin: NDArray[np.float32], end: NDArray[np.float32]) -> float:
    """Return the root mean square of the distances that the best homography leaves, in the points' unit."""
    cv2 = _import_cv2()
    homography, _ = cv2.findHomography(begin, end, 0)
    if homography is None:  # there was no measurable motion
        return 0.0
    left = cv2.perspectiveTransform(begin[:, np.newaxis], homography)[:, 0] - end
    return float(np.sqrt((left.astype(np.float64) ** 2).sum(axis=1).mean()))


def _import_cv2() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise ModelNotInstalledError(
            f"A login by face needs OpenCV, which cannot be imported. Run {how_to_install('sface')} or "
            f"{how_to_install('insightface')}."
        ) from error
    module: ModuleType = cv2
    return module
