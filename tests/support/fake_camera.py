"""What Chromium takes for a camera: a video file, made of real photos, of somebody who turns their head, or of a photo.

Chromium opens the file each time a page opens the camera, shows its frames one after another without leaving one out,
and begins again after the last (media/capture/video/file_video_capture_device.cc). So a test can make the video when it
knows what the page asks for, if the page opens the camera after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgface.faces.engine import Face
from pgface.faces.liveness import Turn
from pgface.faces.pixels import RGBImage
from support.moving_heads import STATIONS, path, tilted, turned

WIDTH, HEIGHT = 320, 240
A_SECOND = 20
"""Frames. Twice as many as a page needs, so that one that looks at the wrong moment loses 50 ms."""
LEAD = 2.0
"""Seconds of looking straight ahead at the beginning, while the page gets ready."""
DURATION = 20.0
"""Seconds until the video begins again: longer than any page records."""
ASIDE = 26.0
"""Degrees of a turn to a side, as pgface measures it; it asks for 18."""
UPWARDS = 18.0
"""The same for a look up; it asks for 14."""
SPEED = 35.0
"""Degrees a second, as pgface measures them: a page that misses four tenths of a second sees no step of 15 degrees."""
HOLD = 0.2
"""Seconds at the end of each turn."""
NOISE = 3.0
"""Standard deviation of each pixel's brightness: no camera gives one picture twice."""


class Head:
    """A head in front of the camera, made of a photo of one person."""

    def __init__(self, faces: Callable[[RGBImage], Sequence[Face]], file: Path) -> None:
        """Turn the photo's head to all sides, and measure each pose as pgface will.

        Args:
            faces: finds the faces of a picture.
            file: the photo.

        """
        self.photo = _in_camera(np.asarray(Image.open(file).convert("RGB")))
        (face,) = faces(self.photo)

        def measured(turn: Turn) -> list[tuple[float, RGBImage]]:
            """Poses from straight ahead to a side: how far pgface sees the head turned, and the picture."""
            pictures = [turned(self.photo, face.landmarks, pose) for pose in path((0, 0), STATIONS[turn], step=3)]
            found = [seen.quality for picture in pictures for seen in faces(picture)]
            if turn == "up":
                degrees = [quality.pitch - face.quality.pitch for quality in found]
            else:
                degrees = [abs(quality.yaw - face.quality.yaw) for quality in found]
            return list(zip(degrees, pictures, strict=True))

        self._measured = {turn: measured(turn) for turn in STATIONS}

    def does(self, turns: Sequence[Turn]) -> Iterator[RGBImage]:
        """Look straight ahead, turn as asked at an even pace, and look straight ahead from then on."""
        yield from repeat(self.photo, round(LEAD * A_SECOND))
        for turn in turns:
            there = list(self._way(turn))
            yield from there
            yield from repeat(there[-1], round(HOLD * A_SECOND))
            yield from reversed(there)
        yield from repeat(self.photo)

    def _way(self, turn: Turn) -> Iterator[RGBImage]:
        farthest = UPWARDS if turn == "up" else ASIDE
        measured = self._measured[turn]
        assert measured[-1][0] > farthest - 1, f"the head of this photo cannot turn far enough: {turn}"
        for degrees in np.arange(0, farthest, SPEED / A_SECOND):
            yield min(measured, key=lambda pose: abs(pose[0] - degrees))[1]


def still(file: Path) -> Iterator[RGBImage]:
    """A photo that is held to the camera, moved and tilted as a whole."""
    photo = _in_camera(np.asarray(Image.open(file).convert("RGB")))
    tilts = path((0, 0), (40, 0), (-40, 0), (0, 0), step=2)
    moves = np.rint(8 * np.sin(np.arange(len(tilts)) / 5)).astype(int)
    moved = [np.roll(tilted(photo, tilt), move, axis=1) for tilt, move in zip(tilts, moves, strict=True)]
    return chain(repeat(photo, round(LEAD * A_SECOND)), moved, repeat(photo))


class FakeCamera:
    """The file that Chromium reads in place of a camera."""

    def __init__(self, file: Path) -> None:
        """Begin in the dark.

        Args:
            file: where; its name ends in `.y4m`.

        """
        self.file = file
        self.show(repeat(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))

    def show(self, pictures: Iterator[RGBImage], *, a_second: int = A_SECOND) -> None:
        """What it sees from the next time on that a page opens it.

        Args:
            pictures: as they follow each other, as many as there have to be or more; `WIDTH`×`HEIGHT`.
            a_second: how many of them; cameras give fewer in the dark.

        """
        random = np.random.default_rng(1)
        made = self.file.with_suffix(".new")
        with made.open("wb") as file:
            file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{a_second}:1 Ip C420jpeg\n".encode())
            for picture, _ in zip(pictures, range(round(DURATION * A_SECOND)), strict=False):
                brightness, *colours = _planes(picture)
                noise = random.normal(0, NOISE, brightness.shape)
                brightness = np.clip(brightness + noise, 0, 255).astype(np.uint8)
                file.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in (brightness, *colours)))
        made.replace(self.file)  # an open camera goes on with the old one


def _in_camera(photo: RGBImage) -> RGBImage:
    """The photo in the middle of the camera's picture; what it lacks is filled with its edge."""
    high, wide = (max(0, size - have) for size, have in zip((HEIGHT, WIDTH), photo.shape, strict=False))
    filled = np.pad(photo, ((high // 2, high - high // 2), (wide // 2, wide - wide // 2), (0, 0)), mode="edge")
    top, left = (filled.shape[0] - HEIGHT) // 2, (filled.shape[1] - WIDTH) // 2
    return filled[top : top + HEIGHT, left : left + WIDTH]


def _planes(picture: RGBImage) -> list[NDArray[np.uint8]]:
    """Brightness, and both colours at half the size: YCbCr 4:2:0."""
    y, *colours = Image.fromarray(picture).convert("YCbCr").split()
    return [np.asarray(y), *(np.asarray(colour.reduce(2)) for colour in colours)]
