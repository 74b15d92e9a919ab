"""Make the frames of a login by face: attacks with photos, and heads that turn.

Each kind is a `FramesFor`: a function that takes the angles of a login and gives one picture for each. An attack tries
to look like a head at these angles.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageFilter

from liveness.scenes import Can, DepthMap, Photo, Pose, bent, crumpled, flat, head, wall
from pgface.faces.engines.base import Choose, Detection, Engine
from pgface.faces.liveness.relief import DEFAULT_SHAPE, FaceShape
from pgface.faces.pixels import RGBImage

FramesFor = Callable[[Sequence["Angles"]], list[RGBImage]]
Scene = Callable[[Pose, float], RGBImage]
"""Draws an object in a pose. The second argument is the progress of the turn, from 0 ahead to 1 turned."""


class Angles(NamedTuple):
    """The direction of a head, in degrees from straight ahead, with the signs of `Quality`."""

    yaw: float
    pitch: float = 0.0


MAX_YAW = 28.0
"""The largest yaw that a login requests, in degrees."""
SEARCHED_POSES = 30
"""The number of poses to try for each side, to find the one with the largest detected yaw."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of attack or head."""

    name: str
    head: bool
    """Whether it has the shape of a head, so that the check of geometry must admit it."""
    make: Callable[[Photo, Sequence[Photo], Engine, np.random.Generator], FramesFor]
    """Makes the frames from the photo, all photos of that person, and an engine to try poses."""


def detect(engine: Engine, image: RGBImage) -> Detection | None:
    """Detect the largest face of a picture, without its embedding."""
    found: list[Detection] = []

    def remember(detections: Sequence[Detection]) -> Sequence[Detection]:
        found.extend(detections)
        return []

    choose: Choose = remember
    engine.detect_and_embed(image, choose)
    return found[0] if found else None


def moved(scene: Scene, random: np.random.Generator, gain: float) -> FramesFor:
    """Turn an object by `gain` degrees for each requested degree, with an unsteady hand."""
    drift = random.normal(0, 1, 4)
    camera = Camera(random)

    def frames_for(poses: Sequence[Angles]) -> list[RGBImage]:
        return [camera.sees(scene(unsteady(pose), abs(pose.yaw) / MAX_YAW)) for pose in poses]

    def unsteady(pose: Angles) -> Pose:
        far = pose.yaw / MAX_YAW
        shift = (0.2 * drift[2] * far, 0.2 * drift[3] * far)
        return Pose(gain * pose.yaw, gain * pose.pitch + 3 * drift[0] * far, 4 * drift[1] * far, shift)

    return frames_for


def searched(scene: Scene, random: np.random.Generator, engine: Engine) -> FramesFor:
    """Turn an object to the poses with the largest detected yaw, which are searched first."""
    ends = [_best_pose(scene, random, engine, sign) for sign in (1, -1)]
    camera = Camera(random)

    def frames_for(poses: Sequence[Angles]) -> list[RGBImage]:
        return [camera.sees(scene(*on_the_way(pose))) for pose in poses]

    def on_the_way(pose: Angles) -> tuple[Pose, float]:
        end, far = ends[int(pose.yaw < 0)], abs(pose.yaw) / MAX_YAW
        return Pose(end.yaw * far, end.pitch * far, end.roll * far), far

    return frames_for


def _best_pose(scene: Scene, random: np.random.Generator, engine: Engine, sign: int) -> Pose:
    best, farthest = Pose(sign * 45.0), -np.inf
    for _ in range(SEARCHED_POSES):
        pose = Pose(sign * random.uniform(20, 62), random.uniform(-25, 25), random.uniform(-20, 20))
        face = detect(engine, scene(pose, 1.0))
        if face and sign * face.quality.yaw > farthest:
            best, farthest = pose, sign * face.quality.yaw
    return best


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A simulated camera."""

    random: np.random.Generator
    noise: float = 3.0
    blur: float = 0.0
    jpeg: int = 85

    def sees(self, picture: RGBImage) -> RGBImage:
        """Add blur, noise and JPEG compression to a picture."""
        image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(self.blur)) if self.blur else picture
        noisy = np.asarray(image) + self.random.normal(0, self.noise, picture.shape)
        file = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=self.jpeg)
        return np.asarray(Image.open(file))


def worse(frames_for: FramesFor, random: np.random.Generator) -> FramesFor:
    """Show the same frames through a bad camera."""
    camera = Camera(random, noise=6, blur=1.2, jpeg=60)
    return lambda poses: [camera.sees(frame) for frame in frames_for(poses)]


def other_photos(engine: Engine, photos: Sequence[Photo], random: np.random.Generator) -> FramesFor:
    """Show the photo of the person, also mirrored, that looks in each direction. One photo fades into the next."""
    views = sorted(_views(engine, photos), key=lambda view: view[0])
    yaws = np.array([yaw for yaw, _ in views])
    background, camera = wall(int(random.integers(1000))), Camera(random)
    ahead = float(yaws[np.abs(yaws).argmin()])

    def frame(pose: Angles) -> RGBImage:
        after = int(np.clip(np.searchsorted(yaws, ahead + pose.yaw), 1, len(views) - 1))
        share = float(np.clip((ahead + pose.yaw - yaws[after - 1]) / max(yaws[after] - yaws[after - 1], 1e-6), 0, 1))
        tilt = Pose(0.5 * pose.yaw, pose.pitch)
        before, behind = (flat(views[index][1], tilt, background) for index in (after - 1, after))
        return camera.sees(np.asarray(cv2.addWeighted(before, 1 - share, behind, share, 0)))

    return lambda poses: [frame(pose) for pose in poses]


def _views(engine: Engine, photos: Sequence[Photo]) -> list[tuple[float, Photo]]:
    pictures = [
        (photo, side) for photo in photos for side in (photo.pixels, np.ascontiguousarray(photo.pixels[:, ::-1]))
    ]
    found = ((photo, pixels, detect(engine, pixels)) for photo, pixels in pictures)
    return [(face.quality.yaw, Photo(pixels, face.landmarks, photo.person)) for photo, pixels, face in found if face]


def some_shape(random: np.random.Generator) -> FaceShape:
    """Make the shape of a head that differs from pgface's default shape."""

    def about(value: float, spread: float) -> float:
        return float(value * np.clip(random.normal(1, spread), 0.6, 1.5))

    base = DEFAULT_SHAPE
    return FaceShape(
        half_width=about(base.half_width, 0.06),
        half_height=about(base.half_height, 0.06),
        half_depth=about(base.half_depth, 0.12),
        nose=about(base.nose, 0.2),
        nose_width=about(base.nose_width, 0.2),
        sockets=about(base.sockets, 0.4),
        brow=about(base.brow, 0.4),
        lips=about(base.lips, 0.4),
        chin=about(base.chin, 0.3),
        cheeks=about(base.cheeks, 0.4),
    )


def _flat(photo: Photo, random: np.random.Generator) -> Scene:
    background = wall(int(random.integers(1000)))
    return lambda pose, _: flat(photo, pose, background)


def _bent(
    photo: Photo, random: np.random.Generator, *, axis: float = 0.0, off: float = 0.0, again: float = 0.0
) -> Scene:
    """Bend a photo round a can of 0.75 to 1.4 head radii. `again` changes the radius by this share during the turn."""
    background, radius = wall(int(random.integers(1000))), float(random.uniform(0.95, 1.85))
    return lambda pose, far: bent(photo, pose, Can(radius * (1 + again * far), axis, off), background)


def _crumpled(photo: Photo, random: np.random.Generator) -> Scene:
    background = wall(int(random.integers(1000)))
    depth = DepthMap.of_crumpled_can(float(random.uniform(0.95, 1.85)), 0.06, random)
    return lambda pose, _: crumpled(photo, pose, depth, background)


def _head(photo: Photo, random: np.random.Generator, shape: FaceShape, relief: float = 1.0) -> Scene:
    background = wall(int(random.integers(1000)))
    return lambda pose, _: head(photo, pose, shape, background, relief)


KINDS: tuple[Kind, ...] = (
    Kind("flat photo, moved", False, lambda p, _, __, r: moved(_flat(p, r), r, 2.0)),
    Kind("flat, poses searched", False, lambda p, _, e, r: searched(_flat(p, r), r, e)),
    Kind("flat, bad camera", False, lambda p, _, __, r: worse(moved(_flat(p, r), r, 2.0), r)),
    Kind("upright can", False, lambda p, _, __, r: moved(_bent(p, r), r, 1.5)),
    Kind("can, any axis", False, lambda p, _, __, r: moved(_bent(p, r, axis=r.uniform(-45, 45)), r, 1.5)),
    Kind("lying can", False, lambda p, _, __, r: moved(_bent(p, r, axis=r.uniform(60, 120), off=0.5), r, 1.5)),
    Kind("can, poses searched", False, lambda p, _, e, r: searched(_bent(p, r, axis=r.uniform(-20, 20)), r, e)),
    Kind("bent again in the turn", False, lambda p, _, __, r: moved(_bent(p, r, again=r.uniform(-0.3, 0.3)), r, 1.5)),
    Kind("can, bad camera", False, lambda p, _, __, r: worse(moved(_bent(p, r), r, 1.5), r)),
    Kind("crumpled paper", False, lambda p, _, __, r: moved(_crumpled(p, r), r, 1.5)),
    Kind("other photos, morphed", False, lambda _, ps, e, r: other_photos(e, ps, r)),
    Kind("embossed, a fifth", True, lambda p, _, __, r: moved(_head(p, r, DEFAULT_SHAPE, 0.2), r, 1.5)),
    Kind("embossed, half", True, lambda p, _, __, r: moved(_head(p, r, DEFAULT_SHAPE, 0.5), r, 1.2)),
    Kind("still over a 3-D head", True, lambda p, _, __, r: moved(_head(p, r, DEFAULT_SHAPE), r, 1.0)),
    Kind("heads of other shapes", True, lambda p, _, __, r: moved(_head(p, r, some_shape(r)), r, 1.0)),
    Kind("heads, bad camera", True, lambda p, _, __, r: worse(moved(_head(p, r, some_shape(r)), r, 1.0), r)),
)
"""The kinds to try. Geometry cannot tell the kinds with the shape of a head from a real head."""
