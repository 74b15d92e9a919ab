"""Draw a photo in front of a camera: flat, bent, or on the shape of a head.

The camera looks from `DISTANCE` eye distances at a sheet or a head in front of a textured wall. A picture is drawn by
finding the place of the photo that each of its pixels shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pgface.faces.liveness.relief import FaceShape, face_depth
from pgface.faces.pixels import RGBImage

Array = NDArray[np.float64]

SIZE = 320
"""The pixels of each side of a picture."""
EYE_PIXELS = 52.0
"""The pixels between the eyes of a frontal face."""
DISTANCE = 11.0
"""The distance from the camera to the eyes, in eye distances. It is about 70 cm."""
EYES_FROM_TOP = 0.42
_STEPS = 15
"""The number of steps to find the point where a ray meets a head."""
_MAP_REACH, _MAP_SIZE = 2.6, 521


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo of one person, with the landmarks of the face."""

    pixels: RGBImage
    landmarks: NDArray[np.float32]
    """Shape (5, 2), in pixels of the photo."""
    person: str = ""

    def seen(self, x: Array, y: Array) -> RGBImage:
        """Sample the photo at places in eye distances from the middle of the eyes, along and across their line."""
        left, right = self.landmarks[:2].astype(np.float64)
        across = right - left
        down = np.array([-across[1], across[0]])
        middle = (left + right) / 2
        column = (middle[0] + across[0] * x + down[0] * y).astype(np.float32)
        row = (middle[1] + across[1] * x + down[1] * y).astype(np.float32)
        return np.asarray(cv2.remap(self.pixels, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


@dataclass(frozen=True, slots=True)
class Pose:
    """The pose of an object: degrees, with the signs of `pgface.Quality`, and a shift in eye distances."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    nearer: float = 1.0

    @property
    def rotation(self) -> Array:
        """The rotation from the object to the camera: x right, y down, z towards the camera."""
        yaw, pitch, roll = map(math.radians, (self.yaw, self.pitch, self.roll))
        turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
        lean = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
        return np.asarray(lean @ nod @ turn)


@dataclass(frozen=True, slots=True)
class Rays:
    """The start and the direction of each pixel's ray, in the object's coordinates."""

    start: Array
    """Shape (3,)."""
    direction: Array
    """Shape (height, width, 3)."""

    @classmethod
    def of(cls, pose: Pose, pivot: Array) -> Rays:
        """Compute the rays of a camera that looks at an object turned about `pivot`."""
        focal = EYE_PIXELS * DISTANCE
        x = (np.arange(SIZE) + 0.5 - SIZE / 2) / focal
        y = (np.arange(SIZE) + 0.5 - SIZE * EYES_FROM_TOP) / focal
        way = np.stack([*np.meshgrid(x, y), np.full((SIZE, SIZE), -1.0)], axis=-1)
        camera = np.array([0, 0, DISTANCE / pose.nearer]) - [*pose.shift, 0]
        rotation = pose.rotation
        return cls((camera - pivot) @ rotation + pivot, way @ rotation)


def wall(seed: int) -> RGBImage:
    """Draw a textured background."""
    random = np.random.default_rng(seed)
    coarse, fine = (random.uniform(60, 190, (count, count, 3)).astype(np.float32) for count in (7, 40))
    mixed = 0.7 * cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) + 0.3 * cv2.resize(fine, (SIZE, SIZE))
    return np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)


def _on(background: RGBImage, photo: Photo, x: Array, y: Array, there: NDArray[np.bool_]) -> RGBImage:
    seen = photo.seen(np.where(there, x, 0), np.where(there, y, 0))
    return np.asarray(np.where(there[:, :, np.newaxis], seen, background), dtype=np.uint8)


def flat(photo: Photo, pose: Pose, background: RGBImage, reach: float = 2.6) -> RGBImage:
    """Draw a flat print. It only shows homographies of the photo."""
    rays = Rays.of(pose, np.zeros(3))
    far = -rays.start[2] / rays.direction[:, :, 2]
    x, y = (rays.start[axis] + far * rays.direction[:, :, axis] for axis in (0, 1))
    there = (far > 0) & (np.abs(x) < reach) & (np.abs(y - 0.4) < reach)
    return _on(background, photo, x, y, there)


@dataclass(frozen=True, slots=True)
class Can:
    """A can with paper round it."""

    radius: float
    """In eye distances. The radius of a head is about 1.3."""
    axis: float = 0.0
    """The degrees of the can from upright, in the plane of the paper."""
    off: float = 0.0
    """The distance from the middle of the eyes to the line where the can touches the paper, in eye distances."""


def bent(photo: Photo, pose: Pose, can: Can, background: RGBImage) -> RGBImage:
    """Draw paper round a can."""
    angle = math.radians(can.axis)
    across, along = np.array([math.cos(angle), math.sin(angle), 0]), np.array([-math.sin(angle), math.cos(angle), 0])
    rays = Rays.of(pose, np.array([0, 0, -can.radius]))
    start, way = rays.start + np.array([0, 0, can.radius]), rays.direction
    s0, z0, ds, dz = start @ across, start[2], way @ across, way[:, :, 2]
    # |start + far·way| = radius in the plane across the can: the nearer of the two solutions.
    a, b, c = ds**2 + dz**2, s0 * ds + z0 * dz, s0**2 + z0**2 - can.radius**2
    root = b**2 - a * c
    far = (-b - np.sqrt(np.clip(root, 0, None))) / a
    s, z = s0 + far * ds, z0 + far * dz
    t = start @ along + far * (way @ along)
    u = can.radius * np.arctan2(s, z) + can.off
    x, y = u * across[0] + t * along[0], u * across[1] + t * along[1]
    there = (root > 0) & (far > 0) & (np.abs(u) < min(2.6, can.radius * math.pi)) & (np.abs(t) < 3.2)
    return _on(background, photo, x, y, there)


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """A table of a surface's depth relative to the eyes. A formula is too slow for each pixel and step."""

    values: NDArray[np.float32]

    @classmethod
    @lru_cache(maxsize=8)
    def of_head(cls, shape: FaceShape) -> DepthMap:
        """Compute the depth of the front of a head."""
        eyes = float(face_depth(np.array([-0.5, 0.5]), np.zeros(2), shape).mean())
        return cls((face_depth(*_places(), shape) - eyes).astype(np.float32))

    @classmethod
    def of_crumpled_can(cls, radius: float, bumps: float, random: np.random.Generator) -> DepthMap:
        """Compute the depth of crumpled paper round an upright can.

        Args:
            radius: the radius of the can in eye distances.
            bumps: the standard deviation of the bumps in eye distances.
            random: a generator of random numbers.

        """
        x, _ = _places()
        coarse = random.normal(0, bumps, (12, 12)).astype(np.float32)
        crumpled = cv2.resize(coarse, (_MAP_SIZE, _MAP_SIZE), interpolation=cv2.INTER_CUBIC)
        return cls((np.sqrt(np.clip(radius**2 - x**2, 0, None)) - radius + crumpled).astype(np.float32))

    def __call__(self, x: Array, y: Array) -> Array:
        """Look up the depth at places in eye distances from the middle of the eyes."""
        scale = (_MAP_SIZE - 1) / (2 * _MAP_REACH)
        column, row = (((places + _MAP_REACH) * scale).astype(np.float32) for places in (x, y))
        return np.asarray(cv2.remap(self.values, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _places() -> tuple[Array, Array]:
    x, y = np.meshgrid(*[np.linspace(-_MAP_REACH, _MAP_REACH, _MAP_SIZE)] * 2)
    return x, y


def head(photo: Photo, pose: Pose, shape: FaceShape, background: RGBImage, relief: float = 1.0) -> RGBImage:
    """Draw a head with the photo on it. It turns about the neck's axis.

    Args:
        photo: a photo from the front.
        pose: the pose of the head.
        shape: the shape of the head.
        background: the background, shape (SIZE, SIZE, 3).
        relief: the factor for the face's depth. It is less than 1 for embossed paper.

    """
    x, y, z = _met(pose, DepthMap.of_head(shape), relief)
    inside = (x / shape.half_width) ** 2 + ((y - 0.35) / shape.half_height) ** 2 < 0.97
    return _painted(photo, x, y, z, inside, background)


def crumpled(photo: Photo, pose: Pose, depth: DepthMap, background: RGBImage) -> RGBImage:
    """Draw paper of any shape."""
    x, y, z = _met(pose, depth)
    return _painted(photo, x, y, z, (np.abs(x) < 1.2) & (np.abs(y - 0.4) < 2.0), background)


def _met(pose: Pose, depth: DepthMap, relief: float = 1.0) -> tuple[Array, Array, Array]:
    """Find the point where each pixel's ray meets a surface that turns about the neck's axis."""
    rays = Rays.of(pose, np.array([0, 0.3, -1.2]))
    far = -rays.start[2] / rays.direction[:, :, 2]
    for _ in range(_STEPS):
        x, y = (rays.start[axis] + far * rays.direction[:, :, axis] for axis in (0, 1))
        far = 0.4 * far + 0.6 * (relief * depth(x, y) - rays.start[2]) / rays.direction[:, :, 2]
    x, y, z = (rays.start[axis] + far * rays.direction[:, :, axis] for axis in range(3))
    return x, y, z


def _painted(photo: Photo, x: Array, y: Array, z: Array, there: NDArray[np.bool_], background: RGBImage) -> RGBImage:
    """Draw a surface with the photo on it, as a camera of the same kind saw it from the front."""
    smaller = DISTANCE / (DISTANCE - z)
    return _on(background, photo, x * smaller, y * smaller, there)
