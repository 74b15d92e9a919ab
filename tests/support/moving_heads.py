"""Camera frames of a moving head, rendered from one real photo."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.accounts import Challenge, Client, FaceLogin, NewLogin
from pgface.faces.engines.base import Face
from pgface.faces.liveness.head_turns import Pose as Asked
from pgface.faces.pixels import RGBImage

Pose = tuple[float, float]
"""Yaw and pitch in degrees, relative to the photo, with the signs of `Quality`."""

STATIONS: dict[Asked, Pose] = {"left": (45, 0), "right": (-45, 0), "up": (0, 35), "centre": (0, 0)}
"""The pose of a head that turns as requested."""


T = TypeVar("T")

_cache: dict[tuple[bytes, bytes, Pose], RGBImage] = {}


def turned(photo: RGBImage, landmarks: NDArray[np.float32], pose: Pose) -> RGBImage:
    """Return a picture of the turned head: an ellipsoid with a nose, with the photo as its texture.

    A picture takes a twentieth of a second, and many tests turn the same few heads, so pictures are cached.
    """
    key = (hashlib.sha256(photo.tobytes()).digest(), landmarks.tobytes(), pose)
    if key not in _cache:
        _cache[key] = _turned(photo, landmarks, pose)
    return _cache[key].copy()


def _turned(photo: RGBImage, landmarks: NDArray[np.float32], pose: Pose) -> RGBImage:
    yaw, pitch = np.radians(pose)
    eyes, nose = landmarks[:2].mean(axis=0), landmarks[2]
    apart = float(np.hypot(*(landmarks[1] - landmarks[0])))
    centre = np.array([nose[0], eyes[1] + 0.5 * apart])

    def depth(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = 1 - ((x - centre[0]) / (1.35 * apart)) ** 2 - ((y - centre[1]) / (1.9 * apart)) ** 2
        tip = np.exp(-(((x - nose[0]) / (0.22 * apart)) ** 2 + ((y - nose[1]) / (0.3 * apart)) ** 2) / 2)
        return np.asarray(0.9 * apart * np.sqrt(np.clip(inside, 0, 1)) + 0.33 * apart * tip)

    at_eyes = depth(landmarks[0, :1].astype(float), landmarks[0, 1:2].astype(float))

    def where_from(points: NDArray[np.float64]) -> NDArray[np.float64]:
        aside, below = (points - centre).T
        x, y = points.T.copy()
        for _ in range(20):  # the place of the head that is visible here depends on its depth
            out = depth(x, y) - at_eyes
            x = np.clip(centre[0] + (aside - out * np.sin(yaw)) / np.cos(yaw), 0, photo.shape[1] - 1)
            y = np.clip(centre[1] + (below + out * np.sin(pitch)) / np.cos(pitch), 0, photo.shape[0] - 1)
        return np.stack([x, y], axis=1)

    return _warped(photo, where_from)


def _warped(photo: RGBImage, where_from: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> RGBImage:
    from skimage.transform import warp  # here, because it takes a second

    return np.asarray(warp(photo, where_from, order=1, mode="edge") * 255).astype(np.uint8)


def tilted(photo: RGBImage, pose: Pose) -> RGBImage:
    """Return the photo as a print that is held to the camera and tilted as a whole."""
    from skimage.transform import AffineTransform  # here, because it takes a second

    height, width = photo.shape[:2]
    yaw, pitch = np.radians(pose)
    middle = AffineTransform(translation=(-width / 2, -height / 2))
    narrower = AffineTransform(scale=(np.cos(yaw), np.cos(pitch)))
    back = AffineTransform(translation=(width / 2, height / 2))
    seen = AffineTransform(matrix=back.params @ narrower.params @ middle.params)
    return _warped(photo, seen.inverse)


def bent(photo: RGBImage, landmarks: NDArray[np.float32], yaw: float) -> RGBImage:
    """Return the photo on paper round an upright can as wide as a head, turned by `yaw` degrees, from far away."""
    middle = float(landmarks[:2, 0].mean())
    radius = 1.3 * float(np.hypot(*(landmarks[1] - landmarks[0])))

    def where_from(points: NDArray[np.float64]) -> NDArray[np.float64]:
        aside = np.clip((points[:, 0] - middle) / radius, -1, 1)
        along = radius * (np.arcsin(aside) - np.radians(yaw))
        return np.stack([middle + along, points[:, 1]], axis=1)

    return _warped(photo, where_from)


def path(*stations: Pose, step: float = 4.0) -> list[Pose]:
    """Return the poses of a head on its way from one station to the next."""
    poses = [stations[0]]
    for station in stations[1:]:
        begin = np.array(poses[-1])
        way = np.array(station) - begin
        steps = max(1, int(np.ceil(np.abs(way).max() / step)))
        poses += [(float(yaw), float(pitch)) for yaw, pitch in (begin + way * (i + 1) / steps for i in range(steps))]
    return poses


def noisy(frames: Iterable[RGBImage], seed: int = 1) -> list[RGBImage]:
    """Return the frames with the noise of a camera, which never returns the same picture twice."""
    random = np.random.default_rng(seed)
    return [np.clip(frame + random.normal(0, 3, frame.shape), 0, 255).astype(np.uint8) for frame in frames]


class MovingHead:
    """A person in front of a camera, who looks in the requested direction and stays there."""

    def __init__(self, faces: Callable[[RGBImage], Sequence[Face]], file: Path, *, seed: int = 1) -> None:
        """Load the photo of the person.

        Args:
            faces: finds the faces of a picture.
            file: a photo of the person.
            seed: the seed of the camera's noise.

        """
        self.photo = np.asarray(Image.open(file).convert("RGB"))
        (face,) = faces(self.photo)
        self.landmarks = face.landmarks
        self._noise = np.random.default_rng(seed)
        self._at: Pose = (0, 0)

    def look(self, pose: Asked, *, frames: int = 5) -> list[bytes]:
        """Return the next camera frames, as JPEG files, while the head turns to a pose or stays in it."""
        way = path(self._at, STATIONS[pose], step=8)[1:]
        poses = [*way, *[STATIONS[pose]] * frames][:frames]
        self._at = poses[-1]
        return [jpeg(self._with_noise(turned(self.photo, self.landmarks, at))) for at in poses]

    def _with_noise(self, frame: RGBImage) -> RGBImage:
        return np.clip(frame + self._noise.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)


def follow(look: Callable[[Asked], list[bytes]], answer: Callable[[list[bytes]], Asked | T], first: Asked) -> T:
    """Follow the requested poses until the answer is something else, and return it.

    Args:
        look: returns the next camera frames of a person who looks in a direction.
        answer: sends the frames, and returns the next pose or the final answer.
        first: the first pose.

    """
    answered: Asked | T = first
    while isinstance(answered, str):
        answered = answer(look(cast(Asked, answered)))
    return answered


def log_in_by_face(login: FaceLogin, challenge: Challenge, look: Callable[[Asked], list[bytes]]) -> NewLogin:
    """Follow a challenge to its end, and return the login."""

    def answer(frames: list[bytes]) -> Asked | NewLogin:
        answered = login.answer(challenge.token, frames, client=Client(address="192.0.2.7"))
        return answered.pose if isinstance(answered, Challenge) else answered

    return follow(look, answer, challenge.pose)


def jpeg(picture: RGBImage) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=75)
    return file.getvalue()
